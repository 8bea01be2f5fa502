"""The bytes of blocks: by hand, and as ONNX Runtime reads them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as make
import onnx.numpy_helper
import pytest

from tests.export.precision.operators import run
from triptych.export.precision.blocks import BlockFormat, Blocks, cut
from triptych.export.precision.quantizers import rtn

ROWS = np.random.default_rng(0).standard_normal((6, 256)).astype(np.float32)


def test_two_codes_share_a_byte_the_low_half_first():
    codes = np.arange(32, dtype=np.uint8).reshape(1, 1, 32) % 16
    blocks = Blocks(BlockFormat(4, 32), 32, codes, np.ones((1, 1), np.float32))
    assert blocks.packed().tobytes().hex() == "1032547698badcfe" * 2


def test_the_zeros_of_a_row_fill_whole_bytes():
    zeros = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    codes = np.zeros((2, 3, 32), np.uint8)
    blocks = Blocks(BlockFormat(4, 32), 96, codes, np.ones((2, 3), np.float32), zeros)
    assert blocks.packed_zeros().tobytes().hex() == "21035406"
    assert blocks.format.zero_bytes(96) == 2


def test_a_code_stands_for_its_distance_from_zero_in_steps_of_the_scale():
    codes = np.full((1, 2, 32), 8, np.uint8)
    codes[0, 0, :3] = 0, 15, 9
    scales = np.array([[0.5, 2.0]], np.float32)
    symmetric = Blocks(BlockFormat(4, 32, symmetric=True), 64, codes, scales)
    assert symmetric.dequantized()[0, :4].tolist() == [-4.0, 3.5, 0.5, 0.0]
    zeros = np.array([[9, 7]], np.uint8)
    shifted = Blocks(BlockFormat(4, 32), 64, codes, scales, zeros)
    assert shifted.dequantized()[0, :4].tolist() == [-4.5, 3.0, 0.0, -0.5]
    assert shifted.dequantized()[0, 32] == 2.0


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [64, 96, 100])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_packed_is_unpacked(bits, columns, symmetric):
    form = BlockFormat(bits, 32, symmetric)
    blocks = rtn(ROWS[:, :columns], form)
    found = Blocks.unpacked(
        form, columns, blocks.packed(), blocks.scales.reshape(-1), blocks.packed_zeros()
    )
    np.testing.assert_array_equal(found.dequantized(), blocks.dequantized())


def test_a_row_that_ends_within_a_block_is_filled_up_with_zeros():
    filled = cut(ROWS[:, :40], 32)
    assert filled.shape == (6, 2, 32)
    np.testing.assert_array_equal(filled.reshape(6, 64)[:, :40], ROWS[:, :40])
    assert not filled.reshape(6, 64)[:, 40:].any()
    assert rtn(ROWS[:, :40], BlockFormat(4, 32)).dequantized().shape == (6, 40)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_onnx_itself_dequantizes_the_same_bytes(bits, size):
    """DequantizeLinear of ONNX, with uint4 and blocks of its own, is another implementation."""
    blocks = rtn(ROWS, BlockFormat(bits, size))
    kind = {4: onnx.TensorProto.UINT4, 8: onnx.TensorProto.UINT8}[bits]
    count = ROWS.shape[1] // size
    found = run(
        [make.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1, block_size=size)],
        feeds={},
        weights=[
            make.make_tensor("q", kind, ROWS.shape, blocks.packed().tobytes(), raw=True),
            onnx.numpy_helper.from_array(blocks.scales, "s"),
            make.make_tensor(
                "z", kind, (len(ROWS), count), blocks.packed_zeros().tobytes(), raw=True
            ),
        ],
    )
    np.testing.assert_array_equal(found, blocks.dequantized())


def test_onnx_runtimes_own_packer_makes_the_same_bytes():
    """Its 4-bit quantizer rounds to nearest; where scales agree, so do codes, byte by byte."""
    packer = pytest.importorskip("onnxruntime.capi._pybind_state").quantize_matmul_4bits
    count, columns, size = 6, 256, 32
    packed = np.zeros((count, columns // size, size // 2), np.uint8)
    scales = np.zeros(count * columns // size, np.float32)
    zeros = np.zeros((count, columns // size // 2), np.uint8)
    packer(packed, np.ascontiguousarray(ROWS.T), scales, zeros, size, count, columns, False)
    form = BlockFormat(4, size)
    theirs = Blocks.unpacked(form, columns, packed, scales, zeros)
    ours = rtn(ROWS, form)
    np.testing.assert_allclose(ours.scales, theirs.scales, rtol=1e-6)
    np.testing.assert_array_equal(ours.packed_zeros(), zeros)
    # A value in the middle between two codes may go either way.
    assert (ours.packed() != packed).mean() < 0.01
    np.testing.assert_allclose(theirs.dequantized(), ROWS, atol=0.51 * float(theirs.scales.max()))
