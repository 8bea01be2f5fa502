"""What reads features from the disk."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def stages() -> list[Component]:
    """Offer `features`."""
    return [
        Component(
            name="features",
            target="triptych.plugins.features.features:Features",
            summary="Features of images from files, found by the images' content.",
            main="folder",
        )
    ]
