"""Reading the weights of all stages at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from triptych.core.config.part import Part
from triptych.core.config_error import ConfigError
from triptych.core.errors import TriptychError
from triptych.core.stages import Runtime, Stage


class Loading:
    """A stage whose weights are being read in a thread.

    Opening a session is work of ONNX Runtime's on one core, in which Python is free to do other
    things. error: what it ended with, once it was joined.
    """

    def __init__(self, part: Part, load: Callable[[Runtime], None], runtime: Runtime) -> None:
        self.error: BaseException | None = None
        self._part = part
        self._load = load
        self._runtime = runtime
        # A daemon, so that whoever has had enough of waiting need not wait for it.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end. Raises ConfigError or what the stage raised on purpose."""
        self._thread.join()
        if isinstance(self.error, TriptychError) or not isinstance(self.error, Exception | None):
            raise self.error
        if self.error is not None:
            cause = f"{self._part.name} failed with {type(self.error).__name__}: {self.error}"
            raise ConfigError(self._part.where, cause, exit_code=1) from self.error

    def _run(self) -> None:
        try:
            self._load(self._runtime)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error


def begin_loading(stages: Sequence[tuple[Part, Stage, Runtime]]) -> list[Loading]:
    """Begin to load every stage that has something to load."""
    return [
        Loading(part, load, runtime)
        for part, stage, runtime in stages
        if (load := getattr(stage, "load", None)) is not None
    ]


def finish_loading(begun: Sequence[Loading], meanwhile: Callable[[], None]) -> None:
    """Wait for what was begun, and do something else the while.

    Raises the error of the first stage, in their order, that has one.
    """
    try:
        meanwhile()
    finally:
        for loading in begun:
            loading.join()
