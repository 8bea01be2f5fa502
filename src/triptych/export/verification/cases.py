"""What the two sides are asked: made-up pictures and plain questions, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from triptych.core.errors import InputError
from triptych.core.prompt import Processor
from triptych.core.request import Request
from triptych.export.verification.case import Case
from triptych.export.verification.reference import Reference
from triptych.export.verification.tapped import TappedPipeline

# Heights and widths in pixels, by the case's name. None is a multiple of a usual patch's side
# in all of them, so that the processor has to resize.
PICTURES: Mapping[str, Sequence[tuple[int, int]]] = {
    "text only": (),
    "a square picture": ((190, 190),),
    "a tall and a wide picture": ((350, 70), (96, 260)),
    "three small pictures": ((32, 32), (128, 60), (30, 160)),
}
QUESTIONS = {
    0: "What is the capital of France, and what is it known for?",
    1: "Describe this image.",
    2: "What is the difference between the two?",
    3: "Which of these is the largest?",
}


def cases_for(pipeline: TappedPipeline, reference: Reference) -> Iterator[Case]:
    """Questions that the pipeline's processor takes; token ids where it has none that can be used.

    Also the reference's own text, whose tokens are drawn from the whole vocabulary.
    """
    random = np.random.default_rng(0)
    asked = [] if pipeline.processor is None else list(_asked(pipeline.processor, random))
    for case in reference.made_up(random):
        if not asked:
            yield case
        elif not case.prompt.media:
            yield Case("random tokens", case.prompt)
    yield from asked


def _asked(processor: Processor, random: np.random.Generator) -> Iterator[Case]:
    for name, sizes in PICTURES.items():
        if sizes and not processor.offers:
            continue
        images = [picture(height, width, random) for height, width in sizes]
        request = Request(QUESTIONS[len(sizes)], images=images)
        try:
            yield Case(name, processor.prompt(request), request)
        except InputError:
            # A template that has no place for so many pictures, say.
            continue


def picture(height: int, width: int, random: np.random.Generator) -> Image.Image:
    """A noisy gradient with a disc in another colour."""
    rows, columns = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    low, high, disc = random.uniform(0, 255, (3, 3))
    colours = low + (high - low) * (rows + columns) / 2
    inside = (rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.06  # noqa: PLR2004 - a quarter across
    colours = np.where(inside, disc, colours) + random.normal(0, 8, (height, width, 3))
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8), "RGB")
