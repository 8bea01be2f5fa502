"""What this plugin offers. The classes are imported when a pipeline names them."""

import triptych


@triptych.hookimpl
def strategies():
    """Offer `__NAME__`."""
    return [
        triptych.Component(
            name="__NAME__",
            target="__TARGET__",
            summary="__SUMMARY__",
        )
    ]
