"""Errors that nobody foresaw, and what only a terminal shows."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triptych.cli import terminal
from triptych.cli.terminal import Waiting, harmless


@pytest.fixture
def broken(monkeypatch):
    """A fault in the middle of `triptych check`."""

    def assemble(_):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("triptych.core.assembly.assembly.assemble", assemble)


def test_a_fault_is_code_1_and_asks_for_debug(triptych, tiny_pipeline, broken):
    done = triptych("check", tiny_pipeline)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: ZeroDivisionError: of all things\n"
        "  run it again with --debug to see where, and report it\n"
    )


def test_debug_shows_the_traceback(triptych, tiny_pipeline, broken):
    done = triptych("check", tiny_pipeline, "--debug")
    assert done.code == 1
    assert done.err.startswith("Traceback (most recent call last):\n")
    assert done.err.endswith("error: ZeroDivisionError: of all things\n")


def test_ctrl_c_anywhere_is_code_130(triptych, tiny_pipeline, monkeypatch):
    def assemble(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("triptych.core.assembly.assembly.assemble", assemble)
    done = triptych("check", tiny_pipeline)
    assert (done.code, done.out, done.err) == (130, "", "")


def test_model_output_cannot_move_the_cursor_of_a_terminal():
    assert harmless("a\x1b[2Jb\x07\r\n\tc\x9b0m") == "a�[2Jb��\n\tc�0m"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def show(monkeypatch):
    """Makes stderr a terminal; pytest puts its own in place after each fixture."""

    def start(patience=0.05):
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr(terminal, "PATIENCE", patience)
        monkeypatch.setenv("TERM", "xterm")
        return screen

    return start


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_wait_is_shown_and_gone_afterwards(show):
    screen = show()
    with Waiting("loading [models/mine]"):
        wait_until(lambda: "loading [models/mine]" in screen.getvalue())
    # The line is erased, and the cursor comes back.
    assert "\x1b[2K" in screen.getvalue()
    assert screen.getvalue().rstrip("\r").endswith(("\x1b[?25h", "\x1b[2K"))


def test_bytes_are_counted(show):
    screen = show()
    with Waiting("reading", counted=True) as waiting:
        waiting.update("writing decoder.onnx", 3_000_000, 6_000_000)
        wait_until(lambda: "3.0/6.0 MB" in screen.getvalue())
    assert "writing decoder.onnx" in screen.getvalue()


def test_a_short_wait_shows_nothing(show):
    screen = show(patience=60)
    with Waiting("loading") as waiting:
        waiting.update("still loading")
    assert screen.getvalue() == ""


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "PATIENCE", 0)
    with Waiting("loading"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_told_without_asking_for_a_report():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "triptych", "run", "--text", "hi"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
