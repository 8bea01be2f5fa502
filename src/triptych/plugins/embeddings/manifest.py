"""Token embeddings, and the merge of visual features into them."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `embeddings` and `merge`."""
    return [
        Component(
            name="embeddings",
            target="triptych.plugins.embeddings.embeddings:Embeddings",
            summary="Token ids to embeddings, by an ONNX graph.",
            main="graph",
        ),
        Component(
            name="merge",
            target="triptych.plugins.embeddings.merge:Merge",
            summary="Puts visual features, and their DeepStack layers, at their tokens.",
            main="deepstack",
        ),
    ]
