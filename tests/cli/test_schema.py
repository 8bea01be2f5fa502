"""`triptych schema`."""

import json

from jsonschema import Draft7Validator
from ruamel.yaml import YAML


def test_it_accepts_the_pipelines_that_run_and_no_misspelt_ones(triptych, tiny_pipeline):
    done = triptych("schema")
    assert (done.code, done.err) == (0, "")
    schema = json.loads(done.out)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    document = YAML(typ="safe").load((tiny_pipeline / "pipeline.yaml").read_text())
    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors({**document, "sampler": [{"tpo_p": 0.9}, "draw"]}))


def test_it_knows_the_components_of_a_plugin_file(triptych, plugin_file):
    hook = "@hookimpl\ndef samplers():\n    return [Component('mine', ':Mine', 'of mine')]\n"
    path = plugin_file(hook, "class Mine:\n    keeps_winner = False\n")
    assert '"local/mine"' in triptych("schema", "--plugin", path).out
    assert '"local/mine"' not in triptych("schema").out


def test_a_plugin_file_that_is_missing_is_an_error(triptych):
    done = triptych("schema", "--plugin", "nope.py")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --plugin nope.py: there is no such file\n"


def test_that_of_sweeps_accepts_what_runs_and_nothing_misspelt(triptych):
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "ablations.md").read_text(encoding="utf-8")
    document = YAML(typ="safe").load(page.split('```yaml title="sweep.yaml"\n')[1].split("```")[0])
    schema = json.loads(triptych("schema", "--sweep").out)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    assert list(validator.iter_errors(document)) == []
    for wrong in (
        {"matrx": {}},
        {"metrics": ["exact_mtch"]},
        {"data": {"sketch_scenes": {"splt": "test"}}},
        {"include": [{"remove": "merge"}]},
        {"seeds": []},
        {"matrix": {"sampler.top_p": 0.8}},
    ):
        assert list(validator.iter_errors({**document, **wrong})), wrong
