"""What it costs to turn a picture's file into patches, beside transformers' own processor.

    python benchmarks/preprocess.py [--rounds 7] [--size 384x384 ...]

Opens a JPEG file, turns it upright, resizes, normalises and cuts it, as Qwen3-VL's processors do,
once by Triptych and once by transformers' Pillow processor, in turn; checks that both give the
same bits. Prints the medians in milliseconds and the ratio of the pairs, with its range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.image_kind import ImageKind
from triptych.plugins.processors.image_ports import Bounds
from triptych.plugins.processors.patches import PatchImages
from triptych.plugins.processors.processor_settings import PIXEL_LIMIT

CONFIG: dict[str, Any] = {
    "patch_size": 16,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096},
}
"""That of Qwen3-VL."""
SIZES = ("384x384", "1000x700", "1024x1024", "4096x3072")
Compute = Callable[[Path], Any]


def photo(path: Path, width: int, height: int) -> Path:
    """A JPEG file about as smooth as a photograph."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(path, "JPEG", quality=90)
    return path


def ours() -> Compute:
    """Triptych's, as a request for a picture runs it: the digest of its pixels included."""
    kind = ImageKind(PatchImages(CONFIG, Bounds(), "here"), "<|image_pad|>", PIXEL_LIMIT)

    def compute(path: Path) -> Any:
        return kind.open(MediaSource("image", path, "images[0]")).compute()

    return compute


def theirs() -> Compute:
    """transformers', with its own way of opening a file."""
    from transformers.image_utils import load_image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(**json.loads(json.dumps(CONFIG)))

    def compute(path: Path) -> Any:
        return processor(images=[load_image(str(path))], return_tensors="np")

    return compute


def seconds(compute: Compute, path: Path) -> float:
    """How long one picture takes."""
    begin = time.perf_counter()
    compute(path)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", action="append", help="WIDTHxHEIGHT; may be repeated")
    given = parser.parse_args()
    mine, other = ours(), theirs()
    print("| picture | triptych, ms | transformers, ms | transformers / triptych (range) |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in given.size or SIZES:
            path = photo(Path(folder) / f"{size}.jpg", *map(int, size.split("x")))
            np.testing.assert_array_equal(mine(path)["pixel_values"], other(path)["pixel_values"])
            pairs = [(seconds(mine, path), seconds(other, path)) for _ in range(given.rounds)]
            ratios = [second / first for first, second in pairs]
            first, second = (
                1000 * statistics.median(column) for column in zip(*pairs, strict=True)
            )
            middle = statistics.median(ratios)
            print(
                f"| {size} | {first:.2f} | {second:.2f} "
                f"| {middle:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
            )


if __name__ == "__main__":
    main()
