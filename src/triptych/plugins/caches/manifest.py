"""The built-in cache policies."""

from triptych.core.component import Component
from triptych.core.hookspecs import hookimpl


@hookimpl
def caches() -> list[Component]:
    """Offer `full`, `window` and `key_norm`."""
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
    ]
