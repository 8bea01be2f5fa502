"""The vision encoder."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `vision_encoder`."""
    return [
        Component(
            name="vision_encoder",
            target="triptych.plugins.vision_encoder.vision_encoder:VisionEncoder",
            summary="Images to features, by an ONNX graph; once per image.",
            main="graph",
        )
    ]
