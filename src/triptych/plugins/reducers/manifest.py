"""The built-in visual-token reducers."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

FOLDER = "triptych.plugins.reducers"


@hookimpl
def stages() -> list[Component]:
    """Offer the reducers."""
    return [
        Component(
            name="token_random",
            target=f"{FOLDER}.token_random:TokenRandom",
            summary="Keeps visual tokens at random, the same ones of a picture every time.",
            main="ratio",
        ),
        Component(
            name="token_grid",
            target=f"{FOLDER}.token_grid:TokenGrid",
            summary="Keeps visual tokens on an even grid.",
            main="ratio",
        ),
        Component(
            name="token_norm",
            target=f"{FOLDER}.token_norm:TokenNorm",
            summary="Keeps the visual tokens with the largest norms.",
            main="ratio",
        ),
        Component(
            name="token_merge",
            target=f"{FOLDER}.token_merge:TokenMerge",
            summary="Merges visual tokens that are alike (ToMe).",
            main="ratio",
        ),
        Component(
            name="visionzip",
            target=f"{FOLDER}.visionzip:VisionZip",
            summary="Keeps the visual tokens that the encoder attends to, and merges the others.",
        ),
        Component(
            name="fastv",
            target=f"{FOLDER}.fastv:FastV",
            summary="Drops visual tokens inside a split decoder that the question pays no heed.",
        ),
        Component(
            name="evs",
            target=f"{FOLDER}.evs:EVS",
            summary="Drops tokens of a video that hardly change from one step to the next.",
            main="ratio",
        ),
    ]
