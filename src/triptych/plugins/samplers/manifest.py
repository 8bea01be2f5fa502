"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.component import Component
from triptych.core.hookspecs import hookimpl

_HERE = "triptych.plugins.samplers"


@hookimpl
def samplers() -> list[Component]:
    """Warps and choosers, in the order of the default chain."""
    return [
        Component(
            "temperature",
            f"{_HERE}.temperature:Temperature",
            "Divides logits: below 1 sharper, above 1 flatter.",
            main="temperature",
            role="warp",
        ),
        Component(
            "top_k",
            f"{_HERE}.top_k:TopK",
            "Keeps the k most likely tokens.",
            main="k",
            role="warp",
        ),
        Component(
            "top_p",
            f"{_HERE}.top_p:TopP",
            "Keeps the fewest most likely tokens that hold p of the probability.",
            main="p",
            role="warp",
        ),
        Component(
            "draw",
            f"{_HERE}.draw:Draw",
            "Chooses at random, by probability.",
            role="choose",
        ),
        Component(
            "greedy",
            f"{_HERE}.greedy:Greedy",
            "Chooses the most likely token.",
            role="choose",
        ),
    ]
