"""The command line, called in this process."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from triptych.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def triptych(capsys, monkeypatch):
    """Runs the command line: ``triptych("run", folder, "--text", "hi", stdin="")``."""

    def call(*arguments, stdin=""):
        typed = io.StringIO(stdin) if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", typed)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        seen = capsys.readouterr()
        return Done(code, seen.out, seen.err)

    return call


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plugin_file(tmp_path):
    """Writes a file for --plugin from the body of its components' classes."""

    def write(hook, code, name="my.py"):
        path = tmp_path / name
        path.write_text(f"{PREAMBLE}\n\n{code}\n\n\n{hook}\n", encoding="utf-8")
        return path

    return write


PREAMBLE = """\
import triptych
from triptych import Component, hookimpl
"""

HERE = Path(__file__).parent
