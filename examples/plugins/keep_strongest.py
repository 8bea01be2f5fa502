r"""A stage of one's own: drop the visual rows that carry the least.

To use it::

    triptych run --image examples/images/scene.png --text "Describe this image." \
        --plugin examples/plugins/keep_strongest.py \
        --insert 'after mrope: {local/keep_strongest: 0.75}'

A reducer only says which rows stay. Features, DeepStack layers, ids and positions of the others
are dropped by Triptych, all at once. It comes after `mrope`, so that what stays keeps its place.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

import triptych


@triptych.hookimpl
def stages():
    """Offer `local/keep_strongest`."""
    return [
        triptych.Component(
            name="keep_strongest",
            target=":KeepStrongest",
            summary="Keeps the share of visual rows with the largest norms.",
            main="ratio",
        )
    ]


class KeepStrongest:
    """Writes `keep_rows` bool [N]: true for the rows of `image_features` [N, H] that stay."""

    class Settings(triptych.Settings):
        """ratio: the share of rows that stay; at 1.0 nothing changes."""

        ratio: float = Field(gt=0, le=1)

    when = triptych.When.INPUT
    whole = False
    reads = (triptych.Port("image_features", "float32", ("N", "H")),)
    writes = (triptych.Port("keep_rows", "bool", ("N",)),)
    cache_pairs = ()

    def __init__(self, settings):
        self.ratio = settings.ratio

    def __call__(self, ports):
        """Rank the rows by their norm."""
        norms = np.linalg.norm(ports["image_features"], axis=1)
        keep = np.zeros(len(norms), bool)
        keep[np.argsort(-norms, kind="stable")[: math.ceil(self.ratio * len(norms))]] = True
        return {"keep_rows": keep}
