"""A reference as texts: one, or several of which each is right."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.errors import InputError


def texts_of(item: Item) -> tuple[str, ...]:
    """The acceptable answers of an item; a number or a truth value as JSON writes it.

    Raises InputError for a reference that is neither a text nor a list of texts.
    """
    reference = item.reference
    several = reference if isinstance(reference, list | tuple) else (reference,)
    texts = tuple(map(_text, several))
    if not texts or None in texts:
        raise InputError(
            f"item {item.id!r}: the reference {reference!r} is neither a text nor a list of texts"
        )
    return tuple(text for text in texts if text is not None)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
