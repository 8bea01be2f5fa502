"""Drop the visual rows that carry the least."""

import math

import numpy as np
import triptych
from pydantic import Field


class __CLASS__:
    """Writes `keep_rows` bool [N]: true for the rows of `image_features` [N, H] that stay.

    A reducer only says which rows stay. Features, DeepStack layers, ids and positions of the
    others are dropped by Triptych, all at once. It comes after `mrope`, so that what stays keeps
    its place.
    """

    class Settings(triptych.Settings):
        """ratio: the share of rows that stay."""

        ratio: float = Field(default=0.5, gt=0, le=1)

    # With these settings it changes nothing; `check_stage` holds it to that.
    neutral = {"ratio": 1.0}

    when = triptych.When.INPUT
    whole = False
    reads = (triptych.Port("image_features", "float32", ("N", "H")),)
    writes = (triptych.Port("keep_rows", "bool", ("N",)),)
    cache_pairs = ()

    def __init__(self, settings):
        self.ratio = settings.ratio

    def __call__(self, ports):
        """Called with the ports that `reads` declares; returns those that `writes` declares."""
        norms = np.linalg.norm(ports["image_features"], axis=1)
        strongest = np.argsort(-norms, kind="stable")[: math.ceil(self.ratio * len(norms))]
        keep = np.zeros(len(norms), bool)
        keep[strongest] = True
        return {"keep_rows": keep}
