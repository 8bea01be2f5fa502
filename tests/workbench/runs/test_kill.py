"""Whatever ends an ablation, the same command goes on, and the results are the same bytes."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.core.environments import SOURCE
from tests.workbench.sweeps import MADE_UP, write

SWEEP = """\
format: 1
data: {local/few: {count: 6, pictures: true, broken: [3]}}
metrics: [local/slow, local/as_base, perplexity]
matrix: {sampler.temperature: [0.7, 2.0]}
include: [{name: half, insert: {"after mrope": {token_norm: 0.5}}}]
seeds: [0, 1]
"""
TIMED = """\
format: 1
data: {local/few: 2}
metrics: [local/slow, local/process]
matrix: {sampler.temperature: [2.0]}
"""
KILLS = 3
RUNS = 4 * 6 * 2

RUN = """
import sys
from pathlib import Path
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.runs.ablation import Ablation
from triptych.workbench.runs.exports import write_results, write_timings
from triptych.workbench.runs.store import Store

file, out, plugin = map(Path, sys.argv[1:])
asked = Ablation.read(file, plugins=[plugin])
with Store(out) as store:
    asked.run(store, LocalEngine())
    write_results(store, out / "results.csv")
    write_timings(store, out / "timings.csv")
"""
"""The work of the command without its reports, which are made of the same database."""


def start(file, out, command=(sys.executable, "-c", RUN)):
    return subprocess.Popen(
        [*command, str(file), str(out), str(MADE_UP)],
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(file, out):
    process = start(file, out)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def count(out):
    """How many runs are there; the database may be of any age."""
    path = out / "runs.sqlite"
    if not path.is_file():
        return 0
    with sqlite3.connect(path, timeout=30) as database:
        try:
            return database.execute("SELECT count(*) FROM runs").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def killed(file, out, moment, more=3):
    """Start it, and kill it a moment after there are some more runs than before."""
    before = count(out)
    process = start(file, out)
    end = time.monotonic() + 60
    while count(out) < before + more and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(write(folder, SWEEP), folder / "out")
    return folder / "out"


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, uninterrupted):
    moments = random.Random(time.time_ns())
    file, out = write(tmp_path, SWEEP), tmp_path / "out"
    seen = []
    for _ in range(KILLS):
        code = killed(file, out, moments.uniform(0, 0.3))
        seen.append(count(out))
        if code == 0:
            break
    finish(file, out)
    assert seen == sorted(seen), "runs were lost"
    assert 0 < seen[0] < RUNS, "it was not killed in the midst"
    expected = (uninterrupted / "results.csv").read_bytes()
    assert (out / "results.csv").read_bytes() == expected
    assert expected.count(b"\n") == 1 + RUNS


def test_a_finished_ablation_runs_nothing_again(uninterrupted):
    before = (uninterrupted / "results.csv").read_bytes()
    timings = (uninterrupted / "timings.csv").read_bytes()
    finish(uninterrupted.parent / "sweep.yaml", uninterrupted)
    assert (uninterrupted / "results.csv").read_bytes() == before
    assert (uninterrupted / "timings.csv").read_bytes() == timings


def test_processes_of_timed_arms_end_with_the_one_that_made_them_and_it_goes_on(tmp_path):
    file, out = write(tmp_path, TIMED), tmp_path / "out"
    killed(file, out, 0, more=1)
    with sqlite3.connect(out / "runs.sqlite") as database:
        rows = database.execute("SELECT value FROM scores WHERE name = 'process'").fetchall()
    assert rows
    end = time.monotonic() + 20
    left = {int(row[0]) for row in rows}
    while left and time.monotonic() < end:
        left = {pid for pid in left if is_alive(pid)}
        time.sleep(0.05)
    assert not left
    finish(file, out)
    assert count(out) == 2 * 2


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_after_ctrl_c_it_says_how_far_it_is_and_can_go_on(tmp_path):
    file, out = write(tmp_path, SWEEP), tmp_path / "out"
    script = (
        "import sys; from triptych.cli.main import main; sys.exit(main(['ablate', sys.argv[1], "
    )
    script += "'--out', sys.argv[2], '--plugin', sys.argv[3]]))"
    process = start(file, out, (sys.executable, "-c", script))
    end = time.monotonic() + 60
    while count(out) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"of {RUNS} runs are done, and the same command goes on" in said
    assert 3 <= count(out) < RUNS
