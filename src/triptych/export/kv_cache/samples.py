"""Prompts that every cache is measured on, always the same: texts of many kinds, and pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from triptych.core.ports import Array
from triptych.core.request import Request

TEXTS = (
    "Hello! Who are you, and what can you do for me?",
    (
        "The old lighthouse keeper climbed the stairs every evening at six, lit the lamp, and "
        "wrote down what he saw: three fishing boats, a grey sky, wind from the north. Continue."
    ),
    "Translate into French, German and Spanish: 'The train leaves in ten minutes.'",
    "def area(width: float, height: float) -> float:\n    return width * height\n\nWrite a test.",
    (
        '{"name": "Ada", "born": 1815, "papers": [{"title": "Notes", "pages": 66}], "living": '
        "false}\nTurn this into YAML."
    ),
    (
        "A shop sells pens at 1.25 and books at 7.80. What do 12 pens and 3 books cost, and how "
        "much is left of 50? Show each step: 12 * 1.25 = ?"
    ),
    "Wo liegt der Bodensee, und welche Länder grenzen an ihn? Antworte bitte in zwei Sätzen.",
    "请用三句话介绍一下长城的历史，并说明它为什么重要。",  # noqa: RUF001  # its own comma
    "Почему небо голубое, а закат красный? Объясни просто.",  # noqa: RUF001  # its own a
    "日本の四季について、短い詩を書いてください。",
    "اكتب فقرة قصيرة عن أهمية القراءة.",
    "<h1>Price list</h1><ul><li>tea 2.10</li><li>coffee 3.40</li></ul> -- which is cheaper?!",
    "SELECT city, COUNT(*) FROM people WHERE age >= 18 GROUP BY city ORDER BY 2 DESC LIMIT 5;",
    "aaaa bbbb aaaa bbbb 0000 1111 0000 1111 .... ???? !!!! \n\n\n\t\t the the the",
)
QUESTION = "Describe this image in detail."
SIDE = 256
"""Of a picture, in pixels."""


def sample_prompts() -> Iterator[Request]:
    """The texts, then the pictures, each with a question."""
    for text in TEXTS:
        yield Request(text=text)
    for picture in (_shapes(), _noise()):
        yield Request(text=QUESTION, images=[picture])


def _shapes() -> Array:
    """Flat areas with sharp edges over a slope of colours, u8 [SIDE, SIDE, 3]."""
    down, across = np.mgrid[0:SIDE, 0:SIDE]
    picture = np.stack([across, down, SIDE - 1 - across], axis=-1).astype(np.uint8)
    picture[SIDE // 8 : SIDE // 3, SIDE // 8 : SIDE // 2] = (220, 30, 30)
    disc = (down - 2 * SIDE // 3) ** 2 + (across - 2 * SIDE // 3) ** 2 < (SIDE // 5) ** 2
    picture[disc] = (250, 250, 250)
    picture[(down // 8 % 2 == 0) & (across < SIDE // 4) & (down > SIDE // 2)] = 0
    return picture


def _noise() -> Array:
    """Noise that is coarse on the left and fine on the right, u8 [SIDE, SIDE, 3]."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (SIDE // 16, SIDE // 32, 3), np.uint8)
    fine = random.integers(0, 256, (SIDE, SIDE // 2, 3), np.uint8)
    return np.concatenate([coarse.repeat(16, axis=0).repeat(16, axis=1), fine], axis=1)
