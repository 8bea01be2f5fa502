"""ONNX Runtime's own profile of whatever sessions this process makes."""

from __future__ import annotations

from typing import Any

_SESSIONS: list[Any] = []


def record(folder: str) -> None:
    """From now on, every session of this process writes its events into a file in `folder`.

    Call it before any session is made; `finish` ends it.
    """
    import onnxruntime

    class Recorded(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: Any, sess_options: Any = None, *args: Any, **more: Any) -> None:
            options = sess_options or onnxruntime.SessionOptions()
            options.enable_profiling = True
            options.profile_file_prefix = f"{folder}/session{len(_SESSIONS)}"
            super().__init__(model, options, *args, **more)
            self.runs = 0
            _SESSIONS.append(self)

        def run(self, *args: Any, **more: Any) -> Any:
            self.runs += 1
            return super().run(*args, **more)

        def run_with_iobinding(self, *args: Any, **more: Any) -> Any:
            self.runs += 1
            return super().run_with_iobinding(*args, **more)

    onnxruntime.InferenceSession = Recorded


def counted() -> list[int]:
    """How many runs each session has had, in the order in which they were made."""
    return [session.runs for session in _SESSIONS]


def finish() -> list[str]:
    """Write all events; the file of every session."""
    return [session.end_profiling() for session in _SESSIONS]
