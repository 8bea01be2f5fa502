"""The generators that a component must not use."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Python's and numpy's own generators in the state of a seed, and as they were afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - these are what is meant
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
