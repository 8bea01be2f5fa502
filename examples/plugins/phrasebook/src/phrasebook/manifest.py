"""What this package offers."""

import triptych


@triptych.hookimpl
def strategies():
    """Offer `phrasebook/phrases`."""
    return [
        triptych.Component(
            name="phrases",
            target="phrasebook.phrases:Phrases",
            summary="Drafts phrases that replies often have, and verifies them in one pass.",
            main="phrases",
        )
    ]
