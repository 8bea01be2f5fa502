"""Routing, experts without work, and the ways in which checkpoints hold experts."""

from __future__ import annotations

import json
import weakref
from itertools import combinations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import random_checkpoint
from tests.export.graphs import Graphs
from tests.export.qwen3_vl_moe.checkpoints import MOE_SHAPES, TinyMoeShape
from tests.export.reference import Prompt, Reference
from triptych.core.components.catalog import Catalog
from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime
from triptych.export import export_checkpoint
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Checkpoint, CheckpointError, Weight
from triptych.export.experts import Experts, Stack
from triptych.export.families import exporter_for
from triptych.export.precision import precision_named
from triptych.export.qwen3_vl.config import read_config
from triptych.export.qwen3_vl.exporter import Qwen3VLExporter
from triptych.export.qwen3_vl_moe.config import read_sparse
from triptych.export.qwen3_vl_moe.experts import in_turn
from triptych.export.qwen3_vl_moe.exporter import Qwen3VLMoeExporter
from triptych.export.section import ModelConfigError
from triptych.export.tensors import LateTensor

SHAPE = MOE_SHAPES["two of eight experts"]
LAYER = "model.language_model.layers.1.mlp"


@pytest.fixture
def checkpoint(tmp_path):
    return random_checkpoint(tmp_path / "checkpoint", shape=SHAPE)


def edited(checkpoint, change):
    """The checkpoint after `change(weights)`."""
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, file)
    return checkpoint


def logits(folder):
    """Of a few tokens of text."""
    graphs, ids = Graphs(folder), np.arange(9)[None]
    return graphs.cache().forward(
        graphs.embed(ids), np.broadcast_to(ids, (3, 1, 9)), [9], wanted=[list(range(9))]
    )


def tensors(path):
    """A graph's weights by name."""
    found = onnx.load(path).graph.initializer
    return {weight.name: onnx.numpy_helper.to_array(weight) for weight in found}


class Layer:
    """One sparse layer by itself; matrices as `weight @ x`."""

    def __init__(self, experts, chosen, *, hidden=32, inner=48, seed=0):
        random = np.random.default_rng(seed)
        self.gate, self.up = random.standard_normal([2, experts, inner, hidden], np.float32)
        self.down = random.standard_normal([experts, hidden, inner], np.float32)
        self.chosen, self.hidden = chosen, hidden

    def run(self, x, scores, precision="fp32"):
        """By ONNX Runtime: x [T, hidden], scores [T, experts]."""
        both = [in_turn(*pair) for pair in zip(self.gate, self.up, strict=True)]
        experts = Experts(stack("both", both), stack("down", self.down), self.chosen)
        graph = GraphBuilder("layer")
        given = graph.input("x", FLOAT, ["T", self.hidden])
        routing = graph.input("scores", FLOAT, ["T", len(self.gate)])
        storage = precision_named(precision).part("mlp")
        graph.output("y", storage.experts(graph, given, routing, experts), FLOAT, ["T", "H"])
        model = ir.to_proto(graph.model()).SerializeToString()
        options = session_options(Runtime())
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x, "scores": scores})[0]

    def by_hand(self, x, scores, chosen):
        """One token, in float64; chosen: the experts that serve it."""
        x = x.astype(np.float64)
        parts = np.exp(scores[chosen].astype(np.float64) - scores.max())
        total = np.zeros(self.hidden)
        for expert, part in zip(chosen, parts / parts.sum(), strict=True):
            gate, up = self.gate[expert] @ x, self.up[expert] @ x
            total += part * (self.down[expert] @ (gate / (1 + np.exp(-gate)) * up))
        return total


def stack(name, matrices):
    return Stack(
        name, [Weight(name, matrix.shape, lambda matrix=matrix: matrix) for matrix in matrices]
    )


def assert_close(actual, expected, tolerance=1e-5):
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("chosen", [1, 3, 6])
def test_a_token_meets_the_experts_of_the_highest_scores_by_their_softmax(chosen):
    layer, random = Layer(6, chosen), np.random.default_rng(1)
    x = random.standard_normal([5, 32], np.float32)
    scores = random.standard_normal([5, 6], np.float32)
    for token, given in enumerate(layer.run(x, scores)):
        best = np.argsort(-scores[token])[:chosen]
        assert_close(given, layer.by_hand(x[token], scores[token], best))


def test_scores_far_apart_or_large_stay_finite():
    layer, x = Layer(4, 2), np.ones([2, 32], np.float32)
    scores = np.array([[3e4, -3e4, 0, 1], [3e4, 3e4, -3e4, -3e4]], np.float32)
    given = layer.run(x, scores)
    assert_close(given[0], layer.by_hand(x[0], scores[0], [0, 3]))
    assert_close(given[1], layer.by_hand(x[1], scores[1], [0, 1]))


def test_an_expert_that_gets_no_token_does_no_harm():
    layer, random = Layer(6, 2), np.random.default_rng(2)
    x = random.standard_normal([7, 32], np.float32)
    scores = random.standard_normal([7, 6], np.float32)
    scores[:, 4] = -100
    expected = layer.run(x, scores)
    layer.gate[4] = layer.up[4] = layer.down[4] = np.nan
    np.testing.assert_array_equal(layer.run(x, scores), expected)


def test_no_tokens_at_all_give_none_back():
    nothing = np.zeros([0, 32], np.float32), np.zeros([0, 6], np.float32)
    assert Layer(6, 2).run(*nothing).shape == (0, 32)


def test_all_tokens_may_meet_the_same_expert():
    layer, x = Layer(6, 1), np.random.default_rng(3).standard_normal([40, 32], np.float32)
    scores = np.tile(np.eye(6, dtype=np.float32)[2], (40, 1))
    for token, given in enumerate(layer.run(x, scores)):
        assert_close(given, layer.by_hand(x[token], scores[token], [2]))


def test_equal_scores_among_the_chosen_count_equally():
    layer, x = Layer(5, 3), np.random.default_rng(4).standard_normal([1, 32], np.float32)
    scores = np.array([[1, 0, 1, -1, 1]], np.float32)
    assert_close(layer.run(x, scores)[0], layer.by_hand(x[0], scores[0], [0, 2, 4]))


@pytest.mark.parametrize(
    ("scores", "chosen"), [([2, 1, 1, 1, 0], 2), ([0, 0, 0, 0, 0], 3), ([1, 3, 1, 0, 1], 3)]
)
def test_of_equal_scores_at_the_edge_any_may_be_chosen_as_by_topk(scores, chosen):
    """torch.topk promises no order among equals, so any choice that it could make is right."""
    layer, x = Layer(5, chosen), np.random.default_rng(5).standard_normal([1, 32], np.float32)
    row = np.array(scores, np.float32)
    values = torch.topk(torch.tensor(row), chosen).values.tolist()
    given = layer.run(x, row[None])[0]
    possible = [
        layer.by_hand(x[0], row, list(choice))
        for choice in combinations(range(5), chosen)
        if sorted(row[list(choice)], reverse=True) == values
    ]
    assert min(np.abs(given - one).max() for one in possible) <= 1e-5 * np.abs(given).max()


def test_twins_among_the_experts_share_a_token_in_both(tmp_path):
    """Two experts with equal weights always tie, and whichever is chosen the sum is the same."""

    def twins(weights):
        weights[f"{LAYER}.gate.weight"][5] = weights[f"{LAYER}.gate.weight"][2]
        for name in "gate_up_proj", "down_proj":
            weights[f"{LAYER}.experts.{name}"][5] = weights[f"{LAYER}.experts.{name}"][2]

    checkpoint = edited(random_checkpoint(tmp_path / "checkpoint", shape=SHAPE), twins)
    folder = export_checkpoint(checkpoint, tmp_path / "export")
    expected = Reference(checkpoint).logits(Prompt(np.arange(9), None, None))
    assert_close(logits(folder)[0], expected, 1e-4)


def test_the_router_stays_float32_at_every_precision(tmp_path, checkpoint):
    for precision in "fp16", "int8", "int4":
        folder = export_checkpoint(checkpoint, tmp_path / precision, precision=precision)
        stored = tensors(folder / "decoder.onnx")
        assert stored[f"{LAYER}.gate.weight"].dtype == np.float32


def test_each_matrix_is_read_by_itself_and_forgotten():
    """While a stack is written, a few of its matrices are in memory: never all of them."""
    living, most = weakref.WeakSet(), [0]

    class Matrix(np.ndarray):
        def __hash__(self):
            return id(self)

    def read():
        made = np.zeros([64, 32], np.float32).view(Matrix)
        living.add(made)
        most[0] = max(most[0], len(living))
        return made

    both = Stack("both", [Weight("both", (64, 32), read)] * 9)
    down = Stack("down", [Weight("down", (32, 32), lambda: read()[:32])] * 9)
    for precision in "fp32", "fp16", "int8", "int4":
        graph = GraphBuilder("layer")
        x, scores = graph.input("x", FLOAT, ["T", 32]), graph.input("scores", FLOAT, ["T", 9])
        storage = precision_named(precision).part("mlp")
        storage.experts(graph, x, scores, Experts(both, down, 2))
        for value in graph.model().graph.initializers.values():
            if isinstance(value.const_value, LateTensor):
                for pieces in value.const_value.bundle.pieces():
                    assert sum(piece.size for piece in pieces) <= 2 * 64 * 32
    assert most[0] <= 3


# How checkpoints hold experts.


def as_in_memory(weights):
    """As transformers 5 has them: each matrix as `weight @ x`."""
    for name in list(weights):
        if ".experts." in name:
            weights[name] = weights[name].transpose(0, 2, 1)


def one_by_one(weights):
    """A tensor for each matrix of each expert."""
    for name in [name for name in weights if name.endswith(".experts.gate_up_proj")]:
        root = name.removesuffix(".gate_up_proj")
        both, downs = weights.pop(name), weights.pop(f"{root}.down_proj")
        for number, (matrix, down) in enumerate(zip(both, downs, strict=True)):
            gate, up = np.split(matrix.T, 2)
            weights[f"{root}.{number}.gate_proj.weight"] = gate
            weights[f"{root}.{number}.up_proj.weight"] = up
            weights[f"{root}.{number}.down_proj.weight"] = down.T


@pytest.mark.parametrize("layout", [as_in_memory, one_by_one])
@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_every_layout_of_experts_gives_the_same_graph(tmp_path, checkpoint, layout, precision):
    published = export_checkpoint(checkpoint, tmp_path / "published", precision=precision)
    other = export_checkpoint(edited(checkpoint, layout), tmp_path / "other", precision=precision)
    first, second = tensors(published / "decoder.onnx"), tensors(other / "decoder.onnx")
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_where_one_matrix_is_square_the_other_tells_how_both_lie(tmp_path):
    shape = TinyMoeShape(inner=32)
    published = random_checkpoint(tmp_path / "published", shape=shape)
    turned = edited(random_checkpoint(tmp_path / "turned", shape=shape), as_in_memory)
    first, second = (
        logits(export_checkpoint(folder, tmp_path / f"{folder.name} export"))
        for folder in (published, turned)
    )
    np.testing.assert_array_equal(first, second)


def test_experts_of_other_sizes_than_the_config_says_are_refused(tmp_path, checkpoint):
    def smaller(weights):
        name = f"{LAYER}.experts.down_proj"
        weights[name] = weights[name][:, :-8]

    with pytest.raises(CheckpointError, match=r"\[8, 88, 64\], but config.json implies .*transpos"):
        export_checkpoint(edited(checkpoint, smaller), tmp_path / "out")


def test_a_missing_expert_is_named(tmp_path, checkpoint):
    def without_the_last(weights):
        one_by_one(weights)
        del weights[f"{LAYER}.experts.7.up_proj.weight"]

    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.experts\.7\.up_proj\.weight"):
        export_checkpoint(edited(checkpoint, without_the_last), tmp_path / "out")


# What the config says.


def test_the_family_is_found_from_the_config(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    name, _ = exporter_for(config, "config.json", family=None, catalog=Catalog())
    assert name == "qwen3_vl_moe"


def test_the_dense_family_does_not_take_it(checkpoint):
    config = Checkpoint(checkpoint).config
    assert not Qwen3VLExporter.accepts(config)
    assert Qwen3VLMoeExporter.accepts(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_experts_per_tok", 9, r"num_experts_per_tok is 9.*at most the 8 experts"),
        ("num_experts", 0, r"num_experts is 0.*above zero"),
        ("moe_intermediate_size", None, r"moe_intermediate_size is None"),
        ("decoder_sparse_step", -1, r"decoder_sparse_step is -1"),
        ("hidden_act", "relu", r"hidden_act is 'relu'.*silu"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_by_its_key(checkpoint, key, value, message):
    config = Checkpoint(checkpoint).config
    config["text_config"][key] = value
    read = read_config if key == "hidden_act" else read_sparse
    with pytest.raises(ModelConfigError, match=message):
        read(config, "config.json")


@pytest.mark.parametrize(
    ("step", "dense", "expected"),
    [(1, [], "xxxxxx"), (2, [], ".x.x.x"), (3, [5], "..x..."), (1, [0, 3], ".xx.xx")],
)
def test_the_config_says_which_layers_have_experts(checkpoint, step, dense, expected):
    config = Checkpoint(checkpoint).config
    changes = {"num_hidden_layers": 6, "decoder_sparse_step": step, "mlp_only_layers": dense}
    config["text_config"] |= changes
    found = read_sparse(config, "config.json").sparse
    assert "".join("x" if sparse else "." for sparse in found) == expected
