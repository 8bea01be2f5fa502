"""Which layers of a vision encoder bear 8-bit rows: the error that each kind of layer makes alone.

    python benchmarks/vision_layers.py [CHECKPOINT] [--calibration FOLDER] [--pictures 8]

Exports the vision encoder in float32, then once for each kind of layer with that kind alone in
`{precision: int8, block: row}`, and compares the features of pictures: the length of the
difference over the length of float32's. A recipe keeps those in float32 that stand out:

    vision: {precision: int8, block: row}
    weights: {"*.visual.blocks.3.mlp.linear_fc2.weight": fp32}
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime

from triptych.cli.calibration import calibration_requests
from triptych.core.components.catalog import Catalog
from triptych.core.graphs.session import session_options
from triptych.core.ports import Array
from triptych.core.stages import Runtime
from triptych.export.checkpoint import Checkpoint
from triptych.export.families import exporter_for
from triptych.export.graph_files import GraphFiles
from triptych.export.precision import RecipePrecision
from triptych.export.precision.recipe_file import recorded_recipe
from triptych.plugins.processors.qwen_vl import QwenVLProcessor

VISION = "vision_encoder.onnx"
ROWS = {"precision": "int8", "block": "row"}


def main() -> None:
    """Print a line for each kind of layer, the worst first."""
    given = arguments()
    feeds = list(islice(pictures(given.checkpoint, given.calibration), given.pictures))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        expected = features(given.checkpoint, path, {}, feeds)
        errors = {
            kind: error(
                features(given.checkpoint, path, {"weights": {pattern: ROWS}}, feeds), expected
            )
            for kind, pattern in kinds(given.checkpoint).items()
        }
        errors["all of them"] = error(
            features(given.checkpoint, path, {"vision": ROWS}, feeds), expected
        )
    for kind, found in sorted(errors.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"{100 * found:7.3f} %  {kind}\n")


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?", default=Path("checkpoints/sketch"))
    parser.add_argument("--calibration", type=Path, help="pictures (default: drawn scenes)")
    parser.add_argument("--pictures", type=int, default=8)
    return parser.parse_args()


def kinds(checkpoint: Path) -> Mapping[str, str]:
    """Patterns: a layer of all blocks, all layers of one block, and what stands outside of them."""
    found: dict[str, str] = {}
    for name in Checkpoint(checkpoint):
        if ".visual." not in name or not name.endswith(".weight") or "norm" in name:
            continue
        place, _, layer = name.partition(".blocks.")[2].partition(".")
        if layer:
            found[f"every block's {layer.removesuffix('.weight')}"] = f"*.blocks.*.{layer}"
            found[f"block {place}"] = f"*.visual.blocks.{place}.*"
        elif "pos_embed" not in name:
            found[name.partition(".visual.")[2].removesuffix(".weight")] = name
    return found


def pictures(checkpoint: Path, folder: Path | None) -> Iterator[Mapping[str, Array]]:
    """What the vision encoder is fed for each picture."""
    processor = QwenVLProcessor(QwenVLProcessor.Settings(folder=checkpoint))
    for request in calibration_requests(folder):
        for item in processor.prompt(request).media:
            yield {name: item.ports[name] for name in ("pixel_values", "image_grid_thw")}


def features(
    checkpoint: Path, folder: Path, said: Mapping[str, object], feeds: list[Mapping[str, Array]]
) -> Array:
    """All outputs f32 for all pictures, flat, of an encoder exported by a recipe."""
    recipe = recorded_recipe({"format": 1, **said}, "a recipe", name="tried").recipe
    source = Checkpoint(checkpoint)
    _, family = exporter_for(source.config, str(checkpoint), family=None, catalog=Catalog())
    graphs = dict(family(source, RecipePrecision("tried", recipe)).graphs())
    for old in folder.iterdir():
        old.unlink()
    GraphFiles({VISION: graphs[VISION]}).write(folder)
    session = onnxruntime.InferenceSession(
        folder / VISION, session_options(Runtime()), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([np.ravel(one) for feed in feeds for one in session.run(None, feed)])


def error(found: Array, expected: Array) -> float:
    """The length of the difference over the length of what was expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    main()
