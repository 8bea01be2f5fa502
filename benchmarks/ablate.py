"""What arms that share the work save: one sweep with sharing and without, as a ratio.

    python benchmarks/ablate.py [PIPELINE] [--items 24] [--side 448] [--new-tokens 16] [--repeats 2]

PIPELINE is `sketch`, or an export of what `benchmarks/models.py` writes. Each sweep asks two
questions about each of `items` / 2 pictures of noise:

- samplers: nine chains on one pipeline, two seeds.
- parts: DeepStack and visual-token reducers, seven arms that all see the same features.

"unshared" runs each arm by itself, in a worker of its own with caches of its own, as separate
commands would; "shared" is `triptych ablate`. The two take turns in one process, so only their
ratio counts; seconds are medians. "pictures" is how many were encoded, "graphs" how many were
opened. The answers of both are compared, and a difference is an error.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych import Component, Item, Request, Settings, hookimpl
from triptych.core.assembly.assembly import shared
from triptych.core.execution.media_stages import MediaStages
from triptych.core.graphs import head_start
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.runs.ablation import Ablation
from triptych.workbench.runs.store import Store

QUESTIONS = ("What is in this picture?", "Which colors does it have?")

SWEEPS = {
    "samplers": """\
matrix: {sampler.temperature: [0.3, 0.7, 1.0], sampler.top_p: [0.8, 0.9, 0.95]}
seeds: [0, 1]
""",
    "parts": """\
include:
  - {name: no_deepstack, replace: {merge: {merge: {deepstack: []}}}}
  - {name: first_layer, replace: {merge: {merge: {deepstack: [0]}}}}
  - {name: norm, insert: {"after mrope": {token_norm: 0.5}}}
  - {name: grid, insert: {"after mrope": {token_grid: 0.5}}}
  - {name: random, insert: {"after mrope": {token_random: 0.5}}}
  - {name: merged, insert: {"after mrope": {token_merge: 0.5}}}
""",
}


@hookimpl
def datasets() -> list[Component]:
    """This file is a plugin, too."""
    return [Component("noise", ":Noise", "questions about pictures of noise")]


class Noise:
    """Pictures that no cache has seen, two questions about each."""

    class Settings(Settings):
        """items: questions. side: of a picture in pixels. seed: of the pictures."""

        items: int
        side: int
        seed: int

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __iter__(self) -> Iterator[Item]:
        given = self.settings
        for index in range(given.items):
            random = np.random.default_rng((given.seed, index // 2))
            picture = random.integers(0, 256, (given.side, given.side, 3), np.uint8)
            request = Request(QUESTIONS[index % 2], images=[picture])
            yield Item(f"{given.seed}-{index}", request, "", f"picture {index // 2}")


@dataclass
class Count:
    """What was done anew."""

    pictures: int = 0
    graphs: int = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Count pictures that are encoded and graphs that are opened inside."""
    count = Count()
    compute, open_alone, open_shared = (
        MediaStages._computed,  # noqa: SLF001 - what is counted is inside
        head_start.open_session,
        shared.open_session,
    )

    def computed(self: Any, wired: Any, media: Any) -> Any:
        count.pictures += len(media)
        return compute(self, wired, media)

    def opened(*given: Any, **options: Any) -> Any:
        count.graphs += 1
        return open_alone(*given, **options)

    MediaStages._computed = computed  # noqa: SLF001 - what is counted is inside
    head_start.open_session = shared.open_session = opened
    try:
        yield count
    finally:
        MediaStages._computed = compute  # noqa: SLF001 - as it was
        head_start.open_session, shared.open_session = open_alone, open_shared


def answers(asked: Ablation) -> tuple[float, Count, dict[tuple[Any, ...], str | None]]:
    """Seconds, what was done, and what was said."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store, counting() as count:
        begin = time.perf_counter()
        asked.run(store, LocalEngine())
        seconds = time.perf_counter() - begin
        runs = store.results().runs
        errors = [run.error for run in runs if run.error]
        if errors:
            raise RuntimeError(errors[0])
    return seconds, count, {(run.arm, run.item, run.seed): run.text for run in runs}


def measured(text: str, options: argparse.Namespace) -> list[str]:
    """One row of the table."""
    whole, alone, counts = [], [], None
    for repeat in range(options.repeats):
        data = f"{{items: {options.items}, side: {options.side}, seed: {repeat}}}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "sweep.yaml"
            file.write_text(
                f"format: 1\nbase: {options.pipeline}\ndata: {{local/noise: {data}}}\n"
                f"metrics: [exact_match]\n{text}",
                encoding="utf-8",
            )
            asked = Ablation.read(file, plugins=[Path(__file__)])
            plans = [
                replace(
                    plan,
                    spec=replace(
                        plan.spec,
                        stop=plan.spec.stop.model_copy(
                            update={"max_new_tokens": options.new_tokens}
                        ),
                    ),
                )
                for plan in asked.plans
            ]
            asked = replace(asked, plans=tuple(plans))
            seconds, together, said = answers(asked)
            whole.append(seconds)
            apart, total, expected = 0.0, Count(), {}
            for plan in plans:
                seconds, count, one = answers(replace(asked, plans=(plan,)))
                apart += seconds
                total.pictures += count.pictures
                total.graphs += count.graphs
                expected |= one
            alone.append(apart)
            if said != expected:
                raise RuntimeError("sharing changed an answer")
            counts = (len(plans), len(said), together, total)
    arms, runs, together, total = counts
    ratio = statistics.median(a / b for a, b in zip(alone, whole, strict=True))
    return [
        str(arms),
        str(runs),
        f"{total.pictures} -> {together.pictures}",
        f"{total.graphs} -> {together.graphs}",
        f"{statistics.median(alone):.1f}",
        f"{statistics.median(whole):.1f}",
        f"{ratio:.2f}",
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time saved by shared prefixes of stages.")
    parser.add_argument("pipeline", nargs="?", default="sketch")
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=SWEEPS, nargs="+", default=list(SWEEPS))
    options = parser.parse_args()
    if options.pipeline != "sketch":
        options.pipeline = str(Path(options.pipeline).absolute())
    print("| sweep | arms | runs | pictures | graphs | unshared s | shared s | times |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only:
        print(f"| {name} | {' | '.join(measured(SWEEPS[name], options))} |", flush=True)


if __name__ == "__main__":
    main()
