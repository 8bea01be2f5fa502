"""Which arms a sweep has, what they are called, and which pipelines they are."""

import pytest

from tests.workbench.sweeps import read
from triptych.core.config.locate import builtin
from triptych.core.config.resolved import resolved
from triptych.workbench.sweep.names import name_of, short_paths, text_of

HEAD = """\
format: 1
data: {local/few: 2}
metrics: [local/length]
"""


def arms(folder, text):
    return {plan.name: plan for plan in read(folder, HEAD + text).plans}


def test_the_base_arm_is_always_run_and_comes_first(tmp_path):
    found = arms(tmp_path, "matrix: {sampler.temperature: [0.5]}")
    assert list(found) == ["base", "temperature=0.5"]
    assert found["base"].changes == {}


def test_a_matrix_is_the_product_of_its_values_in_their_order_but_for_what_is_excluded(tmp_path):
    found = arms(
        tmp_path,
        "matrix:\n  sampler.temperature: [0.3, 1.0]\n  sampler.top_p: [0.8, 0.9]\n"
        "exclude: [{sampler.temperature: 0.3, sampler.top_p: 0.8}]",
    )
    assert list(found)[1:] == [
        "temperature=0.3,top_p=0.9",
        "temperature=1.0,top_p=0.8",
        "temperature=1.0,top_p=0.9",
    ]
    last = found["temperature=1.0,top_p=0.9"]
    assert last.changes == {"sampler.temperature": 1.0, "sampler.top_p": 0.9}
    assert [part.name for part in last.spec.sampler] == ["temperature", "top_p", "draw"]


def test_an_exclusion_of_one_key_takes_away_all_arms_with_that_value(tmp_path):
    found = arms(
        tmp_path,
        "matrix:\n  sampler.temperature: [0.3, 1.0]\n  sampler.top_p: [0.8, 0.9]\n"
        "exclude: [{sampler.top_p: 0.8}]",
    )
    assert list(found)[1:] == ["temperature=0.3,top_p=0.9", "temperature=1.0,top_p=0.9"]


def test_whole_chains_of_sampling_steps_are_values(tmp_path):
    found = arms(tmp_path, "matrix:\n  sampler: [[greedy], [{temperature: 0.7}, {top_k: 5}, draw]]")
    assert list(found)[1:] == ["sampler=greedy", "sampler=temperature:0.7+top_k:5+draw"]
    chain = found["sampler=temperature:0.7+top_k:5+draw"].spec.sampler
    assert [part.name for part in chain] == ["temperature", "top_k", "draw"]


def test_whole_lists_of_stages_strategies_and_session_settings_are_values(tmp_path):
    stages = """[
      {vision_encoder: vision_encoder.onnx}, mrope, {embeddings: embeddings.onnx},
      {merge: {deepstack: []}}, {decoder: decoder.onnx}]"""
    found = arms(
        tmp_path,
        f"matrix:\n  stages:\n    - {stages}\n  strategy: [autoregressive, prompt_lookup]\n"
        "  session.max_batch: [1, 4]",
    )
    assert len(found) == 5
    last = list(found.values())[-1].spec
    assert last.strategy.name == "prompt_lookup"
    assert last.session.max_batch == 4
    assert last.stages[3].settings.deepstack == []


def test_pipelines_are_values_and_start_at_the_sweep_files_folder(tmp_path, monkeypatch):
    for name in ("one", "two"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        text = (builtin("sketch") / "pipeline.yaml").read_text(encoding="utf-8")
        tokens = "{max_new_tokens: 7}" if name == "two" else "{max_new_tokens: 8}"
        text = text.replace("stop: {max_new_tokens: 100}", f"stop: {tokens}")
        (folder / "pipeline.yaml").write_text(
            text.replace("format: 1", "format: 1\nroot: sketch"), encoding="utf-8"
        )
    monkeypatch.chdir("/")
    found = arms(tmp_path, "base: models/one\nmatrix: {base: [./models/two, sketch]}")
    tokens = {name: plan.spec.stop.max_new_tokens for name, plan in found.items()}
    assert tokens == {"base": 8, "base=two": 7, "base=sketch": 100}


def test_a_graph_of_one_stage_is_a_value_and_may_lie_beside_the_sweep_file(tmp_path, monkeypatch):
    (tmp_path / "mine.onnx").write_bytes((builtin("sketch") / "embeddings.onnx").read_bytes())
    (tmp_path / "shared.data").write_bytes((builtin("sketch") / "shared.data").read_bytes())
    monkeypatch.chdir("/")
    text = HEAD + "matrix: {embeddings.graph: [./mine.onnx, embeddings.onnx]}"
    plans = read(tmp_path, text).plans
    assert [plan.name for plan in plans] == ["base", "graph=mine.onnx", "graph=embeddings.onnx"]
    assert plans[1].spec.stages[2].settings.graph == tmp_path / "mine.onnx"
    assert plans[2].spec.stages[2].settings.graph == builtin("sketch") / "embeddings.onnx"


def test_arms_beside_the_matrix_edit_the_base(tmp_path):
    found = arms(
        tmp_path,
        """\
matrix: {sampler.temperature: [0.5]}
include:
  - {name: no_deepstack, replace: {merge: {merge: {deepstack: []}}}}
  - {name: half, insert: {"after mrope": {token_norm: 0.5}}, set: {sampler.top_p: 0.9}}
""",
    )
    assert list(found) == ["base", "temperature=0.5", "no_deepstack", "half"]
    assert found["no_deepstack"].spec.stages[3].settings.deepstack == []
    half = found["half"]
    assert [part.label for part in half.spec.stages][1:3] == ["mrope", "token_norm"]
    assert [part.name for part in half.spec.sampler] == ["top_p", "draw"]
    assert half.changes == {
        "insert": {"after mrope": {"token_norm": 0.5}},
        "sampler.top_p": 0.9,
    }


def test_an_arm_is_recorded_as_a_pipeline_that_runs_again_from_any_place(tmp_path):
    from ruamel.yaml import YAML

    from triptych.core.components.catalog import Catalog
    from triptych.core.config.load import load_spec

    asked = read(
        tmp_path, HEAD + 'include: [{name: half, insert: {"after mrope": {token_norm: 0.5}}}]'
    )
    arm = asked.arms[1]
    again = load_spec(YAML(typ="safe").load(arm.config), catalog=Catalog())
    assert resolved(again, digests=False) == arm.config
    assert arm.digests.keys() >= {"decoder.onnx", "vision_encoder.onnx", "tokenizer.json"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7, "0.7"),
        (True, "true"),
        (None, "null"),
        ("window", "window"),
        ([], "[]"),
        (["greedy"], "greedy"),
        ([{"temperature": 0.7}, "draw"], "temperature:0.7+draw"),
        ({"window": {"size": 8, "sinks": 4}}, "window:{size:8;sinks:4}"),
        ("./models/int4", "int4"),
    ],
)
def test_a_value_in_a_name_is_short_and_readable(value, text):
    assert text_of(value) == text


def test_a_long_value_in_a_name_ends_with_a_digest_of_all_of_it():
    one, other = (text_of(["step"] * 40 + [last]) for last in "ab")
    assert len(one) == len(other) == 60
    assert one != other


def test_keys_are_as_short_as_they_can_be_and_still_tell_each_other_apart():
    paths = ["sampler.temperature", "decoder.graph", "embeddings.graph", "base"]
    short = short_paths(paths)
    assert short == {
        "sampler.temperature": "temperature",
        "decoder.graph": "decoder.graph",
        "embeddings.graph": "embeddings.graph",
        "base": "base",
    }
    assert name_of({"decoder.graph": "a.onnx", "base": "sketch"}, short) == (
        "decoder.graph=a.onnx,base=sketch"
    )


def test_two_arms_that_would_be_called_alike_are_numbered(tmp_path):
    text = (builtin("sketch") / "pipeline.yaml").read_text(encoding="utf-8")
    for name in ("one", "two"):
        folder = tmp_path / name / "int4"
        folder.mkdir(parents=True)
        (folder / "pipeline.yaml").write_text(
            text.replace("format: 1", "format: 1\nroot: sketch"), encoding="utf-8"
        )
    found = arms(tmp_path, "matrix: {base: [./one/int4, ./two/int4]}")
    assert list(found) == ["base", "base=int4", "base=int4#2"]
