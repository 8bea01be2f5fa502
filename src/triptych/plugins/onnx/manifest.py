"""Any ONNX graph as a stage, without a line of Python."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `onnx`."""
    return [
        Component(
            name="onnx",
            target="triptych.plugins.onnx.onnx:Onnx",
            summary="Any ONNX graph; its ports are the graph's, or what `ports:` makes of them.",
            main="graph",
        )
    ]
