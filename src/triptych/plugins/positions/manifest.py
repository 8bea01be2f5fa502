"""Positions of tokens."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `mrope`, `positions` and `text_positions`."""
    return [
        Component(
            name="mrope",
            target="triptych.plugins.positions.mrope:MRope",
            summary="3D positions (time, height, width) of the Qwen-VL models, for text and media.",
            main="merge_size",
        ),
        Component(
            name="positions",
            target="triptych.plugins.positions.positions:Positions",
            summary="One position per token, counted from 0, for text models.",
        ),
        Component(
            name="text_positions",
            target="triptych.plugins.positions.text_positions:TextPositions",
            summary="One position per token on all three axes, images too; to compare mrope with.",
        ),
    ]
