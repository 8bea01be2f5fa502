"""The tokens that may still be chosen, and their logits: a set that shrinks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Candidates:
    """Token ids and their logits.

    ids: int64 [C], unique; inside a chain ascending, so ties go to the lowest id by position.
    logits: float32 or float64 [C]; inside a chain always finite. Any other dtype is converted.

    A warp returns fewer of them (`keep`) or other logits (`with_logits`), and leaves the ones
    that it was given as they were. Dropping a token costs less than masking it: every later
    step then works on what is left instead of on the vocabulary.
    Raises ValueError when ids and logits are not two vectors of one length.
    """

    __slots__ = ("ids", "logits")

    ids: Ids
    logits: Scores

    def __init__(self, ids: npt.ArrayLike, logits: npt.ArrayLike) -> None:
        self.ids = np.asarray(ids, dtype=np.int64)
        self.logits = as_scores(np.asarray(logits))
        if self.ids.ndim != 1 or self.ids.shape != self.logits.shape:
            raise ValueError(
                "candidates need as many ids as logits, both of one axis: "
                f"got ids {list(self.ids.shape)} and logits {list(self.logits.shape)}"
            )

    @classmethod
    def of_row(cls, row: npt.NDArray[Any]) -> Candidates:
        """A whole vocabulary: logits [V], read and never written."""
        logits = as_scores(row).view()
        logits.flags.writeable = False
        return cls(_vocabulary(logits.size), logits)

    def __len__(self) -> int:
        return self.ids.size

    def __repr__(self) -> str:
        return f"Candidates(ids={self.ids!r}, logits={self.logits!r})"

    def keep(self, mask: npt.ArrayLike) -> Candidates:
        """Those where `mask`, bool [C], is true, in the same order."""
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != self.ids.shape:
            raise ValueError(
                f"keep needs one bool per candidate, [{len(self)}]: "
                f"got {mask.dtype} {list(mask.shape)}"
            )
        # Indices first: numpy takes by index much faster than by mask.
        kept = np.flatnonzero(mask)
        if kept.size == len(self):
            return self
        return self.at(kept)

    def at(self, places: npt.NDArray[np.intp]) -> Candidates:
        """Those at `places`, in that order."""
        # Of a whole vocabulary, places are ids.
        whole = self.ids is _vocabulary(len(self))
        return Candidates(places if whole else self.ids[places], self.logits[places])

    def with_logits(self, logits: npt.ArrayLike) -> Candidates:
        """The same tokens with other logits [C]."""
        return Candidates(self.ids, logits)

    def weights(self, *, out: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
        """float64 [C]: probabilities up to a common factor; the likeliest token has 1.

        out: where to write them, if not to new memory.
        """
        shifted: npt.NDArray[np.float64] = np.subtract(
            self.logits, self.logits.max(), out=out, dtype=np.float64
        )
        np.exp(shifted, out=shifted)
        return shifted

    def probabilities(self) -> npt.NDArray[np.float64]:
        """float64 [C]: the softmax of the logits."""
        weights = self.weights()
        weights /= weights.sum()
        return weights


def as_scores(values: npt.NDArray[Any]) -> Scores:
    """Values as float32 or float64, copied only when they are neither."""
    if values.dtype.char in "fd":
        scores: Scores = values
        return scores
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values.astype(np.float64)


@lru_cache(maxsize=8)
def _vocabulary(size: int) -> Ids:
    """int64 [size], 0, 1, ...: shared by every row of that size, so read-only."""
    ids = np.arange(size, dtype=np.int64)
    ids.flags.writeable = False
    return ids
