"""What this package offers. The classes are imported when a pipeline, or an export, names them."""

import triptych


@triptych.hookimpl
def exporters():
    """Offer `llava/llava`."""
    return [
        triptych.Component(
            name="llava",
            target="triptych_llava.exporter:LlavaExporter",
            summary="LLaVA-1.5: CLIP and a projector, embeddings, a Llama decoder.",
        )
    ]


@triptych.hookimpl
def processors():
    """Offer `llava/clip`."""
    return [
        triptych.Component(
            name="clip",
            target="triptych_llava.processor:ClipProcessor",
            summary="LLaVA's prompts, and pictures as CLIP wants them.",
            main="folder",
        )
    ]


@triptych.hookimpl
def stages():
    """Offer `llava/count`."""
    return [
        triptych.Component(
            name="count",
            target="triptych_llava.positions:Count",
            summary="One position per token, text and picture alike.",
        )
    ]
