"""Weights with one scale a row: products in whole numbers, each token by itself."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.export.checkpoints import SHAPES, random_checkpoint
from tests.export.graphs import Graphs
from tests.export.precision.operators import run_model
from triptych.core.graphs import session
from triptych.export import export_checkpoint
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Checkpoint, Weight
from triptych.export.precision import stored_weights
from triptych.export.precision.recipe_file import recorded_recipe
from triptych.export.precision.row_storage import OPERATOR, row_linear
from triptych.export.precision.spreading import gathered, spread, spreading

ROWS = recorded_recipe(
    {"format": 1, "vision": {"precision": "int8", "block": "row"}}, "a test", name="rows"
)


def product(x, weight):
    """What the graph of one linear layer makes of x."""
    graph = GraphBuilder("one")
    given = graph.input("x", FLOAT, [*"abc"[: x.ndim - 1], x.shape[-1]])
    stored = Weight("w", weight.shape, lambda: weight)
    graph.output("y", row_linear(graph, given, stored), FLOAT, [*"abc"[: x.ndim - 1], len(weight)])
    return run_model(ir.to_proto(graph.model()), {"x": x})


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("columns", [1024, 96, 40, 21])
def test_a_rotation_can_be_undone_and_changes_no_product(columns):
    random = np.random.default_rng(0)
    rows, others = random.standard_normal((2, 7, columns)).astype(np.float32)
    np.testing.assert_allclose(gathered(spread(rows)), rows, atol=1e-6)
    np.testing.assert_allclose(spread(rows) @ spread(others).T, rows @ others.T, atol=1e-4)
    assert len(spreading(columns)) == {1024: 32, 96: 32, 40: 8, 21: 1}[columns]


def test_neither_a_large_channel_nor_a_common_value_stays_in_one_place():
    """Of 32 values, an even spread leaves 1/sqrt(32) of one and the whole of what all share."""
    one = np.zeros((1, 32), np.float32)
    one[0, 5] = 1
    np.testing.assert_allclose(np.abs(spread(one)), 32**-0.5, rtol=1e-6)
    assert np.abs(spread(np.ones((1, 32), np.float32))).max() < 1.5


@pytest.mark.parametrize("shape", [(50, 1024), (2, 25, 1024), (50, 40)])
@pytest.mark.parametrize("times", [1, 30])
def test_products_are_right_though_a_few_channels_are_large(shape, times):
    """With one scale for all tokens, and no rotation, 30 times as large costs 10 %."""
    random = np.random.default_rng(0)
    x = random.standard_normal(shape).astype(np.float32)
    x[..., [3, 17]] *= times
    weight = random.normal(0, 0.02, (64, shape[-1])).astype(np.float32)
    assert error(product(x, weight), x @ weight.T) < 0.02


def test_a_token_is_computed_the_same_in_any_company():
    random = np.random.default_rng(0)
    x = random.standard_normal((33, 64)).astype(np.float32)
    x[20] *= 1000
    weight = random.standard_normal((48, 64)).astype(np.float32)
    together = product(x, weight)
    for token in (0, 7, 20, 32):
        np.testing.assert_array_equal(product(x[token : token + 1], weight)[0], together[token])


@pytest.mark.parametrize("flags", ["flags : avx2 avx512_vnni", "flags : avx2"])
def test_the_largest_codes_do_not_overflow(flags, monkeypatch):
    """255 x 127 twice is beyond 16 bits, which processors without VNNI add products in."""
    has_vnni = not session._INT8_INSTRUCTIONS.isdisjoint(session._processor().split())
    if "vnni" in flags and not has_vnni:
        pytest.skip("for processors with VNNI")
    monkeypatch.setattr(session, "_processor", lambda: flags)
    ones = gathered(np.ones((4, 64), np.float32))
    np.testing.assert_allclose(product(ones, ones), 64, rtol=1e-5)


def test_rows_of_zeros_stay_zeros():
    weight = np.ones((3, 32), np.float32)
    assert not product(np.zeros((2, 32), np.float32), weight).any()
    assert not product(np.ones((2, 32), np.float32), np.zeros_like(weight)).any()


PIXELS = np.random.default_rng(0).uniform(-1, 1, [24 + 16 + 24, 1536]).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    checkpoint = random_checkpoint(folder / "checkpoint", shape=SHAPES["as many kv heads, biased"])
    return checkpoint, export_checkpoint(checkpoint, folder / "out", recipe=ROWS)


def test_a_picture_has_the_same_features_alone_and_beside_others(exported):
    graphs = Graphs(exported[1])
    together = graphs.vision(PIXELS, np.array([[1, 4, 6], [1, 4, 4], [1, 6, 4]]))
    alone = graphs.vision(PIXELS[24:40], np.array([[1, 4, 4]]))
    for all_rows, rows in zip(together, alone, strict=True):
        np.testing.assert_array_equal(all_rows[..., 6:10, :], rows)


def test_a_processor_without_vnni_computes_the_very_same(exported, monkeypatch):
    """Only rounding is in floats, and both kinds of processors do that alike."""
    grids = np.array([[1, 4, 6], [1, 4, 4], [1, 6, 4]])
    expected = Graphs(exported[1]).vision(PIXELS, grids)
    monkeypatch.setattr(session, "_processor", lambda: "flags : avx2")
    for found, rows in zip(Graphs(exported[1]).vision(PIXELS, grids), expected, strict=True):
        np.testing.assert_array_equal(found, rows)


def test_the_weights_of_an_export_are_those_of_its_checkpoint(exported):
    checkpoint, out = exported
    held = stored_weights(out)
    source = Checkpoint(checkpoint)
    for name in source:
        expected = source.weight(name).read().astype(np.float32)
        found = held[name]().reshape(expected.shape)
        assert error(found, expected) < 0.01, name


def test_only_matrices_of_products_have_rows(exported):
    graph = ir.load(exported[1] / "vision_encoder.onnx").graph
    kinds = {node.op_type for node in graph}
    assert OPERATOR in kinds
    assert "MatMulNBits" not in kinds
    everything = recorded_recipe(
        {"format": 1, "default": {"precision": "int8", "block": "row"}}, "a test", name="all"
    ).recipe
    assert everything.scheme("mlp", "x").in_rows
    assert not everything.scheme("embeddings", "x").in_rows
    assert not everything.scheme("head", "x").in_rows
