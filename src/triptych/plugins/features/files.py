"""Files of features: one per medium and port, named for the content; no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from triptych.core.errors import InputError, TriptychError
from triptych.core.ports import Array
from triptych.core.prompt import digest_bytes
from triptych.core.request import Request

FEATURES = ("image_features", "deepstack_features")
"""What the vision encoder of a Qwen3-VL writes."""


class FeatureFileError(TriptychError):
    """A file of features that is missing or holds something else."""


def file_of(folder: Path, digest: str, port: str) -> Path:
    """Where a medium's array of a port lies: ``DIGEST.PORT.npy``."""
    return folder / f"{digest}.{port}.npy"


def read(folder: Path, digest: str, port: str) -> Array:
    """The array. Raises FeatureFileError, with what writes the file."""
    path = file_of(folder, digest, port)
    try:
        array: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FeatureFileError(
            f"there are no features of this picture or video in {path}; write them with "
            "triptych.plugins.features.files.save_features, over the same processor settings"
        ) from None
    except (OSError, ValueError, EOFError) as cause:
        raise FeatureFileError(f"{path} is no file of features: {cause}") from cause
    return array


def save_features(
    pipeline: Any, folder: str | Path, request: Request, *, ports: Sequence[str] = FEATURES
) -> list[Path]:
    """Write what `pipeline` makes of the media of `request`, for the stage `features` to read.

    pipeline: a loaded one, without reducers. ports: with an N axis, of the media's rows; those of
    two axes are [N, H], those of three [K, N, H]. Returns the files, which are named by the
    medium's digest: of its content and of how the processor prepares it.

    Raises InputError when the pipeline gives other than one row per visual token.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    media = pipeline.processor.prompt(request).media
    counts = [len(item.at) for item in media]
    written = []
    for port in ports if media else ():
        array = pipeline.run_until(port, request)
        if array.shape[-2] != sum(counts):
            raise InputError(
                f"{port} has {array.shape[-2]} rows, and the media of the request have "
                f"{sum(counts)}; save features with a pipeline that drops none"
            )
        for item, part in zip(media, np.split(array, np.cumsum(counts)[:-1], axis=-2), strict=True):
            path = file_of(folder, digest_bytes(item).hex(), port)
            _write(path, part)
            written.append(path)
    return written


def _write(path: Path, array: Array) -> None:
    """Whole or not at all, whoever else writes the same file."""
    part = path.with_name(f".{uuid4().hex}.part")
    with part.open("xb") as file:
        np.save(file, array, allow_pickle=False)
    part.replace(path)
