"""What a picture costs: the vision encoder in float32 and in int8, beside the machine's own rate.

    python benchmarks/vision.py [CHECKPOINT] [--pictures 384 1024 16x128] [--rounds 5] [--json FILE]

CHECKPOINT is a Qwen3-VL folder with safetensors; without it, a random one whose vision encoder is
that of Qwen3-VL-2B is made. `16x128` is sixteen pictures of 128 x 128 pixels in one call. All
measure in turns on the same threads, pair by pair, so that only ratios are to be compared between
machines:

- seconds of a call: the median and the least. Where torch and transformers are installed, their
  encoder takes its turn (float32, attention by torch's own sdpa).
- speed: over transformers' in the same round, or over float32's where that is missing: the median,
  the least and the largest.
- of peak: the encoder's products in the fastest call, as a share of what one large float32 product
  reaches in this run. Beyond 100 % is what whole numbers make of it.
- error: of the image features, the length of the difference from float32's over their length.
- prepared: seconds that the processor takes to make patches of the pictures, not in the above.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnx_ir as ir
import onnxruntime
from PIL import Image

from benchmarks.models import random_model
from triptych.core.components.catalog import Catalog
from triptych.core.graphs.session import session_options
from triptych.core.graphs.thread_pool import cpu_threads
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.stages import Runtime
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Checkpoint
from triptych.export.families import exporter_for
from triptych.export.graph_files import GraphFiles
from triptych.export.precision import PRECISIONS, precision_named
from triptych.plugins.processors.qwen_vl import QwenVLProcessor

VISION, TORCH, REFERENCE = "vision_encoder.onnx", "transformers", "fp32"
# Rows, inputs and outputs of the product that shows the machine's rate.
PEAK = 2048
# Threads of another runtime go on spinning for a while after its turn.
PAUSE = 0.2

Feeds = Mapping[str, Array]
Encoder = Callable[[Feeds], Array]


@dataclass
class Row:
    """What was measured of one encoder on some pictures; seconds are of the whole call."""

    pictures: str
    encoder: str
    patches: int
    seconds: float
    least: float
    speed: float
    slowest: float
    fastest: float
    of_peak: float
    error: float
    prepared: float


def main() -> None:
    """Print the table."""
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        checkpoint = given.checkpoint or random_model(root / "checkpoint", "0.6b")
        names = list(dict.fromkeys([REFERENCE, *given.precisions]))
        encoders = {name: exported(checkpoint, root / name, name) for name in names}
        if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
            encoders[TORCH] = transformers_encoder(checkpoint)
        processor = QwenVLProcessor(QwenVLProcessor.Settings(folder=checkpoint))
        product, rates = large_product(), list[float]()
        rows: list[Row] = []
        for pictures in given.pictures:
            feeds, prepared = prepare(processor, pictures, given.rounds)
            found = measured(encoders, feeds, given.rounds, lambda: rates.append(product()))
            operations = encoder_operations(Checkpoint(checkpoint), feeds["image_grid_thw"])
            base = TORCH if TORCH in encoders else REFERENCE
            expected = encoders[REFERENCE](feeds)
            for name, seconds in found.items():
                speeds = [one / own for one, own in zip(found[base], seconds, strict=True)]
                rows.append(
                    Row(
                        pictures=pictures,
                        encoder=name,
                        patches=len(feeds["pixel_values"]),
                        seconds=statistics.median(seconds),
                        least=min(seconds),
                        speed=statistics.median(speeds),
                        slowest=min(speeds),
                        fastest=max(speeds),
                        of_peak=operations / min(seconds),
                        error=difference(encoders[name](feeds), expected),
                        prepared=prepared,
                    )
                )
    peak = max(rates)
    for row in rows:
        row.of_peak /= peak
    sys.stdout.write(table(rows, peak))
    if given.json is not None:
        content = {"peak": peak, "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--pictures", nargs="+", default=["384", "1024", "16x128"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"], choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def exported(checkpoint: Path, folder: Path, precision: str) -> Encoder:
    """The vision encoder of an export, and no other graph of it."""
    source = Checkpoint(checkpoint)
    _, family = exporter_for(source.config, str(checkpoint), family=None, catalog=Catalog())
    graphs = dict(family(source, precision_named(precision)).graphs())
    folder.mkdir()
    GraphFiles({VISION: graphs[VISION]}).write(folder)
    session = onnxruntime.InferenceSession(
        folder / VISION, session_options(Runtime()), providers=["CPUExecutionProvider"]
    )
    return lambda feeds: session.run(["image_features"], dict(feeds))[0]


def transformers_encoder(checkpoint: Path) -> Encoder:
    """That of transformers, in float32."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.set_num_threads(cpu_threads())
    config = AutoConfig.from_pretrained(checkpoint).vision_config
    model = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()
    source = Checkpoint(checkpoint)
    for name, parameter in model.named_parameters():
        stored = source.weight(f"model.visual.{name}", tuple(parameter.shape)).read()
        parameter.data.copy_(torch.from_numpy(stored.astype(np.float32)))

    def run(feeds: Feeds) -> Array:
        pixels, grids = (torch.from_numpy(feeds[name]) for name in feeds)
        with torch.inference_mode():
            found: Any = model(pixels, grid_thw=grids)
        return np.asarray(getattr(found, "pooler_output", found[0]))

    return run


def prepare(processor: QwenVLProcessor, pictures: str, rounds: int) -> tuple[Feeds, float]:
    """The patches of some pictures of noise, and the median of the seconds they took."""
    count, _, side = pictures.rpartition("x")
    random = np.random.default_rng(0)
    images = [
        Image.fromarray(random.integers(0, 256, (int(side), int(side), 3), dtype=np.uint8))
        for _ in range(int(count or 1))
    ]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        media = processor.prompt(Request(text="", images=images)).media
        parts = [item.ports for item in media]
        seconds.append(time.perf_counter() - start)
    names = "pixel_values", "image_grid_thw"
    feeds = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return feeds, statistics.median(seconds)


def measured(
    encoders: Mapping[str, Encoder], feeds: Feeds, rounds: int, between: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds of each encoder in each round, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in encoders}
    for number in range(rounds + 1):
        for name, encoder in encoders.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            encoder(feeds)
            if number:
                found[name].append(time.perf_counter() - start)
        time.sleep(PAUSE)
        between()
    return found


def large_product() -> Callable[[], float]:
    """Measures the operations a second of one large product, the best of a few."""
    graph = GraphBuilder("product")
    left, right = (graph.input(name, FLOAT, [PEAK, PEAK]) for name in ("left", "right"))
    values = np.random.default_rng(0).standard_normal((PEAK, PEAK), np.float32)
    graph.output("y", graph.op("MatMul", left, right), FLOAT, [PEAK, PEAK])
    session = onnxruntime.InferenceSession(
        ir.to_proto(graph.model()).SerializeToString(),
        session_options(Runtime()),
        providers=["CPUExecutionProvider"],
    )

    def measure() -> float:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            session.run(None, {"left": values, "right": values})
            seconds.append(time.perf_counter() - start)
        return 2 * PEAK**3 / min(seconds)

    return measure


def encoder_operations(checkpoint: Checkpoint, grids: Array) -> int:
    """Multiplications and additions in the products of Qwen3-VL's encoder."""
    vision = checkpoint.config["vision_config"]
    joined = vision["spatial_merge_size"] ** 2
    patches = int(grids.prod(axis=1).sum())
    pairs = int((grids.prod(axis=1) ** 2).sum())
    total = 4 * pairs * vision["hidden_size"] * vision["depth"]
    for name in checkpoint:
        shape = checkpoint.weight(name).shape
        if ".visual." in name and len(shape) > 1 and "pos_embed" not in name:
            rows = patches // joined if "merger" in name else patches
            total += 2 * rows * int(np.prod(shape))
    return total


def difference(found: Array, expected: Array) -> float:
    """The length of the difference over the length of what was expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def table(rows: Sequence[Row], peak: float) -> str:
    """The rows in Markdown."""
    product = f"one product of {PEAK} x {PEAK} x {PEAK} in float32"
    lines = [
        f"{cpu_threads()} threads; {product}: {peak / 1e9:.0f} GFLOP/s",
        "",
        "| pictures | patches | encoder | seconds (least) | speed | of peak | error | prepared |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.pictures} | {row.patches} | {row.encoder} | {row.seconds:.3f} ({row.least:.3f}) "
        f"| {row.speed:.2f} ({row.slowest:.2f}-{row.fastest:.2f}) | {row.of_peak:.0%} "
        f"| {row.error:.2%} | {row.prepared:.3f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
