"""Train sketch: `python -m triptych.models.sketch.train --out DIR --steps N` (or --minutes M)."""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path

import torch
from torch.multiprocessing.spawn import spawn

from triptych.models.sketch.parallel import SHARDS, Team
from triptych.models.sketch.trainer import Options, Trainer


def _process(rank: int, options: Options, meeting: Path) -> None:
    # A process dies with its parent by this signal, which a shell's background jobs ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    team = Team(rank, options.processes, meeting)
    Trainer(options, team).run()
    team.leave()


def train(options: Options) -> None:
    """Run a training in processes of its own, and wait for its end."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_process, (options, Path(folder) / "meeting"), nprocs=options.processes)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train sketch.")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, state, result")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="optimizer steps; repeats a run")
    length.add_argument("--minutes", type=float, help="time budget; ends on time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/state.pt")
    parser.add_argument(
        "--rewind", type=float, help="with --resume: back to the learning rates of this progress"
    )
    parser.add_argument(
        "--processes", type=int, default=SHARDS, choices=range(1, SHARDS + 1),
        help="processes of one thread each that share a step",
    )  # fmt: skip
    parser.add_argument("--float32", action="store_true", help="no bfloat16 while training")
    given = parser.parse_args(arguments)
    train(
        Options(
            given.out,
            given.steps,
            given.minutes,
            given.seed,
            given.resume,
            given.rewind,
            given.processes,
            bfloat16=not given.float32,
        )
    )


if __name__ == "__main__":
    main()
