"""Processors that break one promise each."""

from dataclasses import replace

import numpy as np
from pydantic import field_validator

from triptych import InputError, Media, Port, Prompt, Settings
from triptych.core.prompt import digest_of
from triptych.testing import Subject

CELL = 28
PICTURE = 256


class Bytes:
    """A good processor to break: tokens are bytes, and a picture has a row per cell."""

    offers = (Port("pixel_values", "float32", ("patches", CELL * CELL * 3)),)
    eos_ids = frozenset({0})
    max_context = None

    def prompt(self, request):
        tokens, media = [], []
        for image in request.images:
            pixels = self.pixels(image)
            at = np.arange(len(tokens), len(tokens) + len(pixels))
            media.append(Media("image", self.digest(pixels), at, lambda p=pixels: self.ports(p)))
            tokens += [PICTURE] * len(pixels)
        return Prompt(np.array([*tokens, *self.encode(request.text)], np.int64), tuple(media))

    def pixels(self, image):
        if not isinstance(image, np.ndarray):
            raise InputError("only arrays are looked at")
        height, width, _ = image.shape
        cells = image.reshape(height // CELL, CELL, width // CELL, CELL, 3).swapaxes(1, 2)
        return cells.reshape(-1, CELL * CELL * 3)

    def digest(self, pixels):
        return digest_of(pixels.tobytes())

    def ports(self, pixels):
        return {"pixel_values": pixels.astype(np.float32)}

    def encode(self, text):
        return list(text.encode())

    def decode(self, tokens):
        return bytes(token for token in tokens if token < PICTURE).decode(errors="replace")


class Grows(Bytes):
    class Settings(Settings):
        amount: float

        @field_validator("amount")
        @classmethod
        def _twice(cls, value):
            return 2 * value

    def __init__(self, settings):
        pass


class EndsInAList(Bytes):
    eos_ids = [0]  # noqa: RUF012 - the fault


class ShortTokens(Bytes):
    def prompt(self, request):
        prompt = super().prompt(request)
        return replace(prompt, tokens=prompt.tokens.astype(np.int32))


class EmptyAnswer(Bytes):
    def prompt(self, request):
        prompt = super().prompt(request)
        return prompt if prompt.media else Prompt(prompt.tokens[:0])


class Doubles(Bytes):
    def ports(self, pixels):
        return {"pixel_values": pixels.astype(np.float64)}


class KnowsSizesOnly(Bytes):
    def digest(self, pixels):
        return digest_of(pixels.shape)


class Shouts(Bytes):
    def decode(self, tokens):
        return super().decode(tokens).upper()


class WipesThePicture(Bytes):
    def pixels(self, image):
        pixels = super().pixels(image).copy()
        image[:] = 0
        return pixels


class Noisy(Bytes):
    def ports(self, pixels):
        noise = np.random.standard_normal(pixels.shape)  # noqa: NPY002
        return {"pixel_values": (pixels + noise).astype(np.float32)}


class Counts(Bytes):
    count = 0

    def prompt(self, request):
        prompt = super().prompt(request)
        self.count += 1
        return replace(prompt, tokens=np.append(prompt.tokens, self.count))


class FailsOnBytes(Bytes):
    def pixels(self, image):
        return super().pixels(np.asarray(image))


BROKEN = [
    ("settings_round_trip", Subject("processor", Grows, {"amount": 1.0})),
    ("sound_declaration", Subject("processor", EndsInAList)),
    ("sound_prompt", Subject("processor", ShortTokens)),
    ("never_empty", Subject("processor", EmptyAnswer)),
    ("declared_ports", Subject("processor", Doubles)),
    ("unique_ids", Subject("processor", KnowsSizesOnly)),
    ("text_round_trip", Subject("processor", Shouts)),
    ("inputs_unchanged", Subject("processor", WipesThePicture)),
    ("determinism_by_seed", Subject("processor", Noisy)),
    ("row_isolation", Subject("processor", Counts)),
    ("refuses_kindly", Subject("processor", FailsOnBytes)),
]
