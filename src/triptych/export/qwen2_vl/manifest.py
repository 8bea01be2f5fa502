"""What this folder offers."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def exporters() -> Iterable[Component]:
    return [
        Component(
            name="qwen2_vl",
            target="triptych.export.qwen2_vl.exporter:Qwen2VLExporter",
            summary="Qwen2-VL: vision encoder, embeddings, decoder.",
        ),
        Component(
            name="qwen2_5_vl",
            target="triptych.export.qwen2_vl.exporter:Qwen25VLExporter",
            summary="Qwen2.5-VL: vision encoder with windowed attention, embeddings, decoder.",
        ),
    ]
