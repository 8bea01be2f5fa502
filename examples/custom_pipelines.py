"""Pipelines of one's own, in Python: a stage from a file, and an ONNX file made by hand.

To run it::

    python examples/custom_pipelines.py
"""

from __future__ import annotations

from pathlib import Path

import triptych

HERE = Path(__file__).parent
QUESTION = "What color is the circle?"
CIRCLE = HERE / "images" / "circle.png"


def main() -> None:
    """Ask one question of three pipelines."""
    plain = triptych.load()
    print("as it is:        ", plain.generate(QUESTION, images=[CIRCLE]).text)

    pruned = triptych.load(
        plugins=[HERE / "plugins" / "keep_strongest.py"],
        insert=["after mrope: {local/keep_strongest: 0.75}"],
    )
    print("3 of 4 rows kept:", pruned.generate(QUESTION, images=[CIRCLE]).text)

    gray = triptych.load(HERE / "pipelines" / "grayscale.yaml")
    print("without colour:  ", gray.generate(QUESTION, images=[CIRCLE]).text)


if __name__ == "__main__":
    main()
