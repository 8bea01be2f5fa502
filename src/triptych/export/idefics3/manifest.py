"""What this folder offers."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def exporters() -> Iterable[Component]:
    return [
        Component(
            name="idefics3",
            target="triptych.export.idefics3.exporter:Idefics3Exporter",
            summary="Idefics3, SmolVLM, SmolVLM2: vision encoder over tiles, embeddings, decoder.",
        )
    ]
