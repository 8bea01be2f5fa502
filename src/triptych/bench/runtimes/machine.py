"""What the machine itself can do: how fast it reads memory, and how fast it multiplies matrices.

Numpy reads, one thread for each that a runtime gets, because numpy lets go of the interpreter
while it does; ONNX Runtime multiplies, because that is what runs the graphs. The best of all
rounds is the limit: nothing in a round can make the machine faster than it is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .one_product import FLOAT, INT8, product

BUFFER = 256 * 2**20
"""Bytes that are read in all: many times the caches."""
ROUNDS = 5
ROWS, DEPTH, COLUMNS = 512, 2048, 2048
"""Of the matrices: those of a prompt of 512 tokens and a layer of a small language model."""


class Runtime:
    """Answers `start` and `limits` alone."""

    def start(self) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import numpy as np
        import onnxruntime

        name = f"numpy {np.__version__}, onnxruntime {onnxruntime.__version__}"
        return {"name": name, "version": ""}

    def limits(self, *, threads: int) -> dict[str, Any]:
        """Gives `bandwidth` in bytes a second, and `float32` and `int8` in operations a second."""
        return {
            "bandwidth": bandwidth(threads),
            "float32": rate(threads, FLOAT),
            "int8": rate(threads, INT8),
        }


def bandwidth(threads: int) -> float:
    """Bytes a second that `threads` threads read together, each from a part of its own."""
    import numpy as np

    parts = np.ones((threads, BUFFER // threads // 8), np.uint64)
    # Which of them an installation vectorises best differs.
    readers = (np.bitwise_or.reduce, np.add.reduce, np.maximum.reduce)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for reader in readers:
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                list(pool.map(reader, parts))
                best = min(best, time.perf_counter() - begin)
    return float(parts.nbytes / best)


def rate(threads: int, dtype: int) -> float:
    """Operations a second, two for each multiplication with its addition.

    dtype: FLOAT, or INT8 for uint8 times int8 as ONNX Runtime multiplies quantized matrices.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    random = np.random.default_rng(0)
    if dtype == FLOAT:
        left = random.random((ROWS, DEPTH), np.float32)
        right = random.random((DEPTH, COLUMNS), np.float32)
    else:
        left = random.integers(0, 256, (ROWS, DEPTH), np.uint8)
        right = random.integers(-127, 128, (DEPTH, COLUMNS), np.int8)
    session = onnxruntime.InferenceSession(
        product(right.shape, right.tobytes(), dtype), options, providers=["CPUExecutionProvider"]
    )
    best = float("inf")
    for _ in range(2 * ROUNDS):
        begin = time.perf_counter()
        session.run(None, {"left": left})
        best = min(best, time.perf_counter() - begin)
    return 2 * ROWS * DEPTH * COLUMNS / best
