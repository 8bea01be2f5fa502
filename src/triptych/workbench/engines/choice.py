"""Engines by name, as flags give them."""

from __future__ import annotations

from triptych.core.errors import InputError
from triptych.core.messages import guess
from triptych.workbench.engines.engine import Engine
from triptych.workbench.engines.local import LocalEngine

ENGINES = ("local", "ray")


def engine_named(name: str, *, workers: int | None = None) -> Engine:
    """An engine. workers: of those that have several; None: their own choice.

    Raises InputError for an unknown name, and for workers that an engine does not have;
    MissingExtra for one whose packages are not installed.
    """
    if name == "local":
        if workers not in (None, 1):
            raise InputError(
                f"--workers {workers}: the engine 'local' has one, which answers many at once; "
                "give --engine ray"
            )
        return LocalEngine()
    if name == "ray":
        from triptych.workbench.engines.ray import RayEngine

        return RayEngine(workers=workers)
    hint = guess(name, ENGINES)
    raise InputError(f"there is no engine {name!r}{hint} (engines: {', '.join(ENGINES)})")
