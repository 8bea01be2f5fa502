"""What messages say of names: the nearest one, and those that are known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

KNOWN_SHOWN = 24
"""How many known names a message lists before it says how many more there are."""


def explained(cause: str, *, nearest: str | None, known: Sequence[str], hint: str | None) -> str:
    """A message of several lines: the cause, and below it, indented, what would be right."""
    lines = [cause]
    if nearest is not None:
        lines.append(f"did you mean {nearest!r}?")
    if hint is not None:
        lines.append(hint)
    if known:
        lines.append(f"known: {_listed(known)}")
    return "\n  ".join(lines)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name of `known` that `name` probably misspells, or None."""
    folded = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def guess(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'top_p'?``, for a message on one line; empty where nothing is near."""
    near = nearest(name, known)
    return "" if near in (None, name) else f"; did you mean {near!r}?"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:KNOWN_SHOWN])
    more = len(names) - KNOWN_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
