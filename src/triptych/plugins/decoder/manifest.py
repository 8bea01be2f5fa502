"""The text decoder."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `decoder`."""
    return [
        Component(
            name="decoder",
            target="triptych.plugins.decoder.decoder:Decoder",
            summary="Embeddings to logits, by an ONNX graph with a key/value cache.",
            main="graph",
        )
    ]
