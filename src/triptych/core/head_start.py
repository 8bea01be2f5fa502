"""A head start: the graphs that a pipeline opened last time are opened beside what reads its file.

Opening graphs is one core's work, done without Python's lock, and Python takes longer than that to
find out which ones they are, and whether they fit. So a start notes what it opened. The next one of
the same file opens that at once, in a thread, and who asks for such a graph is given the session.
Files are read and checked as ever. A note of what is not there any more, or that nobody asks for,
costs time and changes nothing; what fails here fails again, and is told, where it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from triptych.core.dataclass import dataclass
from triptych.core.graph_header import StoredTensor
from triptych.core.graph_store import SUFFIX, GraphStore, version_of
from triptych.core.memory import share_heap
from triptych.core.session import import_runtime, is_large, open_session
from triptych.core.stages import Runtime

NOTES = "starts"
"""The folder of the notes, beside that of optimised graphs."""

THREAD = "head start"
"""The thread that opens what was noted."""

MOST_BYTES = 2**20
"""What all notes may take; one has some 500 bytes."""


@dataclass(frozen=True)
class Opening:
    """A graph, and how it is opened: by the CPU, on the pool of the process."""

    path: str
    weights: tuple[str, ...]
    threads: int | None
    without: tuple[str, ...]

    @classmethod
    def of(
        cls, path: Path, weights: Iterable[str], runtime: Runtime, without: Iterable[str]
    ) -> Opening | None:
        """What is asked for; None where it is not opened ahead.

        Large graphs have their own way to open quickly, and take memory that nobody may want.
        """
        plain = tuple(runtime.providers) == ("cpu",) and runtime.pool == "shared"
        if not (plain and runtime.graph_cache) or is_large(path, weights):
            return None
        return cls(str(path), tuple(sorted(weights)), runtime.threads, tuple(sorted(without)))

    @classmethod
    def noted(cls, path: Any, weights: Any, threads: Any, without: Any) -> Opening:
        """What a note says, which may have been written by anybody. Raises ValueError."""
        names = [weights, without]
        sound = all(
            isinstance(given, list) and all(isinstance(name, str) for name in given)
            for given in names
        )
        counted = threads is None or (type(threads) is int and threads > 0)
        if not (sound and counted and isinstance(path, str)):
            raise ValueError("no note of a graph")
        return cls(path, tuple(weights), threads, tuple(without))

    def files(self) -> Iterator[Path]:
        """The graph and its data files."""
        graph = Path(self.path)
        yield from (graph, *(graph.parent / name for name in self.weights))

    def open(self) -> Any:
        """The session. Raises GraphError and SessionError."""
        return open_session(
            Path(self.path), self.weights, Runtime(threads=self.threads), without=self.without
        )


class HeadStart:
    """The start of a file's pipeline, as a block: opens what the last one noted, and notes its own.

    A start that fails leaves no note.
    """

    current: HeadStart | None = None
    """The one that is under way in this process."""

    def __init__(self, file: Path) -> None:
        self._file = file.absolute()
        usual = GraphStore.usual()
        self._notes = usual and GraphStore(usual.folder.with_name(NOTES), MOST_BYTES)
        self._known: tuple[Opening, ...] = ()
        self._asked: list[Opening] = []
        self._may_note = True
        self._ready: dict[Opening, threading.Event] = {}
        self._sessions: dict[Opening, Any] = {}

    def __enter__(self) -> Self:
        self._known = self._read()
        if self._known:
            self._begin()
        HeadStart.current = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        HeadStart.current = None
        self._sessions.clear()
        asked = tuple(dict.fromkeys(self._asked)) if self._may_note else ()
        if error is None and set(asked) != set(self._known):
            self._write(asked)

    def _begin(self) -> None:
        # Not in the thread: it would wait for Python's lock.
        import_runtime()
        share_heap()
        self._ready = {opening: threading.Event() for opening in self._known}
        threading.Thread(target=self._open, name=THREAD, daemon=True).start()

    def refuse(self) -> None:
        """Leave no note, for a graph that wants a pool of its own.

        What is opened ahead makes that of the process, after which there are no others.
        """
        self._may_note = False

    def take(self, opening: Opening) -> Any:
        """The session that was opened ahead; None if there is none."""
        self._asked.append(opening)
        ready = self._ready.get(opening)
        if ready is None:
            return None
        ready.wait()
        return self._sessions.pop(opening, None)

    def _open(self) -> None:
        for opening in self._known:
            # What fails is told where it is asked for.
            with suppress(Exception):
                self._sessions[opening] = opening.open()
            self._ready[opening].set()

    def _place(self, notes: GraphStore) -> Path:
        name = hashlib.sha256(str(self._file).encode()).hexdigest()
        return notes.folder / f"{name}{SUFFIX}"

    def _read(self) -> tuple[Opening, ...]:
        """What the note says, if the file and the graphs are those it was written of."""
        content = self._notes and self._notes.read(self._place(self._notes))
        if not content:
            return ()
        try:
            note = json.loads(content)
            known = tuple(Opening.noted(**one) for one in note["graphs"])
            return known if note["files"] == self._states(known) else ()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ()

    def _states(self, openings: Iterable[Opening]) -> list[list[int]]:
        """What tells a version of the file, and of each graph with its data, from another one."""
        files = (self._file, *(file for one in openings for file in one.files()))
        return [version_of(file.stat()) for file in files]

    def _write(self, asked: tuple[Opening, ...]) -> None:
        if self._notes is None:
            return
        made = self._notes.temporary()
        if made is None:
            return
        with suppress(OSError):
            note = {"files": self._states(asked), "graphs": [asdict(one) for one in asked]}
            made.write_text(json.dumps(note), encoding="utf-8")
            self._notes.keep(made, self._place(self._notes))
        with suppress(OSError):
            made.unlink(missing_ok=True)


def open_graph(
    path: Path,
    weights: Collection[str],
    runtime: Runtime,
    *,
    stored: Iterable[StoredTensor] = (),
    without: Collection[str] = (),
) -> Any:
    """`open_session`, or the session that a head start has opened so."""
    start = HeadStart.current
    if start is not None:
        if runtime.pool == "own":
            start.refuse()
        opening = Opening.of(path, weights, runtime, without)
        early = None if opening is None else start.take(opening)
        if early is not None:
            return early
    return open_session(path, weights, runtime, stored=stored, without=without)
