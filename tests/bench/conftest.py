"""Runtimes that stand in for real ones: they answer what a test tells them, and keep a diary."""

from __future__ import annotations

import json
import shutil

import pytest

from triptych.bench import contender as contender_module
from triptych.bench.contender import RUNTIMES, Kind

FAKE = '''
import json, sys
from pathlib import Path

class Runtime:
    """Takes as many seconds as `path`, a JSON file, says; notes what it was asked for."""

    def start(self):
        print("a library prints what it likes")
        return {"name": "fake", "version": "1"}

    def open(self, path, threads):
        self.said = json.loads(Path(path).read_text())
        self.diary = Path(path).with_suffix(".diary")
        self.note("open", threads)
        return {"seconds": self.said["load"], **self.said.get("knows", {})}

    def note(self, *what):
        with self.diary.open("a") as file:
            file.write(json.dumps(what) + "\\n")

    def prefill(self, tokens, *, new):
        self.note("prefill", tokens, new)
        if "prefill" not in self.said:
            return {"unable": "it has no prompts"}
        return {"seconds": self.said["prefill"]}

    def decode(self, count):
        self.note("decode", count)
        return {"seconds": count * self.said["decode"]}

    def vision(self, *, width, height, seed):
        self.note("vision", width, height, seed)
        return {"unable": "it sees nothing"}
'''

LIMITS = """
class Runtime:
    def start(self):
        return {"name": "machine", "version": ""}

    def limits(self, *, threads):
        return {"bandwidth": 1e9, "float32": 2e9, "int8": 4e9}
"""


@pytest.fixture
def runtimes(tmp_path):
    """A folder of runtimes: `write(module, code)` adds one and gives its kind."""
    folder = tmp_path / "runtimes"
    folder.mkdir()
    for name in ("__init__.py", "server.py", "memory.py"):
        shutil.copy(RUNTIMES / name, folder)

    def write(module, code):
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
        return Kind(module, f"pip install {module}", folder)

    return write


@pytest.fixture
def fakes(runtimes, tmp_path, monkeypatch):
    """`make(kind, **seconds)` writes a model of a fake runtime and gives its path and its diary."""
    fake = runtimes("fake", FAKE)
    monkeypatch.setattr("triptych.bench.session.MACHINE", runtimes("limits", LIMITS))

    def make(kind, **said):
        monkeypatch.setitem(contender_module.KINDS, kind, fake)
        path = tmp_path / f"{kind}.model"
        path.write_text(json.dumps(said), encoding="utf-8")

        def diary():
            text = path.with_suffix(".diary").read_text(encoding="utf-8")
            return [json.loads(line) for line in text.splitlines()]

        return str(path), diary

    return make
