"""Files of this machine that a request names."""

from __future__ import annotations

import re
from pathlib import Path

from triptych.core.errors import InputError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
"""How an address begins, as opposed to a path."""


class LocalFile:
    """A path as a request gives it.

    name: the path. place: where it stands in the request. things: what it should hold, for
        messages, as in "pictures". error: what is raised.

    named: the place and the path, for messages.
    Raises `error` for an address, and for a path that is not text or that nothing is at.
    """

    def __init__(
        self, name: str | bytes, place: str, *, things: str, error: type[InputError]
    ) -> None:
        if isinstance(name, bytes):
            raise error(f"{place}: give a path as text, not as bytes")
        if ADDRESS.match(name):
            raise error(
                f"{place}: {name[:80]!r} is an address; {things} are not fetched from the "
                "network. Save it to a file and give its path, or give its bytes"
            )
        self.named = f"{place} ({name if name.isprintable() else ascii(name)})"
        self.path = Path(name)
        self._error = error
        try:
            self.is_folder = self.path.is_dir()
            if not self.is_folder and not self.path.exists():
                raise error(f"{self.named}: there is no such file")
            if not self.is_folder and not self.path.is_file():
                raise error(f"{self.named} is not a regular file")
        except (OSError, ValueError) as cause:
            raise self.unreadable(cause) from cause

    def unreadable(self, cause: Exception) -> InputError:
        """An error that says why it cannot be read."""
        reason = getattr(cause, "strerror", None) or cause
        return self._error(f"{self.named} cannot be read: {reason}")
