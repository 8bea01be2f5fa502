"""Ctrl-C and closed pipes, in processes of their own."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest

from triptych.__main__ import main
from triptych.cli import interrupt as module
from triptych.cli.interrupt import Interruptible

SLOW = """
import time


class Slow:
    keeps_winner = False

    def __call__(self, candidates, context):
        if len(context.tokens) - context.prompt_length == 5:
            print("five", file=sys.stderr, flush=True)
        time.sleep(0.02)
        return candidates
"""
SLOW_HOOK = """
import sys


@hookimpl
def samplers():
    return [Component("slow", ":Slow", "takes its time", role="warp")]
"""


@pytest.fixture
def slow_run(plugin_file, tiny_pipeline):
    """Starts a run that says "five" on stderr at its fifth token, and needs a minute in all."""
    path = plugin_file(SLOW_HOOK, SLOW)
    started = []

    def start(*arguments):
        command = [
            sys.executable, "-m", "triptych", "run", tiny_pipeline, "--text=Hello",
            "--max-new-tokens=3000", "--plugin", path, "--set=sampler=[local/slow, greedy]",
        ]  # fmt: skip
        started.append(
            subprocess.Popen(
                [*map(str, command), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        assert started[0].stderr.readline() == "five\n"
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_the_reply_and_keeps_what_there_is(slow_run):
    process = slow_run()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""
    assert out.endswith("\n")
    assert 5 <= len(out.rstrip("\n")) < 1000


def test_ctrl_c_leaves_json_whole(slow_run):
    process = slow_run("--json")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""
    found = json.loads(out)
    assert found["finish_reason"] == "cancelled"
    assert len(found["tokens"]) == found["usage"]["completion_tokens"] >= 5


def test_a_closed_pipe_ends_it_without_a_word(slow_run):
    process = slow_run()
    process.stdout.read(5)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 141


DEAF = """
import os
import signal
import sys
import time

from triptych.cli.interrupt import Interruptible

with Interruptible(lambda: print("cancel", flush=True)):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_ctrl_c_ends_at_once():
    """The work goes on after the first, as inside of a long forward pass."""
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cancel\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


LOADING = """
import time

from triptych.cli.interrupt import Interruptible

with Interruptible():
    print("ready", flush=True)
    time.sleep(60)
"""


def test_before_there_is_anything_to_keep_the_first_ctrl_c_ends_it():
    process = subprocess.Popen([sys.executable, "-c", LOADING], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


@pytest.mark.parametrize(
    ("presses", "said"),
    [
        (2, "\nstopping after this step; Ctrl-C again ends at once\n"),
        (3, "\nstopping after this step; 2 more Ctrl-C end at once\n"),
    ],
)
def test_at_a_terminal_it_says_that_it_was_heard_when_the_end_takes_long(
    monkeypatch, presses, said
):
    remarks = []
    monkeypatch.setattr("sys.stderr", type("Screen", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(module, "remark", lambda text: remarks.append(f"{text}\n"))
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with Interruptible(lambda: None, presses=presses):
        signal.raise_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while not remarks and time.monotonic() < deadline:
            time.sleep(0.01)
    assert remarks == [said]


def test_afterwards_ctrl_c_is_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    cancelled = threading.Event()
    with Interruptible(cancelled.set) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled.wait(10)
        assert interrupt.pressed == 1
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_in_another_thread_nothing_changes():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with Interruptible(lambda: None) as interrupt:
            seen.append((signal.getsignal(signal.SIGINT), interrupt.pressed))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]


@pytest.mark.parametrize("when", ["in the midst of an import", "while it runs"])
def test_a_command_that_has_hardly_begun_ends_without_a_traceback(monkeypatch, when):
    def interrupted(*_):
        raise KeyboardInterrupt

    if when == "while it runs":
        stands_in = SimpleNamespace(main=interrupted)
    else:
        stands_in = ModuleType("triptych.cli.main")
        stands_in.__getattr__ = interrupted
    monkeypatch.setitem(sys.modules, "triptych.cli.main", stands_in)
    monkeypatch.setattr(gc, "set_threshold", lambda _: None)
    assert main() == 130
