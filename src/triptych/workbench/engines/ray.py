"""The engine on a Ray cluster, from one laptop on: an actor pool of Ray Data.

Tasks go out in blocks, one row of a dataset each, and a block of results comes back as one row.
Ray Data has no source that is fed while it runs, so a single read task asks an actor of ours for
one block after the other; the driver gives that actor another block when there is room. A worker
that dies is started anew, and the blocks that it had are computed again: since a block's results
are one row, what a dead worker had given is whole or not there.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from triptych.core.errors import TriptychError
from triptych.core.graphs.thread_pool import THREADS
from triptych.workbench.engines.engine import AnyResult, AnyTask, Recipe
from triptych.workbench.engines.in_progress import FARTHEST
from triptych.workbench.extra import MissingExtra

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names a cluster, as Ray has it; without it, one is started here."""

LARGEST_BLOCK = 32
"""Tasks of a block; the first ones are smaller, so that all workers have some soon."""
_FIRST_BLOCK = 4
_BLOCK_BYTES = 16 * 2**20
"""Bytes from which on a block takes no more tasks."""
_AHEAD = 2
"""Blocks for each worker that are on their way: one that it answers, one that waits."""
_TRIES = 3
"""Workers that a block may end before it is given to no other."""
_PATIENCE = 10.0
"""Seconds in which a cluster takes a connection."""
_STORE_BYTES = 256 * 2**20
"""Of a cluster that is started here: tasks and results pass through this memory."""


class EngineError(TriptychError):
    """Ray, or a worker on it, failed in a way that no other worker can mend."""

    exit_code = 1


@dataclass
class RayEngine:
    """Answers tasks with the workers of a cluster; see `Engine`.

    workers: how many there are, each with models of its own; None: one on each machine.
    Raises MissingExtra where Ray is not installed.
    """

    workers: int | None = None
    elsewhere: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _ray()

    def run(
        self, recipe: Recipe[AnyTask, AnyResult], tasks: Iterable[AnyTask]
    ) -> Generator[AnyResult, None, None]:
        """See `Engine.run`. Raises EngineError, and what opening a worker raised."""
        with cluster() as machines:
            workers = self.workers or max(1, len(machines))
            flow = _Flow(iter(tasks), ahead=_AHEAD * workers)
            yield from flow.answers(recipe, workers, max(1, sum(machines) // workers))


@dataclass
class _Flow:
    """Tasks on their way out, and results on their way back.

    ahead: how many blocks are on their way at most.
    """

    tasks: Iterator[Any]
    ahead: int
    drawn: int = 0
    more: bool = True
    blocks: int = 0
    pending: dict[int, int] = field(default_factory=dict)
    """By the number of each block that is on its way, how many tasks were drawn before it."""

    def answers(
        self, recipe: Recipe[Any, AnyResult], workers: int, cpus: int
    ) -> Generator[AnyResult, None, None]:
        ray = _ray()
        feed = ray.remote(_Feed).options(num_cpus=0, max_concurrency=1000).remote()
        try:
            rows = _rows(feed, recipe, workers, cpus)
            self._fill(feed)
            while self.pending:
                number, results = _next(rows)
                if self.pending.pop(number, None) is not None:
                    ray.get(feed.forget.remote(number))
                    yield from results
                    self._fill(feed)
        finally:
            rows.close()
            ray.kill(feed)

    def _fill(self, feed: Any) -> None:
        """Send blocks as long as there is room, and say when there are no more."""
        ray = _ray()
        while self._has_room():
            first = self.drawn
            block = self._block()
            if block:
                self.pending[self.blocks] = first
                ray.get(feed.add.remote(self.blocks, block))
                self.blocks += 1
            if not self.more:
                ray.get(feed.end.remote(self.blocks))

    def _has_room(self) -> bool:
        oldest = min(self.pending.values(), default=self.drawn)
        near = self.drawn - oldest < FARTHEST
        return self.more and len(self.pending) < self.ahead and near

    def _block(self) -> list[bytes]:
        """The next tasks, pickled; fewer than asked for at the end, or where they are large."""
        block: list[bytes] = []
        size = 0
        most = min(LARGEST_BLOCK, _FIRST_BLOCK + self.drawn // _FIRST_BLOCK)
        while len(block) < most and size < _BLOCK_BYTES:
            try:
                task = next(self.tasks)
            except StopIteration:
                self.more = False
                break
            block.append(_pickled(task))
            size += len(block[-1])
            self.drawn += 1
        return block


class _Feed:
    """An actor that keeps the blocks until they are answered; a block may be asked for again."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[bytes]] = {}
        self._begun: dict[int, int] = {}
        self._count = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def add(self, number: int, block: list[bytes]) -> None:
        """Another block."""
        async with self._changed:
            self._blocks[number] = block
            self._count = number + 1
            self._changed.notify_all()

    async def end(self, count: int) -> None:
        """There are no more than these."""
        async with self._changed:
            self._count = count
            self._ended = True
            self._changed.notify_all()

    async def forget(self, number: int) -> None:
        """A block has been answered."""
        self._blocks.pop(number, None)
        self._begun.pop(number, None)

    async def begun(self, number: int) -> int:
        """A worker begins with a block; how often that has happened."""
        self._begun[number] = self._begun.get(number, 0) + 1
        return self._begun[number]

    async def block(self, number: int) -> list[bytes] | None:
        """A block, as soon as it is there; empty when it was answered, None when there is none."""
        async with self._changed:
            while number >= self._count and not self._ended:
                await self._changed.wait()
        return None if number >= self._count else self._blocks.get(number, [])


class _Answering:
    """What each actor of the pool is: a worker, made once.

    recipe: pickled. feed: the actor that has the blocks. cpus: of each worker.
    """

    def __init__(self, recipe: bytes, feed: Any, cpus: int) -> None:
        self._feed = feed
        os.environ.setdefault(THREADS, str(cpus))
        try:
            self._worker = _unpickled(recipe).open()
        except Exception as error:  # noqa: BLE001 - it is raised where the results are read
            self._worker = None
            self._failure: Exception = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One row of tasks to one row of results."""
        [number], [block] = batch["number"], batch["tasks"]
        found: Any
        if self._worker is None:
            found = _sendable(self._failure)
        elif _ray().get(self._feed.begun.remote(int(number))) > _TRIES:
            found = EngineError(
                f"{_TRIES} workers ended, one after the other, with the same tasks: is there "
                "enough memory? The logs of Ray say more"
            )
        else:
            tasks = (_unpickled(task) for task in _unpickled(block))
            try:
                found = list(self._worker.answer(tasks))
            except Exception as error:  # noqa: BLE001 - as above
                found = _sendable(error)
        return {"number": [int(number)], "results": [_pickled(found)]}


def _rows(
    feed: Any, recipe: Recipe[Any, Any], workers: int, cpus: int
) -> Generator[tuple[int, Any], None, None]:
    """The number and the results of each block, as they come; an exception where one was raised."""
    ray = _ray()
    from ray.data import DataContext

    context = DataContext.get_current()
    changes = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        # Each row is a block by itself, and goes on at once.
        "target_max_block_size": 1,
    }
    before = {name: getattr(context, name) for name in changes}
    vars(context).update(changes)
    try:
        fed = ray.data.read_datasource(_source(feed), override_num_blocks=1, num_cpus=0)
        rows = fed.map_batches(
            _Answering,
            fn_constructor_args=(_pickled(recipe), feed, cpus),
            batch_size=1,
            concurrency=workers,
            num_cpus=cpus,
        )
    finally:
        vars(context).update(before)
    for batch in rows.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        for row in batch.to_pylist():
            yield row["number"], _unpickled(row["results"])


def _source(feed: Any) -> Any:
    """A source of rows: what the feed gives, by one read task."""
    import pyarrow as pa
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    ray = _ray()

    class Fed(Datasource):
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            def read() -> Iterator[Any]:
                number = 0
                while (block := ray.get(feed.block.remote(number))) is not None:
                    yield pa.table({"number": [number], "tasks": [_pickled(block)]})
                    number += 1

            return [ReadTask(read, BlockMetadata(None, None, None, None))]

    source: Any = Fed
    return source()


def _next(rows: Iterator[tuple[int, Any]]) -> tuple[int, Any]:
    """The next block's number and results. Raises what a worker raised, and EngineError."""
    try:
        number, results = next(rows)
    except StopIteration:
        raise EngineError("Ray ended before all tasks were answered; run it again") from None
    except Exception as error:
        raise EngineError(f"Ray cannot go on: {error}") from error
    if isinstance(results, Exception):
        raise results
    return number, results


def _sendable(error: Exception) -> Exception:
    """The error, or its message where it cannot travel."""
    try:
        _unpickled(_pickled(error))
    except Exception:  # noqa: BLE001 - whatever its class does
        return EngineError(str(error) or type(error).__name__)
    return error


def _pickled(value: object) -> bytes:
    """With the code of classes that a worker could not import."""
    pickle: Any = importlib.import_module("ray.cloudpickle")
    content: bytes = pickle.dumps(value)
    return content


def _unpickled(content: bytes) -> Any:
    pickle: Any = importlib.import_module("ray.cloudpickle")
    return pickle.loads(content)


@contextmanager
def cluster(*, cpus: int | None = None) -> Iterator[list[int]]:
    """Be connected to Ray; the CPUs of each machine.

    To what is connected already, else to the cluster that `ADDRESS` names; else one is started
    here, of so many CPUs (None: all that there are), and ends with this. Raises EngineError.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        address = os.environ.get(ADDRESS)
        _check_reachable(address)
        own = {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
        except Exception as error:
            at = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
            raise EngineError(f"{at} cannot be used: {error}") from error
    try:
        alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
        yield [int(resources["CPU"]) for resources in alive if resources.get("CPU", 0) >= 1]
    finally:
        if ours:
            ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Raises EngineError where nobody listens: Ray itself would go on trying for many minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"nothing answers at {address}, which {ADDRESS} names: {error}; start the cluster, or "
            "unset it for one on this machine"
        ) from error


def _ray() -> Any:
    """The package. Raises MissingExtra."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "the engine 'ray' needs packages that are not here: pip install \"triptych[ray]\""
        ) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ray
