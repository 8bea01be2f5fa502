"""The JSON Schema for editors agrees with the loader on files that are good and wrong."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.core.config.conftest import GOOD
from triptych.core.components.catalog import Catalog
from triptych.core.components.component import Component
from triptych.core.components.entry import Entry, Origin, PluginFault
from triptych.core.config.load import load_spec
from triptych.core.config.schema import json_schema
from triptych.core.config_error import ConfigError

WRONG = Path(__file__).parent / "wrong"

VALID_AS_TEXT = {
    "duplicate_label",
    "duplicate_label_by_as",
    "label_of_a_section",
    "no_chooser",
    "two_choosers",
    "chooser_before_a_warp",
    "pointless_warp",
    "setting_is_nan",
    "missing_file",
    "path_leaves_the_folder",
    "absolute_path",
    "path_with_a_nul",
    "link_out_of_the_folder",
    "root_outside",
    "root_is_a_file",
    "digest_differs",
    "graph_that_is_no_onnx",
}
"""What a schema cannot tell; the rest of it is the wiring."""

REFUSED_BY_PARSERS = {"merge_key", "alias_bomb", "yaml_1_1"}
"""What is wrong as YAML for us only."""


@pytest.fixture(scope="module")
def validator():
    schema = json_schema(Catalog())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def parse(text):
    return YAML(typ="safe").load(text)


ITEMS = """\
format: 1
root: sketch
processor:
  hf: {folder: ., max_pixels: 1000}
stages:
  - mrope
  - mrope: 2
    as: again
  - merge: {deepstack: false}
  - positions:
  - onnx: {graph: any.onnx, when: input}
    ports: {x: image_features, y: {port: mask, axes: [N, 3], absent: zeros}}
    ignore: [scores]
  - decoder: {graph: d.onnx, cache: {window: {size: 4}}}
  - decoder: {graph: d.onnx, cache: {window: 4}}
    as: two
  - decoder: {graph: d.onnx, cache: full}
    as: three
sampler: [greedy]
strategy: {prompt_lookup: {tokens: 3}}
stop: {max_new_tokens: 3, strings: [END]}
session: {providers: [cuda, cpu], threads: 3, max_context: 9, chunk: 3}
approximate: true
digests: {d.onnx: abc}
"""


@pytest.mark.parametrize("text", [GOOD, ITEMS], ids=["plain", "all kinds of items"])
def test_good_files_are_valid(validator, text):
    validator.validate(parse(text))


def wrong_documents():
    """The wrong files that are YAML, by name; those of plugins that no test here installs aside."""
    for file in sorted(WRONG.glob("*.yaml")):
        if file.stem in REFUSED_BY_PARSERS or file.stem.startswith("plugin"):
            continue
        try:
            yield file.stem, parse(file.read_bytes())
        except YAMLError:
            continue


DOCUMENTS = dict(wrong_documents())


def is_valid_as_text(name):
    return name in VALID_AS_TEXT or name.startswith("wiring")


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not is_valid_as_text(name)])
def test_wrong_files_are_invalid(validator, name):
    assert not validator.is_valid(DOCUMENTS[name])


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if is_valid_as_text(name)])
def test_what_only_the_disk_or_the_graphs_tell_is_valid(validator, name):
    assert validator.is_valid(DOCUMENTS[name])


def test_the_schema_accepts_what_the_loader_accepts(validator, folder):
    """The same small document, one value at a time, judged by both."""
    base = "format: 1\nprocessor: {hf: .}\nstages: [{decoder: decoder.onnx}]\n"
    for line, good in [
        ("sampler: [{top_k: 5}, draw]", True),
        ("sampler: [{top_k: 0}, draw]", False),
        ("sampler: [{top_k: '5'}, draw]", False),
        ("sampler: [{top_p: 1}, draw]", True),
        ("sampler: [{top_p: {p: 0}}, draw]", False),
        ("sampler: [{top_p: {q: 0.5}}, draw]", False),
        ("sampler: [top_p, draw]", False),
        ("sampler: [{top_p: 0.5, as: nucleus}, draw]", True),
        ("sampler: [{top_p: 0.5, ports: {}}, draw]", False),
        ("sampler: []", False),
        ("strategy: {prompt_lookup: 4}", True),
        ("strategy: {prompt_lookup: {token: 4}}", False),
        ("strategy: {autoregressive: {}}", True),
        ("strategy: {autoregressive: 4}", False),
        ("session: {threads: auto}", True),
        ("session: {threads: none}", False),
        ("session: {providers: []}", False),
        ("stop: {strings: ['']}", False),
    ]:
        (folder / "pipeline.yaml").write_text(base + line)
        try:
            load_spec(folder, catalog=Catalog())
            accepted = True
        except ConfigError:
            accepted = False
        assert accepted is good, line
        assert validator.is_valid(parse(base + line)) is good, line


class Broken(Entry):
    def load(self):
        raise PluginFault("is broken", origin=self.origin)


def test_a_component_that_cannot_be_imported_is_left_out(catalog, monkeypatch):
    entries, _ = catalog.everything()
    broken = Broken(Component("broken", "m:C", ""), "stages", Origin("acme", "acme", "1"))
    monkeypatch.setattr(catalog, "everything", lambda: ([*entries, broken], []))
    names = json_schema(catalog)["definitions"]["stages"]["anyOf"][1]["properties"]
    assert "decoder" in names
    assert "acme/broken" not in names
