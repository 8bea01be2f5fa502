"""Memory for the midst of a step, which costs more than the sums when it is new for each row."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

_held = threading.local()


def scratch(name: str, size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array [size] to write to, this thread's until it asks for `name` again.

    The system hands out fresh pages with zeros in them, which takes longer than what is computed.
    Nothing that a step returns may lie here.
    """
    arrays: dict[str, npt.NDArray[Any]] = _held.__dict__
    array = arrays.get(name)
    if array is None or array.size < size or array.dtype != dtype:
        array = arrays[name] = np.empty(size, dtype)
    return array[:size]
