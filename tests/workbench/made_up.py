"""Data and metrics for tests of ablations, given as a plugin file."""

import os
import time

import numpy as np
from pydantic import Field

from triptych import Component, Item, Request, Settings, hookimpl
from triptych.core.errors import InputError

COUNTRIES = ("France", "Italy", "Spain", "Germany", "Japan", "Egypt", "Peru", "Kenya")


@hookimpl
def datasets():
    return [
        Component("few", ":Few", "a few questions", main="count"),
        Component("torn", ":Torn", "fails after one item"),
        Component("loose", ":Loose", "no items"),
    ]


@hookimpl
def metrics():
    return [
        Component("length", ":Length", "letters of an answer"),
        Component("process", ":Process", "which process answered"),
        Component("as_base", ":AsBase", "whether the base said the same"),
        Component("fussy", ":Fussy", "fails at one item", main="item"),
        Component("picky", ":Fussy", "the same under another name", main="item"),
        Component("endless", ":Endless", "no finite number"),
        Component("faulty", ":Faulty", "a bug at one item"),
        Component("moody", ":Moody", "a name of its own for each item"),
        Component("slow", ":Slow", "takes its time"),
    ]


class Few:
    """Questions with and without a picture; two about each picture."""

    class Settings(Settings):
        count: int = 4
        pictures: bool = False
        broken: tuple[int, ...] = Field(default=(), strict=False)
        changed: bool = False

    def __init__(self, settings):
        self.settings = settings

    def __iter__(self):
        for index in range(self.settings.count):
            country = COUNTRIES[index % len(COUNTRIES)]
            text, images, cluster = f"What is the capital of {country}?", (), None
            if self.settings.pictures:
                shade = index // 2 * 40
                images = (np.full((64, 64, 3), (shade, 200 - shade, 90), np.uint8),)
                text = ("What color is it?", "What shape is it?")[index % 2]
                cluster = f"picture {index // 2}"
            if index in self.settings.broken:
                images = ("nowhere.png",)
            reference = {"country": country} if self.settings.changed else country
            yield Item(f"q{index}", Request(text, images=images), reference, cluster, "capital")


class Torn:
    def __iter__(self):
        yield Item("q0", Request("What is the capital of France?"), "Paris")
        raise OSError("the disk is gone")


class Loose:
    def __iter__(self):
        yield {"text": "What is the capital of France?"}


class Length:
    def __call__(self, item, answer):
        return {"letters": len(answer.reply.text)}


class Process:
    measures = "time"
    lower_is_better = ("seconds",)

    def __call__(self, item, answer):
        return {
            "process": os.getpid(),
            "cached": answer.reply.usage.cached_tokens,
            "seconds": answer.reply.timings.decode,
        }


class AsBase:
    needs_base = True

    def __call__(self, item, answer):
        base = answer.base
        return {"same": 1.0 if base is None else float(base.tokens == answer.reply.tokens)}


class Faulty:
    def __call__(self, item, answer):
        return {"found": {"q0": 1.0}[item.id]}


class Moody:
    def __call__(self, item, answer):
        return {item.id: 1.0}


class Fussy:
    class Settings(Settings):
        item: str = "q1"

    def __init__(self, settings):
        self.item = settings.item

    def __call__(self, item, answer):
        if item.id == self.item:
            raise InputError(f"{item.id} is not to my taste")
        return {"taste": 1.0}


class Endless:
    def __call__(self, item, answer):
        return {"endless": float("inf")}


class Slow:
    def __call__(self, item, answer):
        time.sleep(0.02)
        return {"slow": float(len(answer.reply.tokens))}
