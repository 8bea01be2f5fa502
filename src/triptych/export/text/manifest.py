"""What this folder offers."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def exporters() -> Iterable[Component]:
    return [
        Component(
            name="qwen3",
            target="triptych.export.text.qwen3:Qwen3Exporter",
            summary="Qwen3 (dense), text only: embeddings, decoder.",
        ),
        Component(
            name="qwen2",
            target="triptych.export.text.qwen2:Qwen2Exporter",
            summary="Qwen2 and Qwen2.5 (dense), text only: embeddings, decoder.",
        ),
        Component(
            name="llama",
            target="triptych.export.text.llama:LlamaExporter",
            summary="Llama 1 to 3 and what has its shape, text only: embeddings, decoder.",
        ),
    ]
