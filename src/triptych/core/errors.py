"""The one base of every error that Triptych raises on purpose."""

from __future__ import annotations

from typing import ClassVar


class TriptychError(Exception):
    """Something a person should read: ``str(error)`` is the whole message.

    A message says what is wrong, where, and what would be right. Subclasses live beside
    the code that raises them.
    """

    exit_code: ClassVar[int] = 2
    """Process exit code: 2 for what the user can mend, 1 for the rest."""


class InputError(TriptychError):
    """A request that cannot be served as it is: a wrong image, text or setting."""


class PluginError(TriptychError):
    """A component broke its contract or raised; the message names it and its owner."""

    exit_code = 1


def words_of(error: Exception) -> str:
    """What was raised on purpose speaks for itself; anything else is named, too."""
    return str(error) if isinstance(error, TriptychError) else f"{type(error).__name__}: {error}"
