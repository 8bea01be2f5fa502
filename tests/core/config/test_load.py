"""A good pipeline file becomes parts; whatever is done to it, errors have a place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.config.conftest import GOOD, Full, Window
from triptych.core.config import load, locate
from triptych.core.config.load import load_spec
from triptych.core.config.part import PortChange
from triptych.core.config_error import ConfigError, Where


def test_the_items_become_parts_in_order(folder, catalog):
    spec = load_spec(folder, catalog=catalog)
    assert [part.label for part in spec.stages] == [
        *["vision_encoder", "mrope", "embeddings", "merge", "decoder"]
    ]
    assert [part.label for part in spec.sampler] == ["temperature", "top_k", "top_p", "draw"]
    assert spec.stages[0].settings.graph == folder / "vision_encoder.onnx"
    assert spec.sampler[1].settings.k == 50
    assert spec.stages[1].settings is None
    assert spec.processor.settings.folder == folder
    assert (spec.processor.label, spec.strategy.label) == ("processor", "strategy")
    assert spec.strategy.name == "autoregressive"
    assert spec.stop.max_new_tokens == 100
    assert spec.session.threads == "auto"
    assert spec.session.providers == ("cpu",)
    assert spec.source == folder / "pipeline.yaml"


def test_what_a_file_leaves_out_has_defaults(write, catalog):
    source = write("format: 1\nprocessor: {hf: .}\nstages: [mrope]\n")
    spec = load_spec(source, catalog=catalog)
    assert [part.label for part in spec.sampler] == ["temperature", "top_k", "top_p", "draw"]
    assert [part.settings.model_dump() for part in spec.sampler[:3]] == [
        {"temperature": 0.7},
        {"k": 50},
        {"p": 0.9, "least": 1},
    ]
    assert spec.strategy.name == "autoregressive"
    assert (spec.stop.max_new_tokens, spec.stop.strings) == (100, ())
    assert (spec.session.max_context, spec.session.chunk, spec.approximate) == (None, None, False)


@pytest.mark.parametrize(
    "item",
    [
        "{decoder: decoder.onnx}",
        "{decoder: {graph: decoder.onnx}}",
        "{decoder: {graph: decoder.onnx, cache: full}}",
        "{decoder: {graph: decoder.onnx, cache: {full: }}}",
    ],
)
def test_a_bare_value_fills_the_main_setting_and_a_mapping_all(item, write, catalog):
    source = write(f"format: 1\nprocessor: {{hf: .}}\nstages: [{item}]\n")
    decoder = load_spec(source, catalog=catalog).stages[0]
    assert decoder.settings.graph.name == "decoder.onnx"
    assert isinstance(decoder.settings.cache.make(), Full)


def test_an_empty_mapping_is_no_switch(write, catalog):
    source = write("format: 1\nprocessor: {hf: .}\nstages: [mrope]\napproximate: {}\n")
    with pytest.raises(ConfigError, match=r":4:14: approximate: an empty mapping is not true or"):
        load_spec(source, catalog=catalog)


def test_an_item_in_a_setting_is_a_part_with_its_own_place(write, catalog):
    source = write("""\
        format: 1
        processor: {hf: .}
        stages:
          - decoder:
              graph: decoder.onnx
              cache: {window: {size: 1024}}
        """)
    cache = load_spec(source, catalog=catalog).stages[0].settings.cache
    assert cache.where == Where("pipeline.yaml", 6, 15, "stages.decoder.cache.window")
    assert cache.place("size") == Where("pipeline.yaml", 6, 24, "stages.decoder.cache.window.size")
    made = cache.make()
    assert isinstance(made, Window)
    assert (made.settings.size, made.settings.sinks) == (1024, 4)


def test_siblings_label_rename_and_ignore(write, catalog):
    source = write("""\
        format: 1
        processor: {hf: .}
        stages:
          - onnx: extra.onnx
            as: saliency
            ports: {x: image_features, m: {port: mask, axes: [N, 3], absent: zeros}, y: {absent: 1}}
            ignore: [scores]
        """)
    part = load_spec(source, catalog=catalog).stages[0]
    assert (part.label, part.name) == ("saliency", "onnx")
    assert part.ports == {
        "x": PortChange("image_features"),
        "m": PortChange("mask", ("N", 3), 0.0),
        "y": PortChange("y", None, 1.0),
    }
    assert part.ignore == ("scores",)
    assert part.place("ports", "m") == Where("pipeline.yaml", 6, 32, "stages.saliency.ports.m")
    assert part.place("ports", "nothing") == part.place("ports")
    assert part.place("nothing") == part.where


def test_a_spec_knows_where_each_of_its_values_stands(folder, catalog):
    spec = load_spec("pipeline.yaml", catalog=catalog)
    assert str(spec.where("session.threads")) == "pipeline.yaml:16:29: session.threads"
    assert str(spec.where("decoder.graph")) == "pipeline.yaml:8:14: stages.decoder.graph"
    assert str(spec.where("sampler.top_p.p")) == "pipeline.yaml:12:12: sampler.top_p.p"
    assert str(spec.where("strategy")) == "pipeline.yaml:14:1: strategy"
    assert spec.where("session.chunk") is None
    assert spec.where("nobody.knows") is None


def test_a_mapping_stands_in_for_a_file(folder, catalog):
    mapping = {"format": 1, "processor": {"hf": "."}, "stages": [{"decoder": "./decoder.onnx"}]}
    spec = load_spec(mapping, catalog=catalog)
    assert spec.source is None
    assert spec.stages[0].settings.graph == folder / "decoder.onnx"


def test_a_component_that_cannot_be_made_is_an_error_at_its_item(write, catalog):
    source = write("format: 1\nprocessor: {hf: .}\nstages: [mrope, fails]\n")
    part = load_spec(source, catalog=catalog).stages[1]
    with pytest.raises(ConfigError) as caught:
        part.make()
    assert str(caught.value) == (
        "pipeline.yaml:3:17: stages.fails: fails failed with RuntimeError: no more memory"
    )
    assert caught.value.exit_code == 1


# Roots


def test_relative_paths_start_at_the_root_and_dotted_ones_at_the_file(write, folder, catalog):
    (folder / "graphs").mkdir()
    (folder / "graphs" / "embeddings.onnx").write_bytes(b"")
    source = write("""\
        format: 1
        root: graphs
        processor: {hf: ./}
        stages: [{embeddings: embeddings.onnx}, {decoder: ./decoder.onnx}]
        """)
    spec = load_spec(source, catalog=catalog)
    assert spec.stages[0].settings.graph == folder / "graphs" / "embeddings.onnx"
    assert spec.stages[1].settings.graph == folder / "decoder.onnx"
    assert spec.processor.settings.folder == folder


def test_a_root_outside_needs_leave(write, folder, catalog):
    inner = folder / "inner"
    inner.mkdir()
    source = write(
        "format: 1\nroot: ..\nprocessor: {hf: .}\nstages: [{decoder: decoder.onnx}]\n",
        "inner/pipeline.yaml",
    )
    with pytest.raises(ConfigError, match="lies outside"):
        load_spec(source, catalog=catalog)
    spec = load_spec(source, catalog=catalog, allow_outside=True)
    assert spec.stages[0].settings.graph.samefile(folder / "decoder.onnx")


def test_root_sketch_is_the_built_in_models_folder(write, folder, catalog, monkeypatch, tmp_path):
    sketch = tmp_path / "package" / "sketch"
    sketch.mkdir(parents=True)
    (sketch / "decoder.onnx").write_bytes(b"")
    monkeypatch.setattr(load, "builtin", lambda name: sketch)
    source = write("""\
        format: 1
        root: sketch
        processor: {hf: .}
        stages: [{decoder: decoder.onnx}, {onnx: ./extra.onnx}]
        """)
    spec = load_spec(source, catalog=catalog)
    assert spec.processor.settings.folder == sketch
    assert [part.settings.graph for part in spec.stages] == [
        sketch / "decoder.onnx",
        folder / "extra.onnx",
    ]


# Which file


def test_sketch_is_a_folder_of_the_package():
    folder = locate.builtin("sketch")
    assert folder.parts[-4:] == ("triptych", "models", "sketch", "pipeline")
    assert locate.locate("sketch") == folder / "pipeline.yaml"
    with pytest.raises(KeyError):
        locate.builtin("another")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "pipline.yaml",
            "pipline.yaml: there is no such file or folder, and no built-in model of that name\n"
            "  did you mean 'pipeline.yaml'?\n  known: sketch",
        ),
        (
            "sketsh",
            "sketsh: there is no such file or folder, and no built-in model of that name\n"
            "  did you mean 'sketch'?\n  known: sketch",
        ),
        (
            "decoder.onnx",
            "decoder.onnx: is not a YAML file\n  known endings: .yaml, .yml, .json",
        ),
        (
            "bare",
            "bare: this folder has no pipeline.yaml\n"
            "  name the YAML file itself, or a folder with graphs (*.onnx)",
        ),
        (
            "checkpoint",
            "checkpoint: this folder has no pipeline.yaml\n"
            "  it looks like a checkpoint: triptych export checkpoint OUT makes a pipeline of it",
        ),
        ("a" * 300, "a" * 300 + ": is not a path that can be read"),
    ],
)
def test_a_source_that_is_none_is_refused_with(source, message, folder, catalog):
    (folder / "bare").mkdir()
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        load_spec(source, catalog=catalog)
    assert str(caught.value) == message


def test_a_file_that_may_not_be_read_is_refused(folder, catalog, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"^pipeline.yaml: cannot be read: Permission denied$"):
        load_spec("pipeline.yaml", catalog=catalog)


# Whatever is wrong


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_loads_or_is_refused_with_a_place(data, folder, catalog):
    lines = GOOD.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        at = data.draw(st.integers(0, len(line)))
        cut = data.draw(st.integers(0, 6))
        new = data.draw(st.text(alphabet="ab:-[]{}&*'\" \n\t01.,~", max_size=4))
        lines[index] = line[:at] + new + line[at + cut :]
    (folder / "pipeline.yaml").write_text("\n".join(lines))
    place = None
    try:
        load_spec("pipeline.yaml", catalog=catalog)
    except ConfigError as error:
        place = error.where
    assert place is None or (place.source == "pipeline.yaml" and place.line is not None)
