"""Visual tokens that look like the rest."""

import math

import numpy as np
from pydantic import Field

import triptych


class Background:
    """Keeps the rows of `image_features` [N, H] with the least cosine to their mean.

    It only says which rows stay (`keep_rows` bool [N]); Triptych drops the others from features,
    DeepStack layers, ids and positions together. It comes after `mrope`, so that what stays keeps
    its place.
    """

    class Settings(triptych.Settings):
        """ratio: the share of rows that stay."""

        ratio: float = Field(gt=0, le=1)

    neutral = {"ratio": 1.0}

    when = triptych.When.INPUT
    whole = False
    reads = (triptych.Port("image_features", "float", ("N", "H")),)
    writes = (triptych.Port("keep_rows", "bool", ("N",)),)
    cache_pairs = ()

    def __init__(self, settings):
        self.ratio = settings.ratio

    def __call__(self, ports):
        """Rank the rows by how much they are like the mean; of equals the first ones stay."""
        features = ports["image_features"].astype(np.float64)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        directions = features / np.maximum(lengths, np.finfo(np.float64).tiny)
        likeness = directions @ directions.mean(axis=0)
        keep = np.zeros(len(features), bool)
        count = math.ceil(self.ratio * len(features))
        keep[np.argsort(likeness, kind="stable")[:count]] = True
        return {"keep_rows": keep}
