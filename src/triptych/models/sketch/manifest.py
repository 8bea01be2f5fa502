"""What the built-in model offers beside its pipeline: questions that it can be asked."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def datasets() -> list[Component]:
    return [
        Component(
            "sketch_scenes",
            "triptych.models.sketch.dataset:SketchScenes",
            "Drawn scenes and questions about them, as `sketch` is asked; made, not read.",
            main="split",
        )
    ]
