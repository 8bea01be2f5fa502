"""What this package offers."""

import triptych


@triptych.hookimpl
def stages():
    """Offer `thinning/background`."""
    return [
        triptych.Component(
            name="background",
            target="thinning.background:Background",
            summary="Drops the visual rows that are nearest to the mean of all.",
            main="ratio",
        )
    ]
