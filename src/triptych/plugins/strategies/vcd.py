"""Away from what the model would say of a picture that cannot be seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.ports import Array
from triptych.core.prompt import Media, Prompt, digest_of
from triptych.plugins.strategies.contrast import Contrast, Row

STEPS = 1000
"""Of the diffusion process that the noise is taken from."""
CHANNELS = 3


class VCD(Contrast):
    """Visual contrastive decoding (Leng et al., arXiv 2311.16922).

    (1 + alpha) * logits - alpha * logits', where logits' are those of the same prompt with noise in
    its pictures. Tokens with less than beta times the winner's probability are left out, as those
    that only the noise speaks for. The noise is that of `noise` steps of diffusion, the same for
    the same picture. With alpha and beta 0 nothing changes.
    """

    class Settings(core.Settings):
        """See the class. seed: of the noise."""

        alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False)
        beta: float = Field(default=0.1, ge=0, lt=1)
        noise: int = Field(default=500, ge=0, lt=STEPS)
        seed: int = Field(default=0, ge=0)

    branch = "vcd"
    neutral: ClassVar = {"alpha": 0.0, "beta": 0.0}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def edit(self, prompt: Prompt) -> Prompt:
        """The prompt with noise in its media."""
        return Prompt(prompt.tokens, tuple(self._noised(item) for item in prompt.media))

    def combine(self, ours: Row, theirs: Row) -> Row:
        """The difference, enlarged, of the plausible tokens."""
        alpha, beta = self.settings.alpha, self.settings.beta
        rows = (1 + alpha) * ours - alpha * theirs if alpha else ours
        if not beta:
            return rows
        return np.where(ours >= float(ours.max()) + math.log(beta), rows, -np.inf)

    def _noised(self, item: Media) -> Media:
        noise, seed = self.settings.noise, self.settings.seed
        digest = digest_of(item.digest, "diffusion noise", noise, seed)
        return Media(item.kind, digest, item.at, _noisy(item, noise, [seed, int(digest, 16)]))


def _noisy(item: Media, steps: int, seed: list[int]) -> Callable[[], Mapping[str, Array]]:
    def compute() -> Mapping[str, Array]:
        rng = np.random.default_rng(seed)
        return {
            name: _diffused(value, steps, rng) if value.dtype.kind == "f" else value
            for name, value in item.ports.items()
        }

    return compute


def _diffused(value: Array, steps: int, rng: np.random.Generator) -> Array:
    """sqrt(a) x + sqrt(1 - a) e: what is left of normalised pixels [patches, ...] after the steps.

    A picture of a model that also sees videos is two equal frames; they get equal noise.
    """
    left = signal_left(steps)
    noise = rng.standard_normal(value.shape, np.float32)
    if value[0].size % (CHANNELS * 2) == 0:
        pixels, drawn = (one.reshape(len(value), CHANNELS, 2, -1) for one in (value, noise))
        if np.array_equal(pixels[:, :, 0], pixels[:, :, 1]):
            drawn[:, :, 1] = drawn[:, :, 0]
    return (math.sqrt(left) * value + math.sqrt(1 - left) * noise).astype(value.dtype)


def signal_left(steps: int) -> float:
    """The product of 1 - b over the first steps and the next, b a sigmoid from 1e-5 to 5e-3."""
    places = np.linspace(-6, 6, STEPS)
    rates = (0.5e-2 - 1e-5) / (1 + np.exp(-places)) + 1e-5
    return float(np.prod(1 - rates[: steps + 1]))
