"""Memory of a device: arrays that graphs read and write there, and what moves them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError
from triptych.core.ports import Array


@dataclass(frozen=True)
class Device:
    """Where a provider keeps tensors. name: for people. memory: ONNX Runtime's name for it."""

    name: str
    memory: str
    provider: str
    number: int = 0


DEVICES = {
    "CUDAExecutionProvider": Device("cuda", "cuda", "CUDAExecutionProvider"),
    "TensorrtExecutionProvider": Device("cuda", "cuda", "CUDAExecutionProvider"),
}
"""By the provider that a session runs on; those of the others are in the memory of the CPU."""


class DeviceArray:
    """An array in a device's memory; what numpy calls shape, dtype, ndim and nbytes.

    A range of the first axis is a view. `numpy` copies it to the CPU.
    """

    def __init__(
        self, device: Device, memory: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, at: int = 0
    ) -> None:
        """memory: the OrtValue that holds it, from its element `at` of the first axis on."""
        self.device = device
        self.memory = memory
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._at = at
        row = math.prod(shape[1:]) * self.dtype.itemsize
        self.pointer: int = memory.data_ptr() + at * row

    @classmethod
    def of(cls, device: Device, memory: Any) -> DeviceArray:
        """The whole of an OrtValue."""
        dtype = _DTYPES[memory.data_type()]
        return cls(device, memory, tuple(memory.shape()), dtype)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        """How long its first axis is."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> DeviceArray:
        """A view of a range of the first axis."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(
                f"an array in the memory of {self.device.name} is cut along its first axis only, "
                "into ranges; copy it with numpy() for anything else"
            )
        first, last, _ = rows.indices(len(self))
        shape = (max(last - first, 0), *self.shape[1:])
        return DeviceArray(self.device, self.memory, shape, self.dtype, self._at + first)

    def numpy(self) -> Array:
        """A copy in the memory of the CPU."""
        whole: Array = self.memory.numpy()
        return whole[self._at : self._at + len(self)]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        """The same, for numpy. Raises ValueError when there must be no copy."""
        if copy is False:
            raise ValueError(f"an array in the memory of {self.device.name} must be copied")
        return self.numpy().astype(dtype or self.dtype, copy=False)


def reserve_on(device: Device) -> Any:
    """A function like `memory.reserve`, for the device; there, all of it is taken at once."""

    def reserve(shape: tuple[int, ...], dtype: str) -> DeviceArray:
        from onnxruntime import OrtValue

        try:
            zeros = np.zeros(shape, dtype)
            memory = OrtValue.ortvalue_from_numpy(zeros, device.memory, device.number)
        except Exception as cause:  # onnxruntime's own exceptions share no base class
            size = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
            raise InputError(
                f"a cache of {size:,.1f} GiB for each past tensor, {list(shape)}, cannot be kept "
                f"on {device.name}; lower session.max_context: {cause}"
            ) from cause
        return DeviceArray(device, memory, shape, dtype)

    return reserve


def copy_rows(source: Any, target: Any, count: int) -> None:
    """Copy the first `count` tokens of a past tensor [1, heads, length, head_size] to another.

    Both are numpy's, or both in one device's memory. There the whole row is copied, by the device.
    """
    if not isinstance(source, DeviceArray):
        target[:, :, :count] = source[:, :, :count]
        return
    copier = _copier(source.device, source.dtype.name)
    binding = copier.io_binding()
    bind_to(binding.bind_input, "x", source)
    bind_to(binding.bind_output, "y", target)
    copier.run_with_iobinding(binding)


def bind_to(bind: Any, name: str, array: DeviceArray) -> None:
    """Call an io-binding's `bind_input` or `bind_output` with the place of an array."""
    device = array.device
    bind(
        name,
        device.memory,
        device.number,
        array.dtype,
        list(array.shape),
        array.pointer,
    )


def on_cpu(ports: Mapping[str, Any]) -> dict[str, Array]:
    """The same arrays, those of a device as copies."""
    return {
        name: value.numpy() if isinstance(value, DeviceArray) else value
        for name, value in ports.items()
    }


@cache
def _copier(device: Device, dtype: str) -> Any:
    """A session that copies its input x, of any shape, to its output y."""
    import onnxruntime

    from triptych.core.graphs.session import session_options
    from triptych.core.stages import Runtime

    options = session_options(Runtime())
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        _identity(_ELEMENTS[dtype]), options, providers=[device.provider], enable_fallback=0
    )


_ELEMENTS = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}
"""TensorProto.DataType of onnx.proto."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in _ELEMENTS if name not in {"float32", "float64"}},
}
"""numpy's name of each type that ONNX Runtime names."""

DEVICE_DTYPES = frozenset(_ELEMENTS)
"""Types that arrays in the memory of a device may have."""


def _identity(element: int) -> bytes:
    """An ONNX model, y = Identity(x), in protocol buffers: onnx itself is not needed to run."""
    node = _text(1, "x") + _text(2, "y") + _text(4, "Identity")
    kind = _message(2, _message(1, bytes([1 << 3, element])))
    graph = (
        _message(1, node)
        + _text(2, "copy")
        + _message(11, _text(1, "x") + kind)
        + _message(12, _text(1, "y") + kind)
    )
    opset = bytes([2 << 3, 16])
    return bytes([1 << 3, 8]) + _message(7, graph) + _message(8, opset)


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2, len(content)]) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())
