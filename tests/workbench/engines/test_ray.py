"""The engine on Ray, with two workers on this machine."""

import io
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.workbench import sweeps
from triptych import InputError
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.workbench.engines.choice import engine_named
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.engines.ray import (
    EngineError,
    RayEngine,
    _Answering,
    _check_reachable,
    _Feed,
    _next,
    _pickled,
    _unpickled,
)
from triptych.workbench.engines.written_pipeline import WrittenPipeline
from triptych.workbench.extra import MissingExtra
from triptych.workbench.lines.asking import Asking
from triptych.workbench.lines.batch import Batch
from triptych.workbench.lines.batch_request import Reading
from triptych.workbench.runs.exports import write_results
from triptych.workbench.runs.store import Store

# Ray's own warnings of what it will change, and of what it leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

LONG = pytest.mark.external
"""Of what takes long: that a worker that is killed is replaced, one test of all times shows."""


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs of this machine as a cluster; every engine of this file works there."""
    ray = pytest.importorskip("ray")
    from triptych.workbench.engines.ray import cluster

    with cluster(cpus=2):
        yield ray


@dataclass
class Doubling:
    """A recipe whose workers double numbers, note in `folder` that they began, and may fail.

    slow: seconds that each takes.
    """

    folder: Path
    slow: float = 0.0
    refuses: bool = False

    def open(self):
        if self.refuses:
            raise InputError("there is no model here")
        with (self.folder / "workers").open("a", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")
        return self

    def answer(self, tasks):
        for task in tasks:
            time.sleep(self.slow)
            yield task, 2 * task, os.getpid()

    def close(self):
        pass


def runs(pid):
    return Path(f"/proc/{pid}").exists()


def workers(folder):
    return [int(line) for line in (folder / "workers").read_text(encoding="utf-8").split()]


def test_every_worker_begins_once_and_tasks_are_drawn_when_they_are_needed(cluster, tmp_path):
    drawn = []

    def endless():
        for number in count():
            drawn.append(number)
            yield number

    results = RayEngine(workers=2).run(Doubling(tmp_path, slow=0.01), endless())
    assert drawn == []
    found = [next(results) for _ in range(200)]
    results.close()
    assert len({task for task, _, _ in found}) == 200
    assert all(double == 2 * task for task, double, _ in found)
    assert len(drawn) < 200 + 5 * 32
    assert len({pid for _, _, pid in found}) == 2
    assert sorted({pid for _, _, pid in found}) == sorted(workers(tmp_path))


@LONG
def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(cluster, tmp_path):
    results = RayEngine(workers=2).run(Doubling(tmp_path, slow=0.005), range(500))
    found = [next(results) for _ in range(100)]
    killed = found[-1][2]
    os.kill(killed, signal.SIGKILL)
    found += results
    assert sorted(task for task, _, _ in found) == list(range(500))
    assert not runs(killed)


def test_tasks_that_end_one_worker_after_the_other_are_told_of(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_THREADS", "2")
    feed = cluster.remote(_Feed).options(num_cpus=0).remote()
    worker = _Answering(_pickled(Doubling(tmp_path)), feed, cpus=1)
    block = {"number": [0], "tasks": [_pickled([_pickled(4)])]}
    for _ in range(3):
        [answered] = worker(block)["results"]
        assert _unpickled(answered) == [(4, 8, os.getpid())]
    [refused] = worker(block)["results"]
    cluster.kill(feed)
    assert isinstance(_unpickled(refused), EngineError)
    assert "3 workers ended, one after the other" in str(_unpickled(refused))


def test_what_opening_a_worker_raises_is_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_THREADS", "2")
    worker = _Answering(_pickled(Doubling(tmp_path, refuses=True)), None, cpus=1)
    [answered] = worker({"number": [0], "tasks": [_pickled([])]})["results"]
    with pytest.raises(InputError, match="there is no model here"):
        _next(iter([(0, _unpickled(answered))]))


def test_an_end_before_all_is_answered_is_told():
    with pytest.raises(EngineError, match="Ray ended before all tasks were answered"):
        _next(iter([]))


def test_without_tasks_nobody_begins(cluster, tmp_path):
    assert list(RayEngine(workers=2).run(Doubling(tmp_path), [])) == []
    assert not (tmp_path / "workers").exists()


@dataclass(frozen=True)
class Watched:
    """A recipe that notes who opens it."""

    recipe: Any
    folder: Path

    def open(self):
        with (self.folder / "workers").open("a", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")
        return self.recipe.open()


class Records(list):
    def write(self, content):
        record = json.loads(content)
        record.pop("timings", None)
        record.get("usage", {}).pop("cached_tokens", None)
        self.append(record)


def asked(lines, folder, engine, recipe):
    """The records of a batch, as they are written; the generator goes on after each."""
    file = io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode())
    written = Records()
    batch = Batch(file, written, Reading(folder, {"max_new_tokens": 12}, seed=3))
    for _ in batch.run(engine, recipe):
        yield written


def test_a_batch_has_the_same_records_as_on_the_local_engine_though_a_worker_is_killed(
    cluster, tiny_pipeline, picture, tmp_path
):
    spec = load_spec(tiny_pipeline, catalog=Catalog([]))
    recipe = Asking(WrittenPipeline.of(spec))
    lines = [
        {"text": f"Hello {n}", "images": [picture.name] * (n % 2), "settings": {"temperature": 2.0}}
        for n in range(160)
    ]
    lines[7] = {"text": "Hello", "images": ["absent.png"], "id": "x"}
    lines[8] = {"txt": "Hello"}
    *_, local = asked(lines, picture.parent, LocalEngine(), recipe)
    running = asked(lines, picture.parent, RayEngine(workers=2), Watched(recipe, tmp_path))
    for written in running:
        if len(written) == 40:
            os.kill(workers(tmp_path)[0], signal.SIGKILL)
    assert not runs(workers(tmp_path)[0])
    assert written == local
    assert "there is no such file" in written[7]["error"]


@dataclass
class WatchedEngine:
    """Two workers, which note that they began."""

    folder: Path
    elsewhere = True

    def run(self, recipe, tasks):
        return RayEngine(workers=2).run(Watched(recipe, self.folder), tasks)


SWEEP = """\
format: 1
data: {local/few: {count: 16, pictures: true, broken: [3]}}
metrics: [local/slow, local/as_base]
matrix: {sampler.temperature: [0.7, 2.0]}
include: [{name: half, insert: {"after mrope": {token_norm: 0.5}}}]
seeds: [0, 1]
"""


@LONG
def test_a_sweep_has_the_same_results_as_on_the_local_engine_though_a_worker_is_killed(
    cluster, tmp_path
):
    asked = sweeps.read(tmp_path, SWEEP)
    with Store(tmp_path / "local") as store:
        asked.run(store, LocalEngine())
        write_results(store, tmp_path / "local.csv")
    killed = []

    def progress(done, total):
        if done > total // 3 and not killed:
            killed.append(workers(tmp_path)[0])
            os.kill(killed[0], signal.SIGKILL)

    with Store(tmp_path / "ray") as store:
        asked.run(store, WatchedEngine(tmp_path), name="ray", progress=progress)
        write_results(store, tmp_path / "ray.csv")
    assert not runs(killed[0])
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def test_a_cluster_that_nobody_is_at_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _check_reachable(address)
    for unreachable in (address, f"ray://{address}"):
        with pytest.raises(EngineError, match=r"nothing answers at .*; start the cluster"):
            _check_reachable(unreachable)
    for said in (None, "", "auto", "local"):
        _check_reachable(said)


def test_without_ray_the_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'pip install "triptych\[ray\]"'):
        engine_named("ray")
