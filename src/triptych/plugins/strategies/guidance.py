"""Away from what the model would say without being shown or asked."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.prompt import Prompt
from triptych.core.sampling import log_softmax
from triptych.plugins.strategies.contrast import Contrast, Row


class Guidance(Contrast):
    """Classifier-free guidance of text (arXiv 2306.17806), as transformers computes it.

    scale * (log p - log q) + log q, where q is what the model says without `what`: the pictures and
    videos of the prompt, or all of the prompt but its last token. A scale of 1 changes nothing.
    """

    class Settings(core.Settings):
        """scale: above 1 the prompt counts more. without: what the other branch does not have."""

        scale: float = Field(default=1.5, allow_inf_nan=False)
        without: Literal["media", "prompt"] = "media"

    branch = "guidance"
    neutral: ClassVar = {"scale": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def edit(self, prompt: Prompt) -> Prompt:
        """The prompt without its media's tokens, or its last token alone."""
        if self.settings.without == "prompt":
            return Prompt(prompt.tokens[-1:])
        kept = np.ones(len(prompt.tokens), np.bool_)
        for item in prompt.media:
            kept[item.at] = False
        return Prompt(prompt.tokens[kept])

    def combine(self, ours: Row, theirs: Row) -> Row:
        """The difference, enlarged."""
        if self.settings.scale == 1:
            return ours
        with_it, without = log_softmax(ours), log_softmax(theirs)
        return self.settings.scale * (with_it - without) + without
