"""Codes, scales and zeros that suit a weight."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.export.precision.blocks import BlockFormat, cut
from triptych.export.precision.quantizers import QUANTIZERS, hqq, rtn
from triptych.export.precision.quantizers.hqq import _fitted, block_errors
from triptych.export.precision.quantizers.rtn import ranges

RANDOM = np.random.default_rng(0)
HEAVY = (0.02 * RANDOM.standard_t(3, (64, 512))).astype(np.float32)


def errors(quantizer, rows, form):
    found = cut(quantizer(rows, form).dequantized(), form.size)
    return block_errors(cut(rows, form.size), found)


def test_round_to_nearest_by_hand():
    """The range -3 to 12 in steps of 1: zero is the code 3."""
    row = np.zeros((1, 32), np.float32)
    row[0, :5] = -3, 12, 4.4, 0.6, -1.2
    blocks = rtn(row, BlockFormat(4, 32))
    assert (blocks.scales.item(), blocks.zeros.item()) == (1.0, 3)
    assert blocks.codes[0, 0, :6].tolist() == [0, 15, 7, 4, 2, 3]


def test_symmetric_round_to_nearest_by_hand():
    """-16 is the farthest from zero and takes the code below all others: steps of 2."""
    row = np.zeros((1, 32), np.float32)
    row[0, :4] = -16, 13, 3, -5.2
    blocks = rtn(row, BlockFormat(4, 32, symmetric=True))
    assert blocks.scales.item() == 2.0
    assert blocks.codes[0, 0, :5].tolist() == [0, 14, 10, 5, 8]


@pytest.mark.parametrize("bits", [4, 8])
def test_no_value_is_farther_than_half_a_step_from_its_code(bits):
    form = BlockFormat(bits, 64)
    blocks = rtn(HEAVY, form)
    steps = np.abs(cut(HEAVY - blocks.dequantized(), 64)) / blocks.scales[..., None]
    # The zero is rounded, too, which may cost the extremes another half.
    assert np.quantile(steps, 0.99) <= 0.5
    assert steps.max() <= 1.001


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("symmetric", [True, False])
def test_hqq_beats_round_to_nearest_by_its_own_measure_and_by_squares(size, symmetric):
    form = BlockFormat(4, size, symmetric)
    assert errors(hqq, HEAVY, form).sum() < errors(rtn, HEAVY, form).sum()
    squares = [((HEAVY - q(HEAVY, form).dequantized()) ** 2).sum() for q in (hqq, rtn)]
    assert squares[0] < 0.98 * squares[1]


def test_hqq_forgives_the_one_value_that_fits_no_step():
    """Whole numbers from 0 to 15, and one value beyond: steps stay near 1, not 1.04."""
    values = RANDOM.integers(0, 16, (1, 1, 128)).astype(np.float32)
    values[0, 0, :2] = 0, 15.6
    form = BlockFormat(4, 128)
    assert ranges(values, form)[0].item() == pytest.approx(1.04)
    assert _fitted(values, form)[0].item() == pytest.approx(1, abs=5e-4)


def test_hqq_leaves_rows_their_length():
    """Least squares alone would draw all weights of a layer towards zero by about 1 %."""
    found = hqq(HEAVY, BlockFormat(4, 128)).dequantized()
    shares = (found * HEAVY).sum(axis=1) / (HEAVY**2).sum(axis=1)
    np.testing.assert_allclose(shares, 1, atol=1e-5)


@pytest.mark.parametrize("method", QUANTIZERS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((2, 64)),
        np.full((2, 64), 3.0),
        np.full((2, 64), -2.5),
        np.full((2, 64), 1e-40),
        np.eye(2, 64) * 1e30,
    ],
    ids=["zeros", "one positive value", "one negative value", "denormals", "huge"],
)
def test_odd_blocks_are_stored_as_they_are(method, symmetric, rows):
    rows = rows.astype(np.float32)
    blocks = QUANTIZERS[method](rows, BlockFormat(4, 32, symmetric))
    assert np.isfinite(blocks.scales).all()
    np.testing.assert_allclose(
        blocks.dequantized(), rows, rtol=1e-5, atol=1e-6 * np.abs(rows).max() + 1e-38
    )
