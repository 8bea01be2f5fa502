"""`features`: what a vision encoder made of images, read from files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from pydantic import Field

from triptych.core.config import settings
from triptych.core.paths import FilePath
from triptych.core.ports import Array, CachePair, Port, When
from triptych.plugins.features.files import FEATURES, FeatureFileError, read

AXES: dict[int, tuple[str, ...]] = {2: ("N", "H"), 3: ("K", "N", "H")}
"""The axes of a port by how many it has."""


class Features:
    """Reads `image_features` [N, H] and `deepstack_features` [K, N, H] from a folder.

    It stands in the place of the vision encoder, for features that were made elsewhere or edited.
    The files are ``DIGEST.PORT.npy``, DIGEST being the medium's own; `save_features` of
    `triptych.plugins.features.files` writes them. Raises FeatureFileError for a medium without a
    file, and for one with another number of rows than the medium has.
    """

    class Settings(settings.Settings):
        """folder: of the files. dtype: of what they hold.

        writes: the ports; one whose name begins with `deepstack` has three axes.
        """

        folder: FilePath
        writes: tuple[str, ...] = Field(default=FEATURES, min_length=1)
        dtype: str = "float32"

    when = When.INPUT
    whole = False
    reads = (Port("media_digest", "uint8", ("N", 16)),)
    cache_pairs: tuple[CachePair, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.folder
        self.writes = tuple(
            Port(name, settings.dtype, AXES[2 + name.startswith("deepstack")])
            for name in settings.writes
        )

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """The features of all media that are asked for."""
        digests = ports["media_digest"]
        changes = np.flatnonzero((digests[1:] != digests[:-1]).any(axis=1)) + 1
        runs = list(pairwise([0, *changes.tolist(), len(digests)]))
        return {
            port.name: np.concatenate(
                [self._read(port, bytes(digests[begin]).hex(), end - begin) for begin, end in runs],
                axis=-2,
            )
            for port in self.writes
        }

    def _read(self, port: Port, digest: str, rows: int) -> Array:
        array = read(self.folder, digest, port.name)
        if array.ndim != len(port.axes) or array.shape[-2] != rows or array.dtype != port.dtype:
            raise FeatureFileError(
                f"{self.folder}: {port.name} of {digest} is {array.dtype} {list(array.shape)}, and "
                f"the medium has {rows} rows, of {port}"
            )
        return array
