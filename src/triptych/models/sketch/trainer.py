"""One training run: its state, its steps, its log and what it leaves behind."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from triptych.models.sketch.architecture import VOCABULARY, build_model
from triptych.models.sketch.batches import training_batch
from triptych.models.sketch.checkpoint import save_checkpoint
from triptych.models.sketch.forward import AuxiliaryHeads, losses
from triptych.models.sketch.optimizer import Optimizers
from triptych.models.sketch.parallel import SHARDS, Team
from triptych.models.sketch.schedule import Schedule, auxiliary_weight, phase_at
from triptych.models.sketch.teacher_forced import answer_accuracy, held_out_batches
from triptych.models.sketch.tokenizer import train_tokenizer

REPORT_SECONDS = 30.0
TEST_SECONDS = 300.0
SAVE_SECONDS = 300.0


@dataclass(frozen=True)
class Options:
    """What a run depends on. Either steps or minutes is None."""

    out: Path
    steps: int | None
    minutes: float | None
    seed: int = 0
    resume: bool = False
    rewind: float | None = None
    """On resuming, rates go back to those of this progress and fall from there again."""
    processes: int = SHARDS
    bfloat16: bool = True
    conversations: int = 24
    """Conversations per step, all shards together."""


@dataclass
class Sums:
    """What happened since the last line of the log."""

    since: float
    steps: int = 0
    answers: float = 0.0
    auxiliary: float = 0.0


class Trainer:
    """A run, in one of the processes of its team.

    `out` gets log.txt, state.pt (resumes the run), run.json (repeats it) and checkpoint/.
    """

    def __init__(self, options: Options, team: Team) -> None:
        self.options, self.team = options, team
        options.out.mkdir(parents=True, exist_ok=True)
        self.state_path = options.out / "state.pt"
        state: dict[str, Any] | None = None
        if options.resume:
            state = torch.load(self.state_path, weights_only=True)
        self.tokenizer = (
            Tokenizer.from_str(state["tokenizer"]) if state else train_tokenizer(VOCABULARY)
        )
        self.model = build_model(options.seed, VOCABULARY)
        self.model.set_attn_implementation("eager")
        config: Any = self.model.config
        self.heads = AuxiliaryHeads(
            config.vision_config.hidden_size, config.text_config.hidden_size, self.tokenizer
        )
        self.optimizers = Optimizers(self.model, self.heads, team)
        self.schedule = Schedule(options.steps, options.minutes)
        self.step, self.begun = 0, 0.0
        if state:
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
            self.optimizers.load(state["optimizers"])
            self.step, self.schedule.spent = state["step"], state["seconds"]

    def run(self) -> None:
        """Train to the end of the schedule; then write the checkpoint and the record."""
        self.schedule.start()
        self.sums = Sums(time.monotonic())
        tested = saved = time.monotonic()
        progress = self.begun = self.schedule.progress(self.step)
        self.say(f"start at step {self.step}, seed {self.options.seed}, {self.team.size} processes")
        while progress < 1:
            save_now = time.monotonic() - saved > SAVE_SECONDS
            progress, save_now = self.train_step(progress, save_now=save_now)
            if time.monotonic() - self.sums.since > REPORT_SECONDS:
                self.report(progress)
            if self.team.rank == 0 and time.monotonic() - tested > TEST_SECONDS:
                shares = answer_accuracy(self.model, held_out_batches(self.tokenizer))
                mean = sum(shares.values()) / len(shares)
                by_task = " ".join(f"{task} {share:.0%}" for task, share in shares.items())
                self.say(f"test {mean:.0%} {by_task}")
                tested = time.monotonic()
            if save_now:
                self.save()
                saved = time.monotonic()
        self.save()
        if self.team.rank == 0:
            save_checkpoint(self.model, self.tokenizer, self.options.out / "checkpoint")
            self.record()
        self.say(f"done: {self.step} steps, {self.schedule.elapsed() / 60:.1f} minutes")

    def train_step(self, progress: float, *, save_now: bool) -> tuple[float, bool]:
        """One step of all processes; gives the progress after it, and whether to save.

        Clocks differ, so rank 0 decides both; the numbers travel with the gradients.
        """
        options = self.options
        phase = phase_at(progress)
        numbers = [0.0, 0.0, 0.0, 0.0]
        for shard in self.team.shards:
            batch = training_batch(
                self.tokenizer, options.seed, self.step, shard,
                count=options.conversations // SHARDS, phase=phase,
            )  # fmt: skip
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
                answers, auxiliary = losses(self.model, self.heads, batch)
            ((answers + auxiliary_weight(progress) * auxiliary) / SHARDS).backward()
            numbers[0] += answers.item() / SHARDS
            numbers[1] += auxiliary.item() / SHARDS
        if self.team.rank == 0:
            numbers[2], numbers[3] = self.schedule.progress(self.step + 1), float(save_now)
        numbers = self.team.sum_gradients(self.optimizers.parameters, numbers)
        self.optimizers.step(self.step, self.rewound(progress))
        self.step += 1
        self.sums.steps += 1
        self.sums.answers += numbers[0]
        self.sums.auxiliary += numbers[1]
        return numbers[2], bool(numbers[3])

    def rewound(self, progress: float) -> float:
        """The progress that learning rates go by."""
        if self.options.rewind is None:
            return progress
        left = (1 - progress) / (1 - self.begun)
        return 1 - (1 - self.options.rewind) * left

    def report(self, progress: float) -> None:
        """A line of the log: losses, speed and the time left."""
        now, sums = time.monotonic(), self.sums
        left = self.schedule.elapsed() * (1 - progress) / max(progress, 1e-6) / 60
        self.say(
            f"step {self.step} {progress:6.1%} side {phase_at(progress).side} "
            f"answers {sums.answers / sums.steps:.4f} "
            f"auxiliary {sums.auxiliary / sums.steps:.4f} "
            f"{(now - sums.since) / sums.steps:.2f} s/step, {left:.0f} min left"
        )
        self.sums = Sums(now)

    def save(self) -> None:
        """Write what resumes the run, whole or not at all; every process must call this."""
        of_optimizers = self.optimizers.state()
        if self.team.rank != 0:
            return
        content = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": of_optimizers,
            "tokenizer": self.tokenizer.to_str(),
            "step": self.step,
            "seconds": self.schedule.elapsed(),
        }
        partial = self.state_path.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(self.state_path)

    def record(self) -> None:
        """Write run.json: the options, and the number of steps that repeats the run."""
        content = asdict(self.options) | {
            "out": str(self.options.out),
            "steps_done": self.step,
            "seconds": round(self.schedule.elapsed()),
            "torch": torch.__version__,
        }
        (self.options.out / "run.json").write_text(json.dumps(content, indent=2) + "\n")

    def say(self, text: str) -> None:
        """Log a line, here and in log.txt; only rank 0 speaks."""
        if self.team.rank == 0:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            with (self.options.out / "log.txt").open("a") as log:
                log.write(text + "\n")
