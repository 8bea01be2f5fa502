"""Where given tokens stand among the candidates."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Candidates

Places = npt.NDArray[np.intp]


def places(candidates: Candidates, tokens: npt.ArrayLike) -> tuple[Places, Places]:
    """The places of those of `tokens`, int64 [T], that are candidates, and where in `tokens`.

    Two vectors of one length. Candidates have ascending ids, as chains give them.
    """
    wanted = np.asarray(tokens, np.int64)
    found = np.searchsorted(candidates.ids, wanted)
    found[found == len(candidates)] = 0
    there = np.flatnonzero(candidates.ids[found] == wanted) if wanted.size else wanted
    return found[there], there


def without(candidates: Candidates, tokens: Collection[int]) -> Candidates:
    """Those that are not among `tokens`; all of them, where none would be left.

    A chain must be left something to choose from, and a ban cannot be kept by a model that has
    nothing else to say.
    """
    banned, _ = places(candidates, np.fromiter(tokens, np.int64, len(tokens)))
    if not banned.size:
        return candidates
    mask = np.ones(len(candidates), np.bool_)
    mask[banned] = False
    return candidates.keep(mask) if mask.any() else candidates
