"""Places in a pipeline file, and the one error that a wrong configuration raises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError
from triptych.core.messages import explained, nearest


@dataclass(frozen=True)
class Where:
    """A place in a configuration.

    source: the file as the user named it, or the flag or keyword (``--set sampler.top_p=2``).
    line, column: counted from 1; None for flags and for values that nobody wrote.
    path: dotted, with the labels of items: ``sampler.top_p.p``; empty for the whole file.
    """

    source: str
    line: int | None = None
    column: int | None = None
    path: str = ""

    def under(self, *keys: str | int) -> Where:
        """The same line and column, `keys` further down the path."""
        path = self.path
        for key in keys:
            step = f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
            path += step
        return replace(self, path=path)

    def __str__(self) -> str:
        """``file:line:column: path`` without the parts that are unknown."""
        place = self.source
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        return f"{place}: {self.path}" if self.path else place


class ConfigError(TriptychError):
    """Something in a pipeline file, flag or keyword is wrong.

    The message is ``place: cause``, and below it, indented, what would be right::

        pipeline.yaml:9:5: sampler.tpo_p: there is no sampler 'tpo_p'
          did you mean 'top_p'?
          known: draw, greedy, temperature, top_k, top_p

    nearest: the known name that was probably meant. known: all names that are possible here.
    hint: the remedy, where a name is not it. exit_code: 1 where a plugin is to blame.
    """

    def __init__(
        self,
        where: Where,
        cause: str,
        *,
        nearest: str | None = None,
        known: Iterable[str] = (),
        hint: str | None = None,
        exit_code: int = 2,
    ) -> None:
        self.where = where
        self.cause = cause
        self.nearest = nearest
        self.known = list(known)
        self.hint = hint
        self.exit_code = exit_code  # type: ignore[misc]  # a class constant in most errors
        super().__init__(
            explained(f"{where}: {cause}", nearest=nearest, known=self.known, hint=hint)
        )

    @property
    def file(self) -> str:
        """The file, flag or keyword."""
        return self.where.source

    @property
    def line(self) -> int | None:
        """Counted from 1."""
        return self.where.line

    @property
    def column(self) -> int | None:
        """Counted from 1."""
        return self.where.column

    @property
    def path(self) -> str:
        """Dotted, with the labels of items."""
        return self.where.path


def unknown(where: Where, cause: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a `name` that is none of `known`."""
    names = list(known)
    return ConfigError(where, cause, nearest=nearest(name, names), known=names)
