"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def processors() -> list[Component]:
    return [
        Component(
            "hf",
            "triptych.plugins.processors.hf:HFProcessor",
            "Tokenizer, chat template and image processor of any Hugging Face folder.",
            main="folder",
        ),
        Component(
            "qwen_vl",
            "triptych.plugins.processors.qwen_vl:QwenVLProcessor",
            "The same of Qwen's folders; never imports transformers.",
            main="folder",
        ),
    ]
