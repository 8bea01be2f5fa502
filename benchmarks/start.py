"""What a start costs: whole processes in pairs, as ratios.

    python benchmarks/start.py [--model FOLDER] [--pairs N]

Without a model: `triptych run` on sketch over a bare script that imports onnxruntime and
tokenizers and opens the three sessions. With one (an export with its weights beside its graphs):
loading it again over loading it with an empty cache of graphs, text alone, and with the memory that
stays over the bytes of weights that were read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKETCH = ROOT / "src" / "triptych" / "models" / "sketch" / "pipeline"
BARE = """
import sys
import onnxruntime, tokenizers
cpu = ["CPUExecutionProvider"]
sessions = [onnxruntime.InferenceSession(path, providers=cpu) for path in sys.argv[1:]]
"""
LOAD = """
import json, sys, time
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines
            if line.startswith(("VmRSS", "VmHWM"))}
import numpy, onnxruntime, tokenizers
from triptych.core.pipeline import load
before = resident()["VmRSS"]
begin = time.perf_counter()
pipeline = load(sys.argv[1], overrides={"session.preload": sys.argv[2] == "all"})
seconds = time.perf_counter() - begin
memory = resident()
print(json.dumps([seconds, memory["VmRSS"] - before, memory["VmHWM"] - before]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Byte code is kept, as it is where Triptych is installed.
        settings = {
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONPYCACHEPREFIX": f"{folder}/code",
            "TRIPTYCH_CACHE": f"{folder}/cache",
        }
        environment = {**os.environ, **settings}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if options.model is None:
            command_line(environment, options.pairs)
        else:
            second_start(options.model, environment, options.pairs)


def command_line(environment: Mapping[str, str], pairs: int) -> None:
    """`triptych run` over the bare script."""
    graphs = [str(path) for path in sorted(SKETCH.glob("*.onnx"))]
    bare = [sys.executable, "-c", BARE, *graphs]
    run = [sys.executable, "-m", "triptych", "run", "--text", "What is the capital of France?"]
    took: dict[str, list[float]] = {"bare": [], "run": []}
    for _ in range(pairs + 1):
        for name, command in (("bare", bare), ("run", run)):
            begin = time.perf_counter()
            subprocess.run(  # noqa: S603 - commands of this file
                command, env=environment, check=True, stdout=subprocess.DEVNULL
            )
            took[name].append(time.perf_counter() - begin)
    report("triptych run / bare, seconds", took["run"][1:], took["bare"][1:])


def second_start(model: Path, environment: Mapping[str, str], pairs: int) -> None:
    """Loading with what the last start left, over loading without."""
    for what in ("text", "all"):
        first, second = [], []
        for _ in range(pairs + 1):
            with tempfile.TemporaryDirectory() as cache:
                settings = {**environment, "TRIPTYCH_CACHE": cache}
                first.append(loaded(model, what, settings))
                second.append(loaded(model, what, settings))
        report(f"second start / first, {what}", *([t[0] for t in s[1:]] for s in (second, first)))
        weights = sum(path.stat().st_size for path in weights_of(model, what)) / 2**20
        stays, peak = (statistics.median(run[i] for run in second[1:]) for i in (1, 2))
        print(
            f"memory, {what}: {stays:.0f} MiB stay, {peak:.0f} at the most, above the libraries; "
            f"{stays / weights:.2f} and {peak / weights:.2f} x {weights:.0f} MiB of weights"
        )


def loaded(model: Path, what: str, environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Seconds, and MiB that stay and that were used at the most."""
    command = [sys.executable, "-c", LOAD, str(model), what]
    done = subprocess.run(  # noqa: S603 - as above
        command, env=environment, check=True, capture_output=True, text=True
    )
    seconds, stays, peak = json.loads(done.stdout)
    return seconds, stays, peak


def weights_of(model: Path, what: str) -> list[Path]:
    """The data files of a model, with or without those of what pictures alone need."""
    files = [path for path in model.iterdir() if ".data" in path.suffixes]
    return [path for path in files if what == "all" or "vision" not in path.name]


def report(title: str, one: Sequence[float], other: Sequence[float]) -> None:
    """The ratio of two things that were measured in turn."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    print(
        f"{title}: {statistics.median(one):.3f} / {statistics.median(other):.3f} s; ratio "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
