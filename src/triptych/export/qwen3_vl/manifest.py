"""What this folder offers."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def exporters() -> Iterable[Component]:
    return [
        Component(
            name="qwen3_vl",
            target="triptych.export.qwen3_vl.exporter:Qwen3VLExporter",
            summary="Qwen3-VL (dense): vision encoder with DeepStack, embeddings, decoder.",
        )
    ]
