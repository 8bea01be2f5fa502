"""`triptych chat` at a terminal: a prompt, Ctrl-C and Ctrl-D."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

SLOW = """
import time


class Slow:
    keeps_winner = False

    def __call__(self, candidates, context):
        time.sleep(0.02)
        return candidates
"""
SLOW_HOOK = """
@hookimpl
def samplers():
    return [Component("slow", ":Slow", "takes its time", role="warp")]
"""


class Terminal:
    """A chat in a process that has a terminal, and what is on its screen."""

    def __init__(self, folder, *arguments):
        self.side, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "triptych", "chat", *map(str, arguments)],
            stdin=other, stdout=other, stderr=other,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        os.close(other)
        self.screen = ""
        self._seen = 0

    def type(self, text):
        os.write(self.side, text.encode())

    def wait_for(self, text, seconds=60):
        """Read until `text` is on the screen, behind what was waited for before."""
        deadline = time.monotonic() + seconds
        while (at := self.screen.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, self.screen
            if select.select([self.side], [], [], 1)[0]:
                self.screen += os.read(self.side, 1024).decode(errors="replace")
        self._seen = at + len(text)

    def interrupt(self, text):
        """Press Ctrl-C at the prompt until `text` is on the screen.

        While readline takes in a key, it does not hear of a signal.
        """
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, self.screen
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                self.wait_for(text, seconds=3)
                return

    def end(self):
        """The exit code; all that was printed is on the screen."""
        code = self.process.wait(timeout=30)
        # Linux raises where others say that nothing is left.
        with contextlib.suppress(OSError):
            while select.select([self.side], [], [], 0)[0] and (read := os.read(self.side, 1024)):
                self.screen += read.decode(errors="replace")
        return code


@pytest.fixture
def terminal(tiny_pipeline, plugin_file, tmp_path):
    path = plugin_file(SLOW_HOOK, SLOW)
    opened = Terminal(
        tmp_path,
        tiny_pipeline, "--max-new-tokens=2000", "--plugin", path,
        "--set=sampler=[local/slow, greedy]",
    )  # fmt: skip
    opened.wait_for("> ")
    yield opened
    opened.process.kill()
    opened.process.wait()
    os.close(opened.side)


def test_ctrl_c_ends_a_reply_or_a_line_and_ctrl_d_the_conversation(terminal):
    assert "/help lists the commands, Ctrl-D leaves" in terminal.screen

    terminal.type("Hello\n")
    terminal.wait_for("ieie")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelled; what there is stays in the conversation")
    terminal.wait_for("> ")

    terminal.type("half a li")
    terminal.wait_for("half a li")
    terminal.interrupt("Ctrl-D or /exit leaves; the conversation goes on")
    terminal.wait_for("> ")

    terminal.type("/save talk.json\n")
    terminal.wait_for("saved 2 messages in talk.json")
    terminal.wait_for("> ")

    terminal.type("\x04")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.screen
