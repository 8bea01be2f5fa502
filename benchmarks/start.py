"""What a start costs: whole processes in pairs, as ratios.

    python benchmarks/start.py [--model FOLDER] [--pairs N]

Without a model: `triptych run` on sketch over a bare script that imports onnxruntime and
tokenizers and opens the three sessions. With one (an export with its weights beside its graphs):
loading it again over loading it with an empty cache of graphs, text alone and with what pictures
need, and the memory of the second start: resident, above another process that only imports the
modules of others that this one has imported. Triptych's own modules, and the classes that it makes
with those of others, count as Triptych's. After loading it is told over the bytes of weights that
were read, and after a prompt and a short reply over weights and cache.
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
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SKETCH = ROOT / "src" / "triptych" / "models" / "sketch" / "pipeline"
BARE = """
import sys
import onnxruntime, tokenizers
cpu = ["CPUExecutionProvider"]
sessions = [onnxruntime.InferenceSession(path, providers=cpu) for path in sys.argv[1:]]
"""
RESIDENT = """
import importlib, json, sys, time
def resident():
    lines = open("/proc/self/status").read().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]
"""
LIBRARIES = f"""{RESIDENT}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:  # Made by another module, and not a file.
        pass
print(json.dumps(resident()[0]))
"""
LOAD = f"""{RESIDENT}
from triptych.core.pipeline import load
begin = time.perf_counter()
pipeline = load(sys.argv[1], overrides={{"session.preload": sys.argv[2] == "all"}})
told = {{"seconds": time.perf_counter() - begin}}
time.sleep(0.3)  # What loading has left is given back beside what comes next.
told["stays"], told["peak"] = resident()
if prompt := int(sys.argv[3]):
    reply = pipeline.generate("a " * prompt, seed=1, max_new_tokens=8)
    told["prompt"], told["cache"] = reply.usage.prompt_tokens, pipeline._prefixes.bytes / 2**20
    time.sleep(0.3)
    told["replied"] = resident()[0]
own = {{"triptych", "__main__"}} | sys.stdlib_module_names
told["libraries"] = [name for name in sys.modules if name.split(".")[0] not in own]
print(json.dumps(told))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--prompt", type=int, default=512, help="tokens, about, of the prompt")
    parser.add_argument("--what", choices=["text", "all"], help="only one of the two loads")
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
            for what in [options.what] if options.what else ["text", "all"]:
                second_start(options.model, what, environment, options.pairs, options.prompt)


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


def second_start(
    model: Path, what: str, environment: Mapping[str, str], pairs: int, prompt: int
) -> None:
    """Loading with what the last start left, over loading without, and the memory of both."""
    first, second = [], []
    for _ in range(pairs + 1):
        with tempfile.TemporaryDirectory() as cache:
            settings = {**environment, "TRIPTYCH_CACHE": cache}
            first.append(loaded(model, what, settings))
            second.append(loaded(model, what, settings))
            if len(second) > pairs:
                replied = loaded(model, what, settings, prompt)
    seconds = ([run["seconds"] for run in starts[1:]] for starts in (second, first))
    report(f"second start / first, {what}", *seconds)
    weights = sum(path.stat().st_size for path in weights_of(model, what)) / 2**20
    above = imported(second[-1]["libraries"], environment)
    for name in "stays", "peak":
        tell(f"{what}, {name}", [run[name] - above for run in second[1:]], weights)
    above, held = imported(replied["libraries"], environment), weights + replied["cache"]
    title = f"{what}, after {replied['prompt']} tokens with {replied['cache']:.0f} MiB of cache"
    tell(title, [replied["replied"] - above], held)


def loaded(
    model: Path, what: str, environment: Mapping[str, str], prompt: int = 0
) -> dict[str, Any]:
    """What a process tells that loads a model: MiB, seconds, and what it imported of others."""
    arguments = [str(model), what, str(prompt)]
    told: dict[str, Any] = answer([sys.executable, "-c", LOAD, *arguments], environment)
    return told


def imported(libraries: Sequence[str], environment: Mapping[str, str]) -> float:
    """MiB of a process that only imports those, the median of five."""
    command = [sys.executable, "-c", LIBRARIES, *libraries]
    return statistics.median(float(answer(command, environment)) for _ in range(5))


def answer(command: Sequence[str], environment: Mapping[str, str]) -> Any:
    """What a process has printed."""
    done = subprocess.run(  # noqa: S603 - commands of this file
        command, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def weights_of(model: Path, what: str) -> list[Path]:
    """The data files of a model, with or without those of what pictures alone need."""
    files = [path for path in model.iterdir() if ".data" in path.suffixes]
    return [path for path in files if what == "all" or "vision" not in path.name]


def report(title: str, one: Sequence[float], other: Sequence[float]) -> None:
    """The ratio of two things that were measured in turn."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    print(
        f"{title}: {statistics.median(one):.3f} / {statistics.median(other):.3f} s; "
        f"ratio {spread(ratios, 2)}",
        flush=True,
    )


def tell(title: str, mib: Sequence[float], weights: float) -> None:
    """Memory above the libraries, and over what it is held against."""
    print(
        f"memory, {title}: {spread(mib, 0)} MiB above the libraries; "
        f"{statistics.median(mib) / weights:.3f} x {weights:.0f} MiB",
        flush=True,
    )


def spread(values: Sequence[float], digits: int) -> str:
    """The median; the middle half; the least and the most."""
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return median
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    ends = ((low, high), (min(values), max(values)))
    half, all_of_them = (f"{a:.{digits}f}-{b:.{digits}f}" for a, b in ends)
    return f"{median} (half {half}, all {all_of_them})"


if __name__ == "__main__":
    main()
