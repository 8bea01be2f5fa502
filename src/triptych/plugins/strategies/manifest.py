"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

_HERE = "triptych.plugins.strategies"


@hookimpl
def strategies() -> list[Component]:
    """The plain loop first."""
    return [
        Component(
            "autoregressive",
            f"{_HERE}.autoregressive:Autoregressive",
            "One token per forward pass.",
        ),
        Component(
            "prompt_lookup",
            f"{_HERE}.prompt_lookup:PromptLookup",
            "Drafts what followed the last tokens earlier on, and verifies it in one pass.",
            main="tokens",
        ),
        Component(
            "draft",
            f"{_HERE}.draft:Draft",
            "Drafts with a small model of the same vocabulary, and verifies in one pass.",
            main="pipeline",
        ),
        Component(
            "beam_search",
            f"{_HERE}.beam_search:BeamSearch",
            "Keeps the likeliest continuations side by side, in groups that differ if wanted.",
            main="width",
        ),
        Component(
            "best_of_n",
            f"{_HERE}.best_of_n:BestOfN",
            "Samples several texts and gives the one that scores best.",
            main="n",
        ),
        Component(
            "guidance",
            f"{_HERE}.guidance:Guidance",
            "Classifier-free guidance: away from what is said without the pictures or the prompt.",
            main="scale",
        ),
        Component(
            "vcd",
            f"{_HERE}.vcd:VCD",
            "Visual contrastive decoding: away from what is said of a noised picture.",
            main="alpha",
        ),
        Component(
            "dola",
            f"{_HERE}.dola:DoLa",
            "Contrasts layers: away from what an early layer would say already.",
            main="layers",
        ),
    ]
