"""Prompts by weights of their own, on the built-in model: the same model, in any company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import triptych
from tests.export.checkpoints import SHAPES, random_checkpoint
from triptych.bench.step_bytes import step_bytes
from triptych.cli.calibration import calibration_requests
from triptych.core.config_error import ConfigError
from triptych.core.graphs.cut import cut_outputs
from triptych.core.graphs.header import read_header
from triptych.export import export_checkpoint
from triptych.export.precision import read_recipe
from triptych.export.precision.stored import graph_weights, prompt_weights
from triptych.export.prompts import PromptsError, store_prompts

CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "sketch"
SKETCH = Path(triptych.__file__).parent / "models" / "sketch" / "pipeline"
LAYERS = 6
TEXT = "What is the capital of France?"
STEP, PROMPT = "MatMulNBits", "MatMulIntegerToFloat"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same int4 weights without and with others for prompts."""
    aside = tmp_path_factory.mktemp("prompts")
    return [
        export_checkpoint(
            CHECKPOINT, aside / name, precision="int4", prompts=prompts, expose="hidden:2"
        )
        for name, prompts in (("plain", None), ("prompts", "int8"))
    ]


@pytest.fixture(scope="module")
def plain(folders):
    return triptych.load(folders[0])


@pytest.fixture(scope="module")
def pipeline(folders):
    return triptych.load(folders[1])


def decoder(folder):
    return onnx.load(folder / "decoder.onnx")


def branches(folder):
    """The choice and what stands in its two ways."""
    [choice] = [node for node in decoder(folder).graph.node if node.op_type == "If"]
    by_name = {attribute.name: attribute.g for attribute in choice.attribute}
    return choice, by_name["then_branch"], by_name["else_branch"]


def counted(graph, operator):
    return sum(node.op_type == operator for node in graph.node)


def scenes(number):
    return [request for request in calibration_requests(None) if request.images][:number]


def last_logits(pipeline, request):
    return pipeline.run_until("logits", request)[0, -1]


def test_one_choice_stands_around_all_layers(folders):
    choice, prompt, step = branches(folders[1])
    assert counted(prompt, STEP) == 0
    assert counted(step, PROMPT) == 0
    # Queries; keys and values; what attention gives; gate and up; down. Of the last layer, what
    # serves only logits is no prompt's.
    assert counted(prompt, PROMPT) == counted(step, STEP) == 5 * (LAYERS - 1) + 2
    assert counted(decoder(folders[1]).graph, STEP) == 3 + 1
    assert "present.5.value" in choice.output


def test_no_past_is_made_floats_of_before_its_layer_is_reached(folders):
    """Or those of all layers would be there at once: of 5,000 tokens of 28 layers 1 GiB."""
    _, prompt, _ = branches(folders[1])
    later = {
        name for node in prompt.node if node.op_type == "RotaryEmbedding" for name in node.output
    }
    for node in prompt.node:
        if not later.isdisjoint(node.input):
            later.update(node.output)
    reading = [node for node in prompt.node if any(n.startswith("past_key_") for n in node.input)]
    assert {node.op_type for node in reading} >= {"Slice", "ScatterND"}
    for node in reading:
        if not any(name.endswith(".scale") for name in node.input):
            assert not later.isdisjoint(node.input)


def test_weights_of_prompts_are_what_the_blocks_stand_for(folders):
    import onnx_ir as ir

    graph = ir.load(folders[1] / "decoder.onnx").graph
    blocks = graph_weights(graph)
    rows = prompt_weights(graph)
    assert len(rows) == 5 * (LAYERS - 1) + 2
    for names, read in rows.items():
        expected = np.concatenate([blocks[name]() for name in names])
        error = np.linalg.norm(read() - expected) / np.linalg.norm(expected)
        # 127 steps to the largest value of a row.
        assert 0 < error < 0.02


def test_steps_are_computed_as_without_them(folders):
    """The same nodes in the same order stand in the branches of steps."""
    steps = [[node.op_type for node in branches(folder)[2].node] for folder in folders]
    assert steps[0] == steps[1]


def test_without_them_one_choice_stands_around_all_layers_too(folders):
    """Prompts and steps then read the very same blocks."""
    choice, prompt, step = branches(folders[0])
    assert "present.5.value" in choice.output
    read = [
        [list(node.input[1:]) for node in branch.node if node.op_type == STEP]
        for branch in (prompt, step)
    ]
    assert read[0] == read[1]
    assert len(read[0]) == 5 * (LAYERS - 1) + 2


def test_a_choice_for_each_attention_gives_the_same_bits(folders, plain, tmp_path, monkeypatch):
    """As exports made before had it, and those of weights that are no blocks have."""
    monkeypatch.setattr("triptych.export.run.join_choices", lambda graph: None)
    apart = export_checkpoint(CHECKPOINT, tmp_path / "apart", precision="int4", expose="hidden:2")
    assert counted(decoder(apart).graph, "If") == LAYERS
    other = triptych.load(apart)
    for request in scenes(4):
        np.testing.assert_array_equal(last_logits(plain, request), last_logits(other, request))
        assert plain.generate(request, seed=1).tokens == other.generate(request, seed=1).tokens


def test_weights_that_are_no_blocks_are_chosen_for_at_each_attention(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("format: 1\ndefault: int8\nmlp: fp32\n")
    out = export_checkpoint(CHECKPOINT, tmp_path / "out", recipe=recipe)
    assert counted(decoder(out).graph, "If") == LAYERS


def test_prompts_are_those_of_the_blocks_but_for_the_rounding_of_rows(plain, pipeline):
    for request in scenes(4):
        ours, theirs = (last_logits(one, request) for one in (pipeline, plain))
        assert not np.array_equal(ours, theirs)
        assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 0.1
        assert pipeline.generate(request, seed=1).text == plain.generate(request, seed=1).text


def test_alone_in_company_and_drafted_the_tokens_are_the_same(pipeline, folders):
    requests = [*scenes(6), triptych.Request(text=TEXT), *scenes(2)]
    alone = [pipeline.generate(request, seed=3).tokens for request in requests]
    together = pipeline.generate_batch(requests, seed=3)
    assert [reply.tokens for reply in together] == alone
    drafting = triptych.load(folders[1], overrides={"strategy": "prompt_lookup"})
    assert [drafting.generate(one, seed=3).tokens for one in requests] == alone


@pytest.mark.parametrize("begun", [2, 31, 40])
def test_a_known_beginning_changes_no_token(folders, begun):
    """What a request before it left in the caches was computed by the same weights."""
    text = " ".join(["a red circle is left of a blue square and"] * 8)
    question = triptych.Request(text=text)
    fresh = triptych.load(folders[1]).generate(question, seed=5)
    pipeline = triptych.load(folders[1])
    pipeline.generate(triptych.Request(text=text[: begun * 4]), seed=5)
    again = pipeline.generate(question, seed=5)
    assert again.tokens == fresh.tokens
    assert pipeline.generate(question, seed=5).tokens == fresh.tokens


def test_what_is_exposed_can_be_cut_off_in_both_ways(folders):
    path = folders[1] / "decoder.onnx"
    assert read_header(path).on_demand == {"hidden.2"}
    choice, prompt, step = branches(folders[1])
    rest = onnx.load_model_from_string(cut_outputs(path.read_bytes(), {"hidden.2"})).graph
    [cut] = [node for node in rest.node if node.op_type == "If"]
    place = list(choice.output).index("hidden.2")
    assert list(cut.output) == [name for name in choice.output if name != "hidden.2"]
    for attribute, whole in zip(cut.attribute, (prompt, step), strict=True):
        left = [output.name for output in attribute.g.output]
        assert left == [o.name for i, o in enumerate(whole.output) if i != place]


def test_a_step_is_said_to_read_its_own_weights_alone(folders):
    ours, theirs = (
        step_bytes([folder / "decoder.onnx"], ()).weights for folder in reversed(folders)
    )
    scales = sum(
        numpy_helper.to_array(tensor).nbytes
        for tensor in decoder(folders[0]).graph.initializer
        if tensor.name.endswith((".key.scale", ".value.scale"))
    )
    assert abs(ours - theirs) <= scales


def test_a_recipe_asks_for_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("format: 1\ndefault: int4\nprompts: int8\n")
    recipe = read_recipe(path)
    assert recipe.recipe.prompts == "int8"
    assert recipe.recipe.plain()["prompts"] == "int8"
    path.write_text("format: 1\ndefault: int4\nprompts: int4\n")
    with pytest.raises(ConfigError, match="prompts"):
        read_recipe(path)
    with pytest.raises(ConfigError, match="'int4' is none of: int8"):
        recipe.for_prompts("int4")


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, folders):
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=next(iter(SHAPES.values())))
    with pytest.raises(PromptsError, match="a cache of int8, not fp32"):
        export_checkpoint(checkpoint, tmp_path / "out", precision="fp32", prompts="int8")
    with pytest.raises(PromptsError, match="not fp16"):
        export_checkpoint(
            CHECKPOINT, tmp_path / "out", precision="int4", kv_cache="fp16", prompts="int8"
        )
    assert not (tmp_path / "out").exists()
    before = (folders[1] / "decoder.onnx").read_bytes()
    with pytest.raises(PromptsError, match="--kv-cache int8"):
        store_prompts(SKETCH / "decoder.onnx")
    assert (folders[1] / "decoder.onnx").read_bytes() == before


def test_weights_that_are_no_blocks_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('format: 1\ndefault: int4\nprompts: int8\nweights: {"*.1.mlp.*": fp32}\n')
    with pytest.raises(PromptsError, match=r"layers\.1\.mlp\..*is not"):
        export_checkpoint(CHECKPOINT, tmp_path / "out", recipe=path)
