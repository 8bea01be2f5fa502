"""A head start: the graphs that a pipeline opened last time are opened beside what reads its file.

Opening graphs is one core's work, done without Python's lock, and Python takes longer than that to
find out which ones they are, and whether they fit. So a start notes what it opened. The next one of
the same file opens that at once, in a thread, and who asks for such a graph is given the session.
Files are read and checked as ever. A note of what is not there any more, or that nobody asks for,
costs time and changes nothing; what fails here fails again, and is told, where it is asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from triptych.core.dataclass import dataclass
from triptych.core.graphs.files import GraphFiles
from triptych.core.graphs.session import import_runtime, open_session
from triptych.core.stages import Runtime
from triptych.core.system.kept_files import KeptFiles, version_of
from triptych.core.system.memory import share_heap

KIND = "starts"
"""What the notes are among the files that are kept."""

THREAD = "head start"
"""The thread that opens what was noted."""

MOST_BYTES = 2**20
"""What all notes may take; one has some 500 bytes."""


@dataclass(frozen=True)
class Opening:
    """A graph, and how it is opened: by the CPU, on the pool of the process."""

    path: str
    data: tuple[str, ...]
    threads: int | None
    without: tuple[str, ...]

    @classmethod
    def of(cls, files: GraphFiles, runtime: Runtime, without: Iterable[str]) -> Opening | None:
        """What is asked for; None where it is not opened ahead.

        Large graphs have their own way to open quickly, and take memory that nobody may want.
        """
        plain = tuple(runtime.providers) == ("cpu",) and runtime.pool == "shared"
        if not (plain and runtime.graph_cache) or files.is_large():
            return None
        return cls(str(files.graph), files.data, runtime.threads, tuple(sorted(without)))

    @classmethod
    def noted(cls, path: Any, data: Any, threads: Any, without: Any) -> Opening:
        """What a note says, which may have been written by anybody. Raises ValueError."""
        names = [data, without]
        sound = all(
            isinstance(given, list) and all(isinstance(name, str) for name in given)
            for given in names
        )
        counted = threads is None or (type(threads) is int and threads > 0)
        if not (sound and counted and isinstance(path, str)):
            raise ValueError("no note of a graph")
        return cls(path, tuple(data), threads, tuple(without))

    @property
    def files(self) -> GraphFiles:
        """The graph and its data files."""
        return GraphFiles(Path(self.path), self.data)

    def open(self) -> Any:
        """The session. Raises GraphError and SessionError."""
        return open_session(self.files, Runtime(threads=self.threads), without=self.without)


class HeadStart:
    """What the last start of a file noted, being opened, and what this one asks for."""

    current: HeadStart | None = None
    """The one that is under way in this process."""

    def __init__(self, known: Collection[Opening]) -> None:
        """Begin to open what is known."""
        self.known = known
        self.asked: list[Opening] = []
        self._may_note = True
        self._ready = {opening: threading.Event() for opening in known}
        self._sessions: dict[Opening, Any] = {}
        if known:
            # Not in the thread: it would wait for Python's lock.
            import_runtime()
            share_heap()
            threading.Thread(target=self._open, name=THREAD, daemon=True).start()

    def refuse(self) -> None:
        """Leave no note, for a graph that wants a pool of its own.

        What is opened ahead makes that of the process, after which there are no others.
        """
        self._may_note = False

    def take(self, opening: Opening) -> Any:
        """The session that was opened ahead; None if there is none."""
        self.asked.append(opening)
        ready = self._ready.get(opening)
        if ready is None:
            return None
        ready.wait()
        return self._sessions.pop(opening, None)

    def to_note(self) -> tuple[Opening, ...]:
        """What the next start is to open ahead."""
        return tuple(dict.fromkeys(self.asked)) if self._may_note else ()

    def end(self) -> None:
        """Let go of what nobody has asked for."""
        self._sessions.clear()

    def _open(self) -> None:
        for opening in self.known:
            # What fails is told where it is asked for.
            with suppress(Exception):
                self._sessions[opening] = opening.open()
            self._ready[opening].set()


@contextmanager
def head_start(file: Path) -> Iterator[None]:
    """Open beside the block, which starts a file's pipeline, what the last one noted.

    What this one opened is noted then; a start that fails leaves no note.
    """
    kept = KeptFiles.usual(KIND, MOST_BYTES)
    note = None if kept is None else _Note(file.absolute(), kept)
    start = HeadStart.current = HeadStart(() if note is None else note.read())
    try:
        yield
    finally:
        HeadStart.current = None
        start.end()
    if note is not None and set(start.to_note()) != set(start.known):
        note.write(start.to_note())


class _Note:
    """What the starts of one file have opened."""

    def __init__(self, file: Path, kept: KeptFiles) -> None:
        self._file = file
        self._kept = kept.of(str(file).encode())

    def read(self) -> tuple[Opening, ...]:
        """What it says, if the file and the graphs are those it was written of."""
        content = self._kept.read()
        if not content:
            return ()
        try:
            note = json.loads(content)
            known = tuple(Opening.noted(**one) for one in note["graphs"])
            return known if note["files"] == self._versions(known) else ()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ()

    def write(self, opened: Collection[Opening]) -> None:
        """Note this from now on."""
        with suppress(OSError):
            note = {"files": self._versions(opened), "graphs": [asdict(one) for one in opened]}
            self._kept.write(json.dumps(note).encode())

    def _versions(self, openings: Iterable[Opening]) -> list[list[int]]:
        """What tells a version of the file, and of each graph with its data, from another one."""
        files = (self._file, *(file for one in openings for file in one.files.all()))
        return [version_of(file.stat()) for file in files]


def open_graph(files: GraphFiles, runtime: Runtime, *, without: Collection[str] = ()) -> Any:
    """`open_session`, or the session that a head start has opened so."""
    start = HeadStart.current
    if start is not None:
        if runtime.pool == "own":
            start.refuse()
        opening = Opening.of(files, runtime, without)
        early = None if opening is None else start.take(opening)
        if early is not None:
            return early
    return open_session(files, runtime, without=without)
