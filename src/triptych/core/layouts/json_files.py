"""The small JSON files of a model's folder, and what is wrong with a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from triptych.core.config_error import ConfigError, Where

LARGEST = 16 * 2**20
"""The largest JSON file that is read, in bytes."""


def json_object(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no such file. Raises ConfigError."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > LARGEST:
            raise problem(path, f"is larger than {LARGEST:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise problem(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise problem(path, f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise problem(path, "must hold a JSON object")
    return value


def problem(
    path: Path, cause: str, *, hint: str | None = None, known: Iterable[str] = ()
) -> ConfigError:
    """The error about a folder, or a file of it."""
    return ConfigError(Where(str(path)), cause, hint=hint, known=known)
