"""The loop of a benchmark's process: one JSON object per line asks, one answers."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .memory import resident


def serve(make: Any) -> None:
    """Answer requests on stdin until it closes; `make()` gives the object that does them.

    A request is ``{"do": METHOD, ...keywords}``. The answer is what the method returns, an
    object, with `resident` and `peak` bytes of this process added; or ``{"missing": NAME}`` where
    a module cannot be imported, or ``{"failed": TEXT}``.
    """
    # Libraries print what they like; only answers may reach the pipe.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runtime: Any = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            runtime = make() if runtime is None else runtime
            answer = getattr(runtime, request.pop("do"))(**request) or {}
            answer |= resident()
        except ModuleNotFoundError as error:
            answer = {"missing": str(error.name)}
        except MemoryError:
            answer = {"failed": "there is not enough memory"}
        except Exception as error:  # noqa: BLE001 - whatever it is, the asking side tells of it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
