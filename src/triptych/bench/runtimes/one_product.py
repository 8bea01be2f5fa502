"""An ONNX file of one matrix product, written without the `onnx` package.

Protocol buffers as protobuf.dev, "Encoding", has them; field numbers are those of onnx.proto3.
"""

from __future__ import annotations

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
"""onnx.TensorProto.DataType."""

OPSET, IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime that Triptych runs on."""


def product(shape: tuple[int, int], weights: bytes, dtype: int) -> bytes:
    """A model that multiplies its input `left` with `weights`, [K, N] of `dtype`.

    FLOAT: float32 by MatMul. INT8: uint8 by MatMulInteger, into int32.
    """
    op, left, result = (
        ("MatMul", FLOAT, FLOAT) if dtype == FLOAT else ("MatMulInteger", UINT8, INT32)
    )
    node = _text(1, "left") + _text(1, "right") + _text(2, "product") + _text(4, op)
    tensor = b"".join(_number(1, size) for size in shape)
    tensor += _number(2, dtype) + _text(8, "right") + _bytes(9, weights)
    graph = (
        _bytes(1, node)
        + _text(2, "product")
        + _bytes(5, tensor)
        + _bytes(11, _port("left", left, shape[0]))
        + _bytes(12, _port("product", result, shape[1]))
    )
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, opset)


def _port(name: str, dtype: int, columns: int) -> bytes:
    """A ValueInfoProto: a matrix of any number of rows."""
    shape = _bytes(1, _text(2, "rows")) + _bytes(1, _number(1, columns))
    tensor = _number(1, dtype) + _bytes(2, shape)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte, and one that says more follow
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
