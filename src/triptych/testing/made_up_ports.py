"""Values for any declared ports: random numbers of the right axes, and sound indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from triptych.core.ports import Array, Axis, Port

IDS = 12
"""Token ids are below this; the smallest vocabulary that makes sense is larger."""


@dataclass(frozen=True)
class Case:
    """One slice to call a stage with.

    grids: (frames, height, width) of each image in patches, of which four become a visual row.
    batch: B. seed: of what is random.
    """

    name: str
    grids: Sequence[tuple[int, int, int]]
    batch: int = 1
    seed: int = 0
    texts: int = 2

    @property
    def rows(self) -> list[int]:
        """Visual rows of each image."""
        return [frames * height * width // 4 for frames, height, width in self.grids]

    @property
    def index(self) -> Array:
        """int64 [S]: text around each image, whose rows are in order."""
        text = np.full(self.texts, -1, np.int64)
        parts, row = [text], 0
        for count in self.rows:
            parts += [np.arange(row, row + count), text]
            row += count
        return np.concatenate(parts)

    @property
    def sizes(self) -> dict[str, int]:
        """What each axis letter counts."""
        tokens = len(self.index)
        return {
            "B": self.batch,
            "S": tokens,
            "N": sum(self.rows),
            "K": 2,
            "H": 8,
            "V": 32,
            "R": 2,
            "patches": 4 * sum(self.rows),
            "images": len(self.grids),
            "tiles": len(self.grids),
            "total": tokens,
        }


CASES = (
    Case("two pictures", ((1, 4, 4), (1, 2, 6)), seed=1),
    Case("one picture", ((1, 6, 4),), seed=2),
)


@dataclass
class MadeUp:
    """Makes the ports of a case. sizes: of the axes, those met on the way included."""

    case: Case
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = self.case.sizes
        self._random = np.random.Generator(np.random.PCG64(self.case.seed))

    def ports(self, declared: Iterable[Port], given: Mapping[str, Array]) -> dict[str, Array]:
        """A value for each port; `given` values come before made-up ones."""
        made = {}
        for port in declared:
            value = given.get(port.name)
            made[port.name] = self._value(port) if value is None else np.array(value)
        return made

    def shape(self, axes: Iterable[Axis]) -> tuple[int, ...]:
        """The numbers behind axes; an axis that nobody knows is 32."""
        return tuple(axis if isinstance(axis, int) else self.sizes.get(axis, 32) for axis in axes)

    def _value(self, port: Port) -> Array:
        shape = self.shape(port.axes)
        known = self._known(port.name)
        if known is not None:
            return np.broadcast_to(known, shape).astype(port.dtype)
        dtype = np.dtype("float32" if port.dtype == "float" else port.dtype)
        if dtype.kind == "b":
            return self._random.random(shape) < 1 / 2
        if dtype.kind in "iu":
            return self._random.integers(0, 2, shape, dtype)
        return self._random.standard_normal(shape).astype(dtype)

    def _known(self, name: str) -> Array | None:
        """The ports whose numbers mean something."""
        index = self.case.index
        tokens = len(index)
        makers: dict[str, Callable[[], Array]] = {
            "input_ids": lambda: self._random.integers(0, IDS, (self.case.batch, tokens)),
            "visual_index": lambda: index,
            "start_position": lambda: np.zeros(1, np.int64),
            "position_ids": lambda: np.arange(tokens),
            "next_position": lambda: np.arange(1, tokens + 1),
            "logit_index": lambda: np.arange(tokens - self.sizes["R"], tokens),
            "attention_mask": lambda: np.ones(tokens, np.int64),
            "image_grid_thw": lambda: np.array(self.case.grids),
        }
        if name not in makers:
            return None
        value = makers[name]()
        # A batch of one where the port has no B.
        return value[0] if value.ndim > 1 and len(value) == 1 else value
