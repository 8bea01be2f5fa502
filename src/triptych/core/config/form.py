"""What every file with a `format` has in common: a pipeline, a sweep, a recipe."""

from __future__ import annotations

from pathlib import Path

from triptych.core.config.kept_tree import read_kept
from triptych.core.config.nodes import LARGEST, Node, shown
from triptych.core.config_error import ConfigError, Where


def read_form(file: Path, what: str, version: int) -> Node:
    """The mapping in a YAML file; see `check_form`. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            # One byte more than allowed shows that there is too much.
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(Where(str(file)), f"cannot be read: {error.strerror}") from None
    return check_form(read_kept(content, str(file)), str(file), what, version)


def check_form(document: Node | None, source: str, what: str, version: int) -> Node:
    """The same document, which is a mapping whose `format` is one that this release reads.

    document: None for an empty file. source: what messages call it. what: what it says, as in
    ``"a pipeline"``. version: of the format. Raises ConfigError.
    """
    begin = f"{what} begins with 'format: {version}'"
    if document is None or document.value is None:
        raise ConfigError(Where(source, 1, 1), "the file is empty", hint=begin)
    if document.items is None:
        cause = f"{shown(document.value)} is not a mapping: {begin}"
        raise ConfigError(document.where, cause)
    if "format" not in document.items:
        where = document.where.under("format")
        raise ConfigError(where, "this key must be given", hint=begin)
    found = document.child("format")
    if found.value != version or isinstance(found.value, bool):
        newer = isinstance(found.value, int) and found.value > version
        raise ConfigError(
            found.where,
            f"{shown(found.value)} is not a format that this Triptych reads",
            hint="upgrade triptych" if newer else f"write 'format: {version}'",
        )
    return document
