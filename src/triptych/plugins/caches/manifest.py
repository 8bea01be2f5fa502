"""The built-in cache policies."""

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl


@hookimpl
def caches() -> list[Component]:
    """Offer `full`, `window`, `key_norm` and `h2o`."""
    return [
        Component(
            name="full",
            target="triptych.plugins.caches.full:Full",
            summary="Keeps every token; one buffer, reserved once, extended in place.",
        ),
        Component(
            name="window",
            target="triptych.plugins.caches.window:Window",
            summary="Keeps the first tokens (sinks) and a sliding window of the last ones.",
            main="size",
        ),
        Component(
            name="key_norm",
            target="triptych.plugins.caches.key_norm:KeyNorm",
            summary="Keeps the keys with the smallest norms, the first tokens and the last ones.",
            main="size",
        ),
        Component(
            name="h2o",
            target="triptych.plugins.caches.h2o:H2O",
            summary="Keeps the tokens that received most attention, and the last ones.",
            main="size",
        ),
    ]
