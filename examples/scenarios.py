"""Four ways to use one pipeline, in Python.

    python examples/scenarios.py

Text only and greedy; an image described, sampled; colours at a low temperature; a pattern at a
high one. The YAML files in `examples/pipelines/` do the same from the command line.
"""

from __future__ import annotations

from pathlib import Path

import triptych

IMAGES = Path(__file__).parent / "images"

SCENARIOS = [
    ("text only, greedy", "What is the capital of France?", None, {"no_sample": True}),
    (
        "an image, sampled",
        "Describe this image.",
        "scene.png",
        {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    ),
    (
        "colours, cool",
        "What colors are in this image?",
        "scene.png",
        {"temperature": 0.3, "top_p": 0.8},
    ),
    (
        "a pattern, warm",
        "What pattern is this?",
        "checkerboard.png",
        {"temperature": 1.2, "top_k": 20, "top_p": 0.95},
    ),
]


def main() -> None:
    """Stream each scenario's reply."""
    pipe = triptych.load()
    for title, question, image, settings in SCENARIOS:
        images = [IMAGES / image] if image else []
        print(f"{title}: {question}")
        with pipe.stream(question, images=images, seed=7, max_new_tokens=60, **settings) as stream:
            for piece in stream:
                print(piece.text, end="", flush=True)
            reply = stream.reply
        print(f"\n  {reply.finish_reason} after {reply.usage.completion_tokens} tokens\n")


if __name__ == "__main__":
    main()
