"""A row of a table as part of a question: templates, and fields within fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from triptych.core.errors import InputError
from triptych.core.messages import guess

FIELD = re.compile(r"\{([^{}]+)\}")
"""``{name}`` in a template."""


def filled(template: str, row: Mapping[str, Any], place: str) -> str:
    """A template in which ``{name}`` is that field of the row. Raises InputError."""
    return FIELD.sub(lambda match: str(field(row, match[1], place)), template)


def field(row: Mapping[str, Any], path: str, place: str) -> Any:
    """A field, or one within it: ``answers.text``; in a list, that of each. Raises InputError."""
    value: Any = row
    for name in path.split("."):
        value = (
            [_within(one, name, place) for one in value]
            if isinstance(value, list)
            else (_within(value, name, place))
        )
    return value


def label(row: Mapping[str, Any], path: str | None, place: str) -> str | None:
    """A field as the name of something; None without one."""
    value = None if path is None else field(row, path, place)
    return None if value is None else str(value)


def _within(value: Any, name: str, place: str) -> Any:
    if isinstance(value, Mapping) and name in value:
        return value[name]
    known = list(map(str, value)) if isinstance(value, Mapping) else []
    hint = guess(name, known)
    listed = f" (fields: {', '.join(known)})" if known else ""
    raise InputError(f"{place}: there is no field {name!r}{hint}{listed}")
