"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.component import Component
from triptych.core.hookspecs import hookimpl

_HERE = "triptych.plugins.metrics"


@hookimpl
def metrics() -> list[Component]:
    return [
        Component(
            "exact_match",
            f"{_HERE}.exact_match:ExactMatch",
            "Whether the answer is the reference, to the letter.",
        ),
    ]
