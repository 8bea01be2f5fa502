"""What this folder offers; torch is imported when a pipeline that names it is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> Iterable[Component]:
    return [
        Component(
            name="torch_vision_encoder",
            target="triptych.export.torch_vision.torch_vision_encoder:TorchVisionEncoder",
            summary="Images to features, by torch from a Qwen3-VL checkpoint, to compare with.",
            main="checkpoint",
        )
    ]
