"""What this package offers."""

import triptych


@triptych.hookimpl
def samplers():
    """Offer `curves/quadratic`."""
    return [
        triptych.Component(
            name="quadratic",
            target="triptych_curves.quadratic:Quadratic",
            summary="Bends the logits into a parabola below the largest.",
            main="factor",
            role="warp",
        )
    ]
