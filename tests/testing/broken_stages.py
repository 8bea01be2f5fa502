"""Stages that break one promise each."""

import numpy as np
from pydantic import field_validator

from triptych import Port, Settings, When
from triptych.testing import Subject

FEATURES = Port("image_features", "float32", ("N", "H"))
EMBEDS = Port("inputs_embeds", "float32", ("B", "S", "H"))


class Brighter:
    """A good stage to break: it adds a constant to the features."""

    when = When.INPUT
    whole = False
    reads = (FEATURES,)
    writes = (FEATURES,)
    cache_pairs = ()

    def __call__(self, ports):
        return {"image_features": ports["image_features"] + 1}


class Grows(Brighter):
    class Settings(Settings):
        amount: float

        @field_validator("amount")
        @classmethod
        def _twice(cls, value):
            return 2 * value

    def __init__(self, settings):
        pass


class SaysWhenInWords(Brighter):
    when = "input"


class Doubles(Brighter):
    def __call__(self, ports):
        return {"image_features": ports["image_features"].astype(np.float64)}


class KeepsNothing(Brighter):
    writes = (Port("keep_rows", "bool", ("N",)),)

    def __call__(self, ports):
        return {"keep_rows": np.zeros(len(ports["image_features"]), bool)}


class MergesIntoWhatGoes(Brighter):
    writes = (Port("merge_rows", "int64", ("N",)), Port("merge_weights", "float32", ("N",)))

    def __call__(self, ports):
        count = len(ports["image_features"])
        target = np.maximum(np.arange(count) - 1, 0)
        return {"merge_rows": target, "merge_weights": np.ones(count, np.float32)}


class InPlace(Brighter):
    def __call__(self, ports):
        ports["image_features"][:] += 1
        return ports


class Noisy(Brighter):
    def __call__(self, ports):
        features = ports["image_features"]
        noise = np.random.standard_normal(features.shape)  # noqa: NPY002
        return {"image_features": features + noise.astype(np.float32)}


class Remembers(Brighter):
    def __init__(self):
        self.mean = np.float32(0)

    def __call__(self, ports):
        before, self.mean = self.mean, ports["image_features"].mean()
        return {"image_features": ports["image_features"] - before}


class CentresTheBatch(Brighter):
    when = When.SPAN
    reads = (EMBEDS,)
    writes = (EMBEDS,)

    def __call__(self, ports):
        embeds = ports["inputs_embeds"]
        return {"inputs_embeds": embeds - embeds.mean()}


class CentresThePictures(Brighter):
    reads = (Port("pixel_values", "float32", ("patches", 16)),)
    writes = (Port("pixel_values", "float32", ("patches", 16)),)

    def __call__(self, ports):
        return {"pixel_values": ports["pixel_values"] - ports["pixel_values"].mean()}


class NotQuite(Brighter):
    neutral = {}  # noqa: RUF012 - as a plugin writes it


BROKEN = [
    ("settings_round_trip", Subject("stage", Grows, {"amount": 1.0})),
    ("sound_declaration", Subject("stage", SaysWhenInWords)),
    ("declared_ports", Subject("stage", Doubles)),
    ("never_empty", Subject("stage", KeepsNothing)),
    ("sound_merge", Subject("stage", MergesIntoWhatGoes)),
    ("inputs_unchanged", Subject("stage", InPlace)),
    ("determinism_by_seed", Subject("stage", Noisy)),
    ("no_state", Subject("stage", Remembers)),
    ("row_isolation", Subject("stage", CentresTheBatch)),
    ("row_isolation", Subject("stage", CentresThePictures)),
    ("neutral_is_identity", Subject("stage", NotQuite)),
]
