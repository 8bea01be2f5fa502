"""The packages of the extra `workbench`, and what is said where they are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from triptych.core.errors import TriptychError

PACKAGES = ("matplotlib", "pandas", "patsy", "pyarrow", "scipy", "statsmodels")


class MissingExtra(TriptychError):
    """A package that only the workbench needs is not installed."""


def require_extra(purpose: str) -> None:
    """Raise MissingExtra before long work at whose end a package would be missing."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise _missing(purpose, package)


@contextmanager
def workbench_extra(purpose: str) -> Iterator[None]:
    """Imports inside need the extra; `purpose` begins the sentence: ``"a report needs"``.

    Raises MissingExtra where one of `PACKAGES` is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise _missing(purpose, package) from error


def _missing(purpose: str, package: str) -> MissingExtra:
    return MissingExtra(f'{purpose} the package {package}: pip install "triptych[workbench]"')
