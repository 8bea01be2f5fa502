"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.component import Component
from triptych.core.hookspecs import hookimpl

_HERE = "triptych.plugins.strategies"


@hookimpl
def strategies() -> list[Component]:
    """The plain loop first."""
    return [
        Component(
            "autoregressive",
            f"{_HERE}.autoregressive:Autoregressive",
            "One token per forward pass.",
        ),
        Component(
            "prompt_lookup",
            f"{_HERE}.prompt_lookup:PromptLookup",
            "Drafts what followed the last tokens earlier on, and verifies it in one pass.",
            main="tokens",
        ),
        Component(
            "draft",
            f"{_HERE}.draft:Draft",
            "Drafts with a small model of the same vocabulary, and verifies in one pass.",
            main="pipeline",
        ),
    ]
