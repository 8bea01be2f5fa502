"""The resolved pipeline file says everything, and loads again from anywhere."""

from __future__ import annotations

import hashlib

import onnx
import pytest
from onnx import TensorProto, helper
from ruamel.yaml import YAML

from triptych.core.config import load as loading
from triptych.core.config import resolved as resolving
from triptych.core.config.load import load_spec
from triptych.core.config.resolved import resolved
from triptych.core.config_error import ConfigError


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_default_is_filled_in(folder, catalog):
    text = resolved(load_spec("pipeline.yaml", catalog=catalog))
    assert YAML(typ="safe").load(text) == {
        "format": 1,
        "root": str(folder),
        "processor": {"hf": {"folder": "."}},
        "stages": [
            {"vision_encoder": {"graph": "vision_encoder.onnx"}},
            "mrope",
            {"embeddings": {"graph": "embeddings.onnx"}},
            "merge",
            {"decoder": {"graph": "decoder.onnx", "cache": "full"}},
        ],
        "sampler": [
            {"temperature": {"temperature": 0.7}},
            {"top_k": {"k": 50}},
            {"top_p": {"p": 0.9, "least": 1}},
            "draw",
        ],
        "strategy": "autoregressive",
        "stop": {"max_new_tokens": 100, "strings": []},
        "session": {
            "providers": ["cpu"],
            "threads": "auto",
            "max_context": None,
            "chunk": None,
            "max_batch": 8,
            "cache_memory": "auto",
            "feature_cache": 256 * 2**20,
            "prefix_cache": True,
            "pool": "shared",
            "preload": False,
            "graph_cache": True,
        },
        "approximate": False,
        "digests": {
            "tokenizer.json": sha256(folder / "tokenizer.json"),
            "vision_encoder.onnx": sha256(folder / "vision_encoder.onnx"),
            "embeddings.onnx": sha256(folder / "embeddings.onnx"),
            "decoder.onnx": sha256(folder / "decoder.onnx"),
        },
    }
    assert text.startswith("format: 1\nroot: ")


CHANGES = {
    "overrides": {
        "decoder.cache.window": {"size": 8, "sinks": 2},
        "stop.strings": ["Ende: ä", "yes", "1"],
        "strategy.prompt_lookup.labels": ["a", "b"],
        "session.chunk": 7,
        "approximate": True,
    },
    "insert": [
        "after mrope: {onnx: {graph: ./extra.onnx, when: input}, as: probe, "
        "ports: {x: {port: y, axes: [N, 3], absent: zeros}, z: w}, ignore: [s]}"
    ],
    "replace": {"sampler.draw": "greedy"},
    "remove": ["sampler.temperature", "sampler.top_k", "sampler.top_p"],
}


def test_it_loads_again_from_another_folder_as_the_same_pipeline(folder, catalog, tmp_path_factory):
    spec = load_spec("pipeline.yaml", catalog=catalog, **CHANGES)
    copy = tmp_path_factory.mktemp("run") / "resolved.yaml"
    copy.write_text(resolved(spec))
    again = load_spec(copy, catalog=catalog, allow_outside=True)
    assert describe(again) == describe(spec)
    assert resolved(again) == resolved(spec)


def describe(spec):
    parts = (spec.processor, *spec.stages, *spec.sampler, spec.strategy)
    return [
        *[(part.label, part.name, settings(part), part.ports, part.ignore) for part in parts],
        (spec.stop, spec.session, spec.approximate, spec.paths.root),
    ]


def settings(part):
    if part.settings is None:
        return None
    values = dict(part.settings)
    if "cache" in values:
        values["cache"] = (values["cache"].name, settings(values["cache"]))
    return values


def test_a_root_outside_still_needs_leave(folder, catalog, tmp_path_factory):
    copy = tmp_path_factory.mktemp("run") / "resolved.yaml"
    copy.write_text(resolved(load_spec("pipeline.yaml", catalog=catalog)))
    with pytest.raises(ConfigError, match="lies outside"):
        load_spec(copy, catalog=catalog)


def test_a_file_that_changed_since_is_refused(folder, catalog):
    (folder / "again.yaml").write_text(resolved(load_spec("pipeline.yaml", catalog=catalog)))
    load_spec("again.yaml", catalog=catalog)
    (folder / "decoder.onnx").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match=r"digests\.decoder\.onnx: 'decoder\.onnx' has changed"):
        load_spec("again.yaml", catalog=catalog)


def test_a_file_that_is_gone_since_is_refused(folder, catalog):
    (folder / "again.yaml").write_text(resolved(load_spec("pipeline.yaml", catalog=catalog)))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"digests\.tokenizer\.json: there is no file"):
        load_spec("again.yaml", catalog=catalog)


@pytest.mark.parametrize("digests", ["[a]", "{decoder.onnx: 5}", "{decoder.onnx: [1]}"])
def test_digests_of_the_wrong_form_are_refused(write, catalog, digests):
    source = write(f"format: 1\nprocessor: {{hf: .}}\nstages: [mrope]\ndigests: {digests}\n")
    with pytest.raises(ConfigError, match=r"pipeline.yaml:4:\d+: digests"):
        load_spec(source, catalog=catalog)


def test_the_weights_that_a_graph_keeps_beside_it_are_recorded(folder, catalog):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], b"\0\0\0\0", raw=True)
    graph = helper.make_graph([], "g", [], [], [weights])
    onnx.save(
        helper.make_model(graph),
        folder / "decoder.onnx",
        save_as_external_data=True,
        location="decoder.onnx.data",
        size_threshold=0,
    )
    recorded = YAML(typ="safe").load(resolved(load_spec("pipeline.yaml", catalog=catalog)))
    assert recorded["digests"]["decoder.onnx.data"] == sha256(folder / "decoder.onnx.data")


def test_digests_may_be_left_out(folder, catalog):
    text = resolved(load_spec("pipeline.yaml", catalog=catalog), digests=False)
    assert "digests" not in YAML(typ="safe").load(text)


def test_the_built_in_model_stays_a_name(folder, catalog, write, monkeypatch, tmp_path):
    sketch = tmp_path / "package" / "sketch"
    sketch.mkdir(parents=True)
    (sketch / "decoder.onnx").write_bytes(b"")
    monkeypatch.setattr(loading, "builtin", lambda name: sketch)
    monkeypatch.setattr(resolving, "builtin", lambda name: sketch)
    source = write("format: 1\nroot: sketch\nprocessor: {hf: .}\nstages: [{decoder: decoder.onnx}]")
    text = resolved(load_spec(source, catalog=catalog))
    assert YAML(typ="safe").load(text)["root"] == "sketch"
