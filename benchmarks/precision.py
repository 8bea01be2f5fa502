"""What each precision costs: size, answers, likelihoods and speed of sketch, side by side.

    python benchmarks/precision.py [--checkpoint checkpoints/sketch] [--per-task 100]
                                   [--recipe my.yaml ...] [--json table.json]

Exports the checkpoint once per recipe and asks each export the same held-out questions, greedily.

- size: of the graphs and their weights.
- answers: exact matches per hundred, by task and on the mean of the tasks.
- KL: of the fp32 export's next-token distribution to the other's, in thousandths of a nat per
  token, after the question and each token of fp32's own answer.
- differs at: the first token of an answer that is not fp32's, the median of the answers that part;
  same: the share of answers that never do.
- speed: tokens a second while decoding, as a ratio to fp32 in the same rounds. sketch is so small
  that most of a step is not spent in its products; large models gain far more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from triptych.cli.calibration import calibration_requests
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.ports import Array
from triptych.core.reply import Reply
from triptych.export import export_checkpoint
from triptych.export.precision import PRECISIONS, preset, read_recipe
from triptych.export.verification.tapped import TappedPipeline
from triptych.models.sketch.conversations import TASKS, Example, held_out
from triptych.models.sketch.dataset import request_of
from triptych.models.sketch.exported import Exported

# For contrast: four bits for everything, rounded to nearest.
PLAIN = """
format: 1
default: {precision: int4, block: 32, method: rtn}
"""
# What the preset int4 says, with other methods than its own, which is hqq.
OTHERS = """
format: 1
default: {{precision: int4, block: 32, method: {method}}}
vision: int8
embeddings: int8
head: int8
"""
METHODS = ("rtn", "gptq")

REFERENCE = "fp32"
# Answers whose tokens' likelihoods are compared, of each task.
KL_PER_TASK = 20
SPEED_ROUNDS, SPEED_TOKENS = 12, 64
GRAPHS = ("*.onnx", "*.data*")


@dataclass
class Row:
    """What was measured of one precision. answers: percent by task."""

    name: str
    megabytes: float
    answers: dict[str, float] = field(default_factory=dict)
    kl: float = 0.0
    parts_at: float | None = None
    same: float = 0.0
    speed: float = 1.0

    @property
    def mean(self) -> float:
        """Exact matches in percent, the mean of the tasks."""
        return statistics.mean(self.answers.values())


def main() -> None:
    """The command line."""
    given = arguments()
    questions = {
        task: list(held_out(task, given.per_task, seed=given.seed, side=192)) for task in TASKS
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "int4-plain-rtn.yaml").write_text(PLAIN, encoding="utf-8")
        recipes = [*map(preset, given.precisions), read_recipe(root / "int4-plain-rtn.yaml")]
        for method in METHODS:
            path = root / f"int4-{method}.yaml"
            path.write_text(OTHERS.format(method=method), encoding="utf-8")
            recipes.append(read_recipe(path))
        recipes += [read_recipe(path) for path in given.recipe]
        folders = {}
        for recipe in recipes:
            tell(f"exporting {recipe.name}")
            folders[recipe.name] = export_checkpoint(
                given.checkpoint,
                root / recipe.name,
                recipe=recipe,
                calibration=calibration_requests(given.calibration),
            )
        rows = measured(folders, questions)
    sys.stdout.write(table(rows) + "\n")
    if given.json is not None:
        content = [asdict(row) | {"mean": row.mean} for row in rows]
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description="sketch at every precision")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/sketch"))
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--recipe", type=Path, nargs="*", default=[], help="further recipes")
    parser.add_argument(
        "--calibration", type=Path, help="pictures and texts for gptq (default: drawn scenes)"
    )
    parser.add_argument("--per-task", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    given.precisions = list(dict.fromkeys([REFERENCE, *given.precisions]))
    return given


def measured(folders: Mapping[str, Path], questions: Mapping[str, Sequence[Example]]) -> list[Row]:
    """A row for each export, the reference first."""
    rows = {name: Row(name, megabytes(folder)) for name, folder in folders.items()}
    replies: dict[str, list[Reply]] = {}
    for name, folder in folders.items():
        pipeline = Exported(folder)
        replies[name] = []
        for task, asked in questions.items():
            tell(f"{name} answers {task}")
            said = pipeline.replies(asked)
            replies[name] += said
            right = [reply.text == one.answer for reply, one in zip(said, asked, strict=True)]
            rows[name].answers[task] = 100 * statistics.mean(right)
        pairs = zip(replies[REFERENCE], replies[name], strict=True)
        parted = [first_difference(expected, found) for expected, found in pairs]
        apart = [place for place in parted if place is not None]
        rows[name].parts_at = statistics.median(apart) if apart else None
        rows[name].same = 100 * (1 - len(apart) / len(parted))
    tell("comparing likelihoods")
    every = len(next(iter(questions.values())))
    compared = [
        (one, replies[REFERENCE][index].tokens)
        for index, one in enumerate(one for asked in questions.values() for one in asked)
        if index % every < KL_PER_TASK and replies[REFERENCE][index].tokens
    ]
    expected = list(distributions(folders[REFERENCE], compared))
    for name, folder in folders.items():
        rows[name].kl = 1000 * divergence(expected, distributions(folder, compared))
    tell("timing")
    for name, speed in speeds(folders, questions["describe"][0]).items():
        rows[name].speed = speed
    return list(rows.values())


def megabytes(folder: Path) -> float:
    """The graphs with their weights, in millions of bytes."""
    files = {path for pattern in GRAPHS for path in folder.glob(pattern)}
    return sum(path.stat().st_size for path in files) / 1e6


def first_difference(expected: Reply, found: Reply) -> int | None:
    """The place of the first token that differs, counted from 1; None where none does."""
    pairs = zip(expected.tokens, found.tokens, strict=False)
    for place, (one, other) in enumerate(pairs, start=1):
        if one != other:
            return place
    shorter = min(len(expected.tokens), len(found.tokens))
    return None if len(expected.tokens) == len(found.tokens) else shorter + 1


def distributions(folder: Path, asked: Sequence[tuple[Example, Sequence[int]]]) -> Iterator[Array]:
    """The log-likelihoods f64 [tokens, V] at each token of the given answers."""
    pipeline = TappedPipeline(load_spec(folder, catalog=Catalog()))
    processor = Exported(folder).pipeline.processor
    for question, tokens in asked:
        prompt = processor.prompt(request_of(question))
        sequence = pipeline.sequence()
        sequence.append(prompt.tokens, prompt.media)
        sequence.append(tokens[:-1])
        logits: Array = np.asarray(pipeline.forward(sequence, rows=len(tokens)).logits)
        sequence.close()
        shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
        yield shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def divergence(expected: Sequence[Array], found: Iterator[Array]) -> float:
    """The mean Kullback-Leibler divergence per token, in nats."""
    each = [
        (np.exp(right) * (right - other)).sum(axis=-1)
        for right, other in zip(expected, found, strict=True)
    ]
    return float(np.concatenate(each).mean())


def speeds(folders: Mapping[str, Path], question: Example) -> dict[str, float]:
    """Decoding steps a second, relative to the reference; the exports take turns."""
    pipelines = {name: Exported(folder).pipeline for name, folder in folders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(SPEED_ROUNDS):
        for name, pipeline in pipelines.items():
            reply = pipeline.generate(
                request_of(question), no_sample=True, max_new_tokens=SPEED_TOKENS
            )
            seconds[name].append(reply.timings.decode / max(1, len(reply.tokens)))
    return {
        name: statistics.median(
            base / own for base, own in zip(seconds[REFERENCE], seconds[name], strict=True)
        )
        for name in folders
    }


def table(rows: Sequence[Row]) -> str:
    """Two tables in Markdown: the summary, and the answers by task."""
    lines = [
        "| precision | MB | answers | KL, 1e-3 | differs at | same | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        place = "" if row.parts_at is None else f"{row.parts_at:.0f}"
        lines.append(
            f"| {row.name} | {row.megabytes:.1f} | {row.mean:.1f} % | {row.kl:.2f} | {place} | "
            f"{row.same:.1f} % | {row.speed:.2f} |"
        )
    lines += ["", f"| task | {' | '.join(row.name for row in rows)} |"]
    lines.append("|---|" + "---|" * len(rows))
    for task in rows[0].answers:
        cells = " | ".join(f"{row.answers[task]:.1f}" for row in rows)
        lines.append(f"| {task} | {cells} |")
    return "\n".join(lines)


def tell(doing: str) -> None:
    """Says on stderr what goes on."""
    sys.stderr.write(f"{doing}\n")


if __name__ == "__main__":
    main()
