"""A process that runs one model: started, asked over pipes, and closed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from triptych.core.errors import TriptychError
from triptych.core.messages import guess

RUNTIMES = Path(__file__).with_name("runtimes")

# A package under a name of its own, so that another interpreter needs nothing of Triptych's.
BOOT = """
import importlib, importlib.util, sys
sys.path[:] = [path for path in sys.path if path]
folder, module = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "triptych_runtimes", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules[spec.name] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
make = importlib.import_module(f"{spec.name}.{module}").Runtime
importlib.import_module(f"{spec.name}.server").serve(make)
"""

PATIENCE = 5.0
"""Seconds that a process gets to end by itself."""


class ContenderError(TriptychError):
    """A runtime that is not there, or that fails."""


@dataclass(frozen=True)
class Kind:
    """A runtime. module: its file in `folder`. install: how to get it."""

    module: str
    install: str
    folder: Path = RUNTIMES


KINDS = {
    "triptych": Kind("pipeline", "pip install triptych"),
    "onnxruntime-genai": Kind("genai", "pip install onnxruntime-genai"),
    "transformers": Kind("hugging_face", "pip install transformers torch"),
    "openvino-genai": Kind("openvino", "pip install openvino-genai"),
    "llama.cpp": Kind("llama_cpp", "pip install llama-cpp-python"),
}
"""What `--against` names."""

MACHINE = Kind("machine", "pip install triptych")
"""The machine's own limits, measured by a process like the others."""


@dataclass(frozen=True)
class Model:
    """What one contender runs.

    kind: one of `KINDS`. path: the folder or file that it loads. python: the interpreter in
    which it is installed, None for ours. changes: keywords of `open` beside the threads.
    """

    kind: str
    path: str
    python: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.kind} {Path(self.path).name}"


def model_of(text: str, pythons: dict[str, str]) -> Model:
    """`KIND=PATH` as `--against` has it. pythons: interpreters by kind. Raises ContenderError."""
    kind, equals, path = text.partition("=")
    if kind not in KINDS:
        hint = guess(kind, KINDS)
        raise ContenderError(
            f"there is no runtime {kind!r} to compare with{hint} (runtimes: {', '.join(KINDS)})"
        )
    if not equals or not path:
        raise ContenderError(f"{text!r} names no model; write {kind}=PATH")
    return Model(kind, path, pythons.get(kind))


class Contender:
    """One process; leave the ``with`` block and it is gone.

    runtime: what it said it is, after `start`.
    """

    def __init__(self, name: str, kind: Kind, python: str | None = None) -> None:
        """Start it. name: what errors call it. Raises ContenderError."""
        self.name = name
        self.runtime = name
        self._kind = kind
        self._python = python
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as this does
        command = [python or sys.executable, "-c", BOOT, str(kind.folder), kind.module]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the interpreter that the user named
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._said.close()
            raise ContenderError(f"{command[0]}: cannot be started: {error.strerror}") from error

    def ask(self, do: str, **keywords: Any) -> dict[str, Any]:
        """What the process answers. Raises ContenderError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        line = ""
        if stdin is not None and stdout is not None:
            with contextlib.suppress(OSError):
                stdin.write(json.dumps({"do": do, **keywords}) + "\n")
                stdin.flush()
                line = stdout.readline()
        if not line:
            raise ContenderError(f"{self.name}: its process ended{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            where = f" with {self._python}" if self._python else ""
            raise ContenderError(
                f"{self.name}: the Python module {answer['missing']!r} is not installed{where}; "
                f"{self._kind.install}, or name another interpreter that has it: --python KIND=PATH"
            )
        if "failed" in answer:
            raise ContenderError(f"{self.name}: {answer['failed']}")
        if do == "start":
            self.runtime = f"{answer['name']} {answer['version']}".strip()
        return answer

    def close(self) -> None:
        """End the process; safe to call twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        code = self._process.returncode
        return f" with code {code}" + (f": {lines[-1]}" if lines else "")
