"""What this plugin offers. The classes are imported when a pipeline names them."""

import triptych


@triptych.hookimpl
def datasets():
    """Offer `__NAME__`."""
    return [
        triptych.Component(
            name="__NAME__",
            target="__TARGET__",
            summary="__SUMMARY__",
            main="count",
        )
    ]
