"""The tables of an ablation as files: what is always the same, what was measured, and all of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from triptych.core.system.whole_file import whole
from triptych.workbench.extra import workbench_extra
from triptych.workbench.runs.store import Store

RESULTS = (
    "arm",
    "item",
    "task",
    "cluster",
    "seed",
    "repeat",
    "run_seed",
    "text",
    "finish_reason",
    "error",
    "prompt_tokens",
    "image_tokens",
    "completion_tokens",
)
"""Columns that are the same on every run of a sweep on one machine; scores of quality follow."""

TIMINGS = (
    "arm",
    "item",
    "seed",
    "repeat",
    "load",
    "vision",
    "prefill",
    "decode",
    "wall",
    "cached_tokens",
    "session",
)
"""Columns that are not: seconds, what was reused; scores of times and memory follow."""

_DIGITS = ".6g"
"""How scores are written: likelihoods agree to the last digit only where the batches were alike."""


def write_all(store: Store, folder: Path) -> None:
    """Every file that an ablation leaves beside its database. Raises MissingExtra."""
    write_results(store, folder / "results.csv")
    write_timings(store, folder / "timings.csv")
    write_parquet(store, folder / "results.parquet")


def write_results(store: Store, file: Path) -> None:
    """The deterministic columns as CSV, sorted: byte for byte the same however often it stopped."""
    kinds = [kind.name for kind in store.score_kinds if kind.measures == "quality"]
    rows = (_results_row(row, kinds) for row in store.rows())
    _write_csv(file, [*RESULTS, *kinds], rows)


def write_timings(store: Store, file: Path) -> None:
    """Seconds, bytes and what else differs from run to run, as CSV. Copies have none."""
    kinds = [kind.name for kind in store.score_kinds if kind.measures != "quality"]
    rows = (
        [row[name] for name in TIMINGS] + [row["scores"].get(name) for name in kinds]
        for row in store.rows()
        if row["copy_of"] is None
    )
    _write_csv(file, [*TIMINGS, *kinds], rows)


def write_parquet(store: Store, file: Path) -> None:
    """Every column of every run, a column for each score. Raises MissingExtra."""
    with workbench_extra("a Parquet file needs"):
        import pyarrow as pa
        from pyarrow import parquet
    kinds = [kind.name for kind in store.score_kinds]
    rows = []
    for row in store.rows():
        scores = row.pop("scores")
        rows.append({**row, **{name: scores.get(name) for name in kinds}})
    table = pa.Table.from_pylist(rows)
    with whole(file) as part:
        parquet.write_table(table, part)


def _results_row(row: dict[str, Any], kinds: Sequence[str]) -> list[Any]:
    row["completion_tokens"] = row["tokens"].count(",") + (row["tokens"] != "[]")
    scores = [row["scores"].get(name) for name in kinds]
    written = ["" if score is None else format(score, _DIGITS) for score in scores]
    return [row[name] for name in RESULTS] + written


def _write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with whole(file) as part, part.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
