"""`triptych plugins`; the faults of installed distributions are in tests/core."""

import json

import pytest

import triptych as package
from triptych.core.components.catalog import Catalog
from triptych.core.components.component import KINDS
from triptych.core.config.build import Builder
from triptych.core.config.items import parse_item
from triptych.core.config.load import load_spec
from triptych.core.config.nodes import node_of
from triptych.core.config.schema import KINDS as PIPELINE_KINDS
from triptych.core.config_error import Where
from triptych.core.paths import Paths

GOOD = """
class MinP:
    \"\"\"Keeps what is likely enough.\"\"\"

    class Settings(triptych.Settings):
        \"\"\"p: the share of the winner's probability.\"\"\"

        p: float
    keeps_winner = True
"""
GOOD_HOOK = """
@hookimpl
def samplers():
    return [Component("min_p", ":MinP", "a floor under the winner", main="p", role="warp")]
"""
MISSING_HOOK = """
@hookimpl
def samplers():
    return [Component("gone", ":Gone", "not there")]
"""


def built_in():
    catalog = Catalog()
    return [(kind, name) for kind in KINDS for name in catalog.names(kind)]


def test_the_table_has_a_line_for_every_component(triptych):
    done = triptych("plugins")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()[3:] if line.strip()]
    assert sorted(row[0] for row in rows) == sorted(name for _, name in built_in())
    (top_p,) = [row for row in rows if row[0] == "top_p"]
    assert top_p[1:4] == ["sampler", "triptych", package.__version__]
    summary = Catalog().find("samplers", "top_p").component.summary
    assert " ".join(top_p[4:]) == f"{summary} p"
    (window,) = [" ".join(row) for row in rows if row[0] == "window"]
    assert window.endswith(" size sinks=4 slack=64")


def test_json_has_the_same_and_the_faults(triptych, plugin_file):
    good = plugin_file(GOOD_HOOK, GOOD)
    bad = plugin_file("raise OSError('no disk')", "", name="bad.py")
    done = triptych("plugins", "--json", "--plugin", good, "--plugin", bad)
    assert done.code == 0
    found = json.loads(done.out)
    assert [one for one in found["components"] if one["owner"] == "local"] == [
        {
            "name": "local/min_p",
            "kind": "sampler",
            "owner": "local",
            "distribution": None,
            "version": None,
            "file": str(good),
            "summary": "a floor under the winner",
            "main": "p",
            "settings": {"p": {"type": "number", "required": True, "main": True, "default": None}},
        }
    ]
    (fault,) = found["faults"]
    assert fault["owner"] == "local"
    assert str(bad) in fault["message"]
    assert "OSError: no disk" in fault["message"]


def test_a_broken_plugin_is_told_on_stderr_and_harms_nothing(triptych, plugin_file):
    good = plugin_file(GOOD_HOOK, GOOD)
    bad = plugin_file("raise OSError('no disk')", "", name="bad.py")
    done = triptych("plugins", "--plugin", bad, "--plugin", good)
    assert done.code == 0
    assert "local/min_p" in done.out
    assert done.err.startswith(f"warning: plugin file {bad} cannot be used: ")
    assert "OSError: no disk" in done.err
    assert done.err.count("\n") == 1


def test_a_name_shows_one_component_with_its_settings(triptych):
    done = triptych("plugins", "window")
    assert (done.code, done.err) == (0, "")
    head, *rest = done.out.splitlines()
    assert head == f"window (cache), from triptych {package.__version__}"
    assert "    size   whole number, at least 1; required; a bare value fills it" in rest
    assert "    sinks  whole number, at least 0; default 4" in rest
    assert rest[-2:] == [
        "  as in:",
        "    - decoder: {graph: decoder.onnx, cache: {window: 2}}",
    ]


def test_a_component_of_a_file_is_shown_with_where_it_comes_from(triptych, plugin_file):
    path = plugin_file(GOOD_HOOK, GOOD)
    assert triptych("plugins", "local/min_p", "--plugin", path).out == (
        f"local/min_p (sampler, warp), from plugin file {path}\n"
        "\n"
        "  a floor under the winner\n"
        "\n"
        "  Keeps what is likely enough.\n"
        "\n"
        "  settings:\n"
        "    p  number; required; a bare value fills it\n"
        "\n"
        "  p: the share of the winner's probability.\n"
        "\n"
        "  as in:\n"
        "    - local/min_p: 1\n"
    )


def test_one_component_as_json(triptych):
    (found,) = json.loads(triptych("plugins", "top_k", "--json").out)["components"]
    assert found["settings"] == {
        "k": {
            "type": "whole number, at least 1",
            "required": True,
            "main": True,
            "default": None,
        }
    }
    assert found["example"] == "- top_k: 2"
    assert found["role"] == "warp"


@pytest.mark.parametrize(("kind", "name"), built_in())
def test_every_component_is_shown(triptych, kind, name):
    done = triptych("plugins", name)
    assert (done.code, done.err) == (0, "")
    assert Catalog().find(kind, name).component.summary in done.out
    assert "value" not in done.out.replace("a bare value", "").split("\n  as in:")[0].split()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, name in built_in() if kind in PIPELINE_KINDS],
)
def test_the_example_line_is_one_that_a_pipeline_takes(triptych, tiny_pipeline, kind, name):
    from ruamel.yaml import YAML

    (found,) = json.loads(triptych("plugins", name, "--json").out)["components"]
    example = YAML(typ="safe").load(found["example"])
    document = {
        "format": 1,
        "root": str(tiny_pipeline),
        "processor": {"hf": "."},
        "stages": [{"decoder": "decoder.onnx"}],
        "sampler": ["draw"],
    }
    if kind == "samplers":
        document["sampler"] = [*example, *([] if found["role"] == "choose" else ["draw"])]
    elif kind in ("stages", "caches"):
        graph = tiny_pipeline / "onnx.onnx"
        if name == "onnx" and not graph.exists():
            graph.write_bytes((tiny_pipeline / "embeddings.onnx").read_bytes())
        document["stages"] = example
    else:
        document |= example
    try:
        load_spec(document, catalog=Catalog(), allow_outside=True)
    finally:
        (tiny_pipeline / "onnx.onnx").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        (kind, key, name)
        for kind, key in (("datasets", "data"), ("metrics", "metrics"))
        for name in Catalog().names(kind)
    ],
)
def test_the_example_line_is_one_that_a_sweep_takes(triptych, tmp_path, kind, key, name):
    from ruamel.yaml import YAML

    (found,) = json.loads(triptych("plugins", name, "--json").out)["components"]
    item = YAML(typ="safe").load(found["example"])[key]
    (tmp_path / "questions.jsonl").touch()
    here = Paths(root=tmp_path, here=tmp_path)
    node = node_of(item[0] if key == "metrics" else item, Where(key))
    part = Builder(Catalog(), here).part(parse_item(node, kind, Where(key)), kind)
    assert part.name == name


def test_an_unknown_name_says_the_nearest_and_is_code_2(triptych):
    done = triptych("plugins", "tpo_p")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "error: there is no component 'tpo_p'\n  did you mean 'top_p'?\n  known: "
    )


def test_the_name_of_a_broken_component_is_its_fault(triptych, plugin_file):
    path = plugin_file(MISSING_HOOK, "")
    done = triptych("plugins", "local/gone", "--plugin", path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: local/gone, from plugin file {path}, cannot be used: ")
    assert done.err.endswith(" has no Gone\n")


LATER_HOOK = """
@hookimpl
def samplers():
    return [Component("new", ":New", "of a later interface", {})]
"""


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        (
            "api=99",
            "was written for interface 99 and this Triptych has interface 1: upgrade triptych",
        ),
        ("since=99", "if it was written for a later Triptych, upgrade triptych"),
    ],
)
def test_a_plugin_for_a_later_interface_is_told_to_upgrade(triptych, plugin_file, field, advice):
    path = plugin_file(LATER_HOOK.format(field), "class New: pass")
    done = triptych("plugins", "local/new", "--plugin", path)
    assert (done.code, done.out) == (2, "")
    assert done.err.strip().endswith(advice)


def test_running_a_pipeline_does_not_look_at_plugins_it_does_not_name(
    triptych, tiny_pipeline, monkeypatch
):
    def distributions():
        raise AssertionError("metadata was read")

    monkeypatch.setattr("importlib.metadata.distributions", distributions)
    done = triptych("run", tiny_pipeline, "--text=Hello", "--max-new-tokens=2")
    assert (done.code, done.err) == (0, "")
