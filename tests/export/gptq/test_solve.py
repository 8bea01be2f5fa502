"""Codes that look at the inputs of a layer, against the method written out column by column."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.export.gptq import HessianError, gptq
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.quantizers import hqq, rtn

ROWS, COLUMNS, TOKENS = 48, 320, 1024


def random_rows(columns=COLUMNS, seed=0):
    return np.random.default_rng(seed).standard_normal((ROWS, columns)).astype(np.float32)


def correlated_inputs(columns=COLUMNS, seed=1):
    """[tokens, columns]; a third as many causes as there are columns, of very different sizes."""
    random = np.random.default_rng(seed)
    causes = random.standard_normal((TOKENS, columns // 3)) * np.geomspace(1, 20, columns // 3)
    mixed = causes @ random.standard_normal((columns // 3, columns)) / 10
    return (mixed + 0.3 * random.standard_normal((TOKENS, columns))).astype(np.float32)


def hessian_of(inputs):
    return 2 * inputs.T @ inputs


def output_error(inputs, rows, blocks):
    return np.linalg.norm(inputs @ (rows - blocks.dequantized()).T)


def plain_gptq(rows, hessian, bits, size):
    """Section 3.1 of arXiv 2210.17323: the inverse is made whole and shrinks with each column."""
    left = rows.astype(np.float64)
    damped = hessian + 0.01 * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    inverse = np.linalg.inv(damped.astype(np.float64))
    given = np.zeros_like(left)
    for column in range(left.shape[1]):
        if column % size == 0:
            group = left[:, column : column + size]
            low, high = np.minimum(group.min(1), 0), np.maximum(group.max(1), 0)
            scale = (high - low) / (2**bits - 1)
            zero = np.round(-low / scale)
        code = np.clip(np.round(left[:, column] / scale) + zero, 0, 2**bits - 1)
        given[:, column] = (code - zero) * scale
        off = (left[:, column] - given[:, column]) / inverse[column, column]
        left -= np.outer(off, inverse[column])
        # The column is done: Gaussian elimination takes it out of the inverse.
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return given


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("symmetric", [True, False])
def test_outputs_are_nearer_than_those_of_methods_that_see_no_inputs(size, symmetric):
    rows, inputs = random_rows(), correlated_inputs()
    form = BlockFormat(4, size, symmetric)
    error = output_error(inputs, rows, gptq(rows, hessian_of(inputs), form))
    for other in (rtn, hqq):
        assert error < 0.7 * output_error(inputs, rows, other(rows, form))


@pytest.mark.parametrize(("bits", "size"), [(4, 32), (4, 128), (8, 64)])
def test_blocks_are_those_of_the_method_written_out(bits, size):
    """Few values lie so near to the middle of two codes that float32 decides for the other one,
    which then changes what comes after it in that row."""
    rows, inputs = random_rows(), correlated_inputs()
    hessian = hessian_of(inputs)
    expected = plain_gptq(rows, hessian, bits, size)
    found = gptq(rows, hessian, BlockFormat(bits, size)).dequantized()
    same = np.isclose(found, expected, atol=1e-3 if bits == 4 else 1e-4).all(axis=1)
    assert same.mean() > 0.8
    distance = np.linalg.norm(inputs @ (rows - expected).T)
    assert np.linalg.norm(inputs @ (rows - found).T) == pytest.approx(distance, rel=0.02)


@pytest.mark.parametrize("columns", [320, 100])
@pytest.mark.parametrize("symmetric", [True, False])
def test_inputs_that_have_nothing_to_do_with_each_other_leave_round_to_nearest(columns, symmetric):
    rows, form = random_rows(columns), BlockFormat(4, 32, symmetric)
    expected, found = rtn(rows, form), gptq(rows, np.eye(columns, dtype=np.float32), form)
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.scales, expected.scales)
    np.testing.assert_array_equal(found.dequantized(), expected.dequantized())


def test_a_column_makes_up_for_those_on_its_left_only():
    """Two inputs that are always equal: what the first is off by, the second is moved by."""
    row = np.zeros((1, 32), np.float32)
    row[0, :4] = 15, 0, 3.4, 7.3
    inputs = np.eye(32, dtype=np.float32) * 100
    inputs[3] = inputs[2]
    inputs[:, 3] = inputs[:, 2]
    found = gptq(row, hessian_of(inputs), BlockFormat(4, 32)).dequantized()
    # 3.4 becomes 3 whatever comes; 7.3 and nearly all of the 0.4 that are missing become 8.
    assert found[0, :4].tolist() == [15, 0, 3, 8]


def test_inputs_that_never_come_are_rounded_to_nearest():
    rows, inputs = random_rows(), correlated_inputs()
    inputs[:, 32:64] = 0
    form = BlockFormat(4, 32)
    found = gptq(rows, hessian_of(inputs), form)
    np.testing.assert_array_equal(found.codes[:, 1], rtn(rows, form).codes[:, 1])
    nothing = gptq(rows, np.zeros((COLUMNS, COLUMNS), np.float32), form)
    np.testing.assert_array_equal(nothing.codes, rtn(rows, form).codes)


def test_inputs_that_are_not_finite_are_refused():
    hessian = np.eye(COLUMNS, dtype=np.float32)
    hessian[3, 3] = np.inf
    with pytest.raises(HessianError, match="not finite"):
        gptq(random_rows(), hessian, BlockFormat(4, 32))
