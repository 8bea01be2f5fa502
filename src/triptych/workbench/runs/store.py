"""The database of an ablation: what was asked, what came back, and what is still missing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from triptych.core.errors import TriptychError
from triptych.workbench.results import Arm, Question, Results, Run, ScoreKind
from triptych.workbench.runs.schema import TABLES, VERSION
from triptych.workbench.runs.task import Outcome, Score

FILE = "runs.sqlite"

_PATIENCE = 30.0
"""Seconds to wait for somebody who reads the database meanwhile."""


class StoreError(TriptychError):
    """A database that cannot be used, or that belongs to another ablation."""


class Cell(NamedTuple):
    """The place of one run."""

    arm: str
    item: str
    seed: int
    repeat: int


class Store:
    """``DIR/runs.sqlite``.

    What one call writes is there whole or not at all, whatever ends the process, so that a killed
    ablation loses what was in flight and nothing more.
    """

    def __init__(self, folder: Path) -> None:
        """Open the database in `folder`, made if it is not there. Raises StoreError."""
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            with self._transaction():
                # Only now, so that of two processes one makes the tables.
                found = self._value("PRAGMA user_version")
                if found == 0:
                    if self._value("SELECT count(*) FROM sqlite_schema"):
                        raise StoreError(
                            f"{self.path} has tables that are not an ablation's; name another --out"
                        )
                    for statement in TABLES.split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be used: {error}; name another --out") from error
        if found not in (0, VERSION):
            raise StoreError(
                f"{self.path} is of version {found}, and this Triptych writes {VERSION}; name "
                "another --out"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    @property
    def about(self) -> dict[str, str]:
        """What was noted of the whole, by name."""
        return dict(self._db.execute("SELECT name, value FROM about"))

    def note(self, about: Mapping[str, str]) -> None:
        """Keep what there is to say of the whole."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, in the order of the sweep."""
        rows = self._db.execute("SELECT name, changes, config, digests FROM arms ORDER BY position")
        return tuple(
            Arm(name, json.loads(changes), config, json.loads(digests))
            for name, changes, config, digests in rows
        )

    def begin(self, arms: Sequence[Arm], about: Mapping[str, str]) -> None:
        """Write down what is going to be run; once for each database."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
            self._db.executemany(
                "INSERT INTO arms VALUES (?, ?, ?, ?, ?)",
                [
                    (arm.name, position, _json(arm.changes), arm.config, _json(arm.digests))
                    for position, arm in enumerate(arms)
                ],
            )

    def begin_session(self, engine: str, versions: object, machine: object) -> int:
        """Note that somebody runs it now, where and with what; the session's number."""
        with self._transaction():
            added = self._db.execute(
                "INSERT INTO sessions (began, engine, versions, machine) VALUES (?, ?, ?, ?)",
                (
                    datetime.now(UTC).isoformat("T", "seconds"),
                    engine,
                    *map(_json, (versions, machine)),
                ),
            )
        return int(added.lastrowid or 0)

    @property
    def questions(self) -> tuple[Question, ...]:
        """All items, in the order of the data."""
        images: dict[str, list[bytes]] = {}
        for item, content in self._db.execute("SELECT item, content FROM images ORDER BY position"):
            images.setdefault(item, []).append(content)
        rows = self._db.execute(
            "SELECT id, question, reference, task, cluster FROM items ORDER BY position"
        )
        return tuple(
            Question(name, text, json.loads(reference), task, cluster, tuple(images.get(name, ())))
            for name, text, reference, task, cluster in rows
        )

    def question(self, position: int) -> Question | None:
        """The item at a place in the data, without its pictures; None beyond the last."""
        row = self._db.execute(
            "SELECT id, question, reference, task, cluster FROM items WHERE position = ?",
            (position,),
        ).fetchone()
        if row is None:
            return None
        return Question(row[0], row[1], json.loads(row[2]), row[3], row[4])

    def add_questions(self, questions: Iterable[tuple[int, Question]]) -> None:
        """Keep items at their places. Raises StoreError for two of one name."""
        with self._transaction():
            for position, one in questions:
                added = self._db.execute(
                    "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?)",
                    (one.id, position, one.question, _json(one.reference), one.task, one.cluster),
                )
                if not added.rowcount:
                    raise StoreError(
                        f"two items of the data have the id {one.id!r}; give each its own"
                    )
                self._db.executemany(
                    "INSERT INTO images VALUES (?, ?, ?)",
                    [(one.id, index, content) for index, content in enumerate(one.images)],
                )

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self._value(f"SELECT count(*) FROM {table}"))  # noqa: S608 - names of ours

    def done(self, item: str) -> set[Cell]:
        """The runs of an item that are there."""
        rows = self._db.execute("SELECT arm, item, seed, repeat FROM runs WHERE item = ?", (item,))
        return {Cell(*row) for row in rows}

    def tokens(self, cell: Cell) -> tuple[int, ...] | None:
        """What was said, as tokens; None where there is no answer yet, and none will come."""
        row = self._db.execute(
            "SELECT tokens FROM runs WHERE arm = ? AND item = ? AND seed = ? AND repeat = ? "
            "AND text IS NOT NULL",
            cell,
        ).fetchone()
        return None if row is None else tuple(json.loads(row[0]))

    def add(self, outcome: Outcome, session: int, copies: Collection[Cell] = ()) -> int:
        """Keep what came of a task. copies: others for which it is the answer as well.

        Returns how many runs were new; one that is there already stays as it is.
        """
        own = Cell(outcome.arm, outcome.item, outcome.seed, outcome.repeat)
        with self._transaction():
            for score in outcome.scores:
                self._keep_kind(score)
            scores = {self._name_of(score.kind): score.value for score in outcome.scores}
            first = self._add_run(own, outcome, scores, session, None)
            added = [first]
            added += [self._add_run(cell, outcome, scores, session, first) for cell in copies]
        return len([one for one in added if one is not None])

    def _add_run(
        self,
        cell: Cell,
        outcome: Outcome,
        scores: Mapping[str, float],
        session: int,
        copy_of: int | None,
    ) -> int | None:
        values = {
            **cell._asdict(),
            "run_seed": outcome.run_seed,
            "session": session,
            "copy_of": copy_of,
            "text": outcome.text,
            "tokens": _json(outcome.tokens),
            **{name: getattr(outcome, name) for name in _COLUMNS},
        }
        marks = ", ".join("?" * len(values))
        added = self._db.execute(
            f"INSERT OR IGNORE INTO runs ({', '.join(values)}) VALUES ({marks})",  # noqa: S608
            tuple(values.values()),
        )
        if not added.rowcount:
            return None
        self._db.executemany(
            "INSERT INTO scores VALUES (?, ?, ?)",
            [(added.lastrowid, name, value) for name, value in scores.items()],
        )
        return added.lastrowid

    def _keep_kind(self, score: Score) -> None:
        """Have a name for a score: the metric's own, or ``METRIC.NAME`` where others have that.

        In the end names are the same, whichever metric gave its scores first.
        """
        kind = score.kind
        if self._name_of(kind):
            return
        others = self._db.execute(
            "SELECT name, metric FROM score_kinds "
            "WHERE metric <> ? AND name IN (?, metric || '.' || ?)",
            (kind.metric, kind.name, kind.name),
        ).fetchall()
        for name, metric in others:
            if name == kind.name:
                self._rename(name, f"{metric}.{name}")
        self._db.execute(
            "INSERT INTO score_kinds VALUES (?, ?, ?, ?, ?)",
            (
                f"{kind.metric}.{kind.name}" if others else kind.name,
                score.place,
                kind.metric,
                kind.measures,
                kind.lower_is_better,
            ),
        )

    def _name_of(self, kind: ScoreKind) -> str:
        """What a metric's score is called here; empty where it is new."""
        row = self._db.execute(
            "SELECT name FROM score_kinds WHERE metric = ? AND name IN (?, ?)",
            (kind.metric, kind.name, f"{kind.metric}.{kind.name}"),
        ).fetchone()
        return "" if row is None else str(row[0])

    def _rename(self, old: str, new: str) -> None:
        """Call a score otherwise, in all runs."""
        self._db.execute(
            "INSERT INTO score_kinds SELECT ?, position, metric, measures, lower_is_better "
            "FROM score_kinds WHERE name = ?",
            (new, old),
        )
        self._db.execute("UPDATE scores SET name = ? WHERE name = ?", (new, old))
        self._db.execute("DELETE FROM score_kinds WHERE name = ?", (old,))

    @property
    def score_kinds(self) -> tuple[ScoreKind, ...]:
        """The scores that metrics have given so far."""
        rows = self._db.execute(
            "SELECT name, metric, measures, lower_is_better FROM score_kinds ORDER BY position"
        )
        return tuple(
            ScoreKind(name, metric, measures, bool(lower)) for name, metric, measures, lower in rows
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every run as a mapping of columns, with `scores`, `task` and `cluster` of its item.

        In the order of the arms, the data, the seeds and the repeats.
        """
        scores: dict[int, dict[str, float]] = {}
        for run, name, value in self._db.execute("SELECT run, name, value FROM scores"):
            scores.setdefault(run, {})[name] = value
        found = self._db.execute(
            "SELECT runs.*, items.task, items.cluster FROM runs "
            "JOIN arms ON arms.name = runs.arm JOIN items ON items.id = runs.item "
            "ORDER BY arms.position, items.position, seed, repeat"
        )
        names = [column[0] for column in found.description]
        for row in found:
            columns = dict(zip(names, row, strict=True))
            yield {**columns, "scores": scores.get(columns["id"], {})}

    def results(self) -> Results:
        """The whole ablation, complete or so far."""
        runs = tuple(
            Run(
                row["arm"],
                row["item"],
                row["seed"],
                row["repeat"],
                row["text"],
                row["error"],
                row["scores"],
            )
            for row in self.rows()
        )
        about = {name: value for name, value in self.about.items() if not name.startswith("_")}
        return Results(self.arms, self.score_kinds, self.questions, runs, {**about, **self._where})

    @property
    def _where(self) -> dict[str, str]:
        """With what and on which machines runs were made, and when that began."""
        rows = self._db.execute("SELECT began, engine, versions, machine FROM sessions ORDER BY id")
        sessions = [
            (began, engine, json.loads(versions), json.loads(machine))
            for began, engine, versions, machine in rows
        ]
        if not sessions:
            return {}

        def each(texts: Iterable[str]) -> str:
            return "; ".join(dict.fromkeys(texts))

        return {
            "engine": each(engine for _, engine, _, _ in sessions),
            "machine": each(
                f"{machine['processor'] or machine['architecture']}, {machine['threads']} threads, "
                f"{machine['memory'] / 2**30:.0f} GiB, {machine['system'].partition('-')[0]}"
                for _, _, _, machine in sessions
            ),
            "versions": each(
                ", ".join(f"{name} {version}" for name, version in versions.items())
                for _, _, versions, _ in sessions
            ),
            "begun": sessions[0][0],
            "sessions": str(len(sessions)),
        }

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, nobody else runs the same ablation. Raises StoreError where somebody does."""
        try:
            import fcntl
        except ImportError:  # Where there is none, two that run the same lose time, and no more.
            yield
            return
        with self.path.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(
                    f"{self.path} is being filled by another process; wait for its end, or name "
                    "another --out"
                ) from error
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is done inside, or nothing. Raises StoreError where there is no room."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            # SQLite has ended it by itself where the disk was full.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(
                    f"{self.path} cannot be written: {error}; mend that, and the same command "
                    "goes on"
                ) from error
            raise

    def _value(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]


_COLUMNS = (
    "finish_reason",
    "error",
    "prompt_tokens",
    "image_tokens",
    "cached_tokens",
    "load",
    "vision",
    "prefill",
    "decode",
    "wall",
)
"""The columns of a run that an outcome has under the same name."""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
