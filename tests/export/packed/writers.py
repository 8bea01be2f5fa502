"""Quantized checkpoints, packed value by value as the formats' documents say.

GPTQ and AWQ by loops over single codes; compressed-tensors by its own library.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import TinyShape, random_checkpoint

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def quantize(weight, group, bits, *, symmetric=False):
    """codes u8 [N, K], scales f16 [N, groups], zeros u8 [N, groups]; and the values they mean."""
    rows, columns = weight.shape
    largest = 2**bits - 1
    grouped = weight.reshape(rows, columns // group, group)
    low, high = grouped.min(-1), grouped.max(-1)
    if symmetric:
        scales = (np.abs(grouped).max(-1) / (2 ** (bits - 1) - 1)).astype(np.float16)
        zeros = np.full(scales.shape, 2 ** (bits - 1), np.uint8)
    else:
        scales = ((high - low) / largest).astype(np.float16)
        zeros = np.clip(np.round(-low / scales), 0, largest).astype(np.uint8)
    wide = scales.astype(np.float32)[..., None]
    codes = np.clip(np.round(grouped / wide) + zeros[..., None], 0, largest).astype(np.uint8)
    values = (codes.astype(np.float32) - zeros[..., None]) * wide
    return codes.reshape(rows, columns), scales, zeros, values.reshape(rows, columns)


def packed_rows(matrix, bits, order=None):
    """i32 [n, K / per word]: each row's codes in words, the first in the lowest bits."""
    per_word = 32 // bits
    order = order or range(per_word)
    words = []
    for row in matrix:
        line = []
        for start in range(0, len(row), per_word):
            word = 0
            for place, which in enumerate(order):
                word |= int(row[start + which]) << (place * bits)
            line.append(word)
        words.append(line)
    return np.array(words, np.uint32).view(np.int32)


def gptq(codes, scales, zeros, bits, *, offset=1):
    stored = (zeros.astype(np.int64) - offset) % 2**bits
    groups, columns = scales.shape[1], codes.shape[1]
    return {
        "qweight": packed_rows(codes, bits).T,
        "qzeros": packed_rows(stored.T, bits),
        "scales": scales.T,
        "g_idx": (np.arange(columns) // (columns // groups)).astype(np.int32),
    }


def awq(codes, scales, zeros, bits):
    return {
        "qweight": packed_rows(codes.T, bits, AWQ_ORDER),
        "qzeros": packed_rows(zeros.T, bits, AWQ_ORDER),
        "scales": scales.T,
    }


def compressed(codes, scales, zeros, bits, *, symmetric):
    def signed(values):
        return torch.from_numpy((values.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8))

    found = {
        "weight_packed": pack_to_int32(signed(codes), bits, packed_dim=1).numpy(),
        "weight_scale": scales,
        "weight_shape": np.array(codes.shape, np.int64),
    }
    if not symmetric:
        found["weight_zero_point"] = pack_to_int32(signed(zeros), bits, packed_dim=0).numpy()
    return found


CONFIGS = {
    "gptq": {"quant_method": "gptq", "checkpoint_format": "gptq", "desc_act": False},
    "gptq_v2": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"},
    "awq": {"quant_method": "awq", "version": "gemm", "zero_point": True},
}


def quantized_checkpoint(folder, layout, *, group=32, bits=4, symmetric=False):
    """A random checkpoint whose decoder layers are packed; the values that they mean, by name."""
    shape = TinyShape(hidden=64, intermediate=128, head=16, heads=4, kv_heads=2)
    random_checkpoint(folder, shape=shape)
    tensors = load_file(folder / "model.safetensors")
    meant = {}
    for name in [name for name in tensors if ".layers." in name and tensors[name].ndim > 1]:
        if "language_model" not in name:
            continue
        weight = tensors.pop(name)
        # A group whose zero is 0, from which GPTQ's first format cannot take one.
        weight[0] = np.abs(weight[0])
        size = group or weight.shape[1]
        codes, scales, zeros, meant[name] = quantize(weight, size, bits, symmetric=symmetric)
        if layout == "compressed":
            parts = compressed(codes, scales, zeros, bits, symmetric=symmetric)
        elif layout == "awq":
            parts = awq(codes, scales, zeros, bits)
        else:
            parts = gptq(codes, scales, zeros, bits, offset=int(layout == "gptq"))
        for part, values in parts.items():
            key = name.removesuffix("weight") + part
            tensors[key] = np.ascontiguousarray(values)
    save_file(tensors, folder / "model.safetensors")
    if layout == "compressed":
        weights = {"num_bits": bits, "group_size": group, "symmetric": symmetric, "type": "int",
                   "strategy": "group" if group else "channel"}  # fmt: skip
        said = {"quant_method": "compressed-tensors", "format": "pack-quantized",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
                "ignore": ["lm_head"]}  # fmt: skip
    else:
        said = {**CONFIGS[layout], "bits": bits, "group_size": group or -1}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": said}))
    return meant
