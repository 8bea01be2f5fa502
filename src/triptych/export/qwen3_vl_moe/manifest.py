"""What this folder offers."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def exporters() -> Iterable[Component]:
    return [
        Component(
            name="qwen3_vl_moe",
            target="triptych.export.qwen3_vl_moe.exporter:Qwen3VLMoeExporter",
            summary="Qwen3-VL with a mixture of experts, otherwise like qwen3_vl.",
        )
    ]
