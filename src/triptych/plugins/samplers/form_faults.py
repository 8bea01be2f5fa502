"""What is wrong with a form, in words that need no knowledge of the library that read it."""

from __future__ import annotations

import re
from collections.abc import Callable

_LONGEST = 300
"""Characters of a cause; the library may repeat the whole grammar."""

_TRACE = re.compile(r"<state>.*", re.DOTALL)
_REGEX = (re.compile(r"^ *error: (.+)$", re.MULTILINE), re.compile(r"\(in regex\): ([^\n;]+)"))
"""Where the cause stands in what is said of a regular expression: the first that is there."""
_PLACE = re.compile(r"(at )?(?P<line>\d+)\((?P<column>\d+)\): (?P<cause>[^\n]+)")
_TOKEN_KIND = re.compile(r" \(at .*\)$| \('[^']*'\)")

_SCHEMA: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"Resource '(?P<name>[^']*)' is not present",
        lambda found: (
            f"it refers to {found['name']!r}, and nothing is fetched; write that into its '$defs'"
        ),
    ),
    (
        r"Pointer '(?P<name>[^']*)' does not exist",
        lambda found: f"it refers to {found['name']!r}, which is not there",
    ),
    (
        r"Unimplemented keys: \[(?P<keys>.*)\]",
        lambda found: f"what it says by {found['keys']} cannot be held to; leave that out",
    ),
    (r"Unsatisfiable schema: (?P<why>.*)", lambda found: f"nothing fits it: {found['why']}"),
    (r"recursion", lambda _: "it is nested too deeply"),
    (r"Expecting object schema", lambda _: "nothing fits it"),
    (
        r"Expected \w+ for (?P<key>'[^']*'), got (?P<value>.*)",
        lambda found: f"{found['key']} cannot be {found['value']}",
    ),
)
"""What a JSON Schema may have wrong, by what the library says of it."""

_CROWDED = re.compile(r"has (?P<count>\d+) items; max is (?P<most>\d+)")

NAMES = {
    "json_schema": "the schema",
    "regex": "the regular expression",
    "lark": "the grammar",
    "choices": "one of the choices",
}
"""The forms, as a message names them."""


def explained(form: str, fault: str) -> str:
    """What is wrong. form: one of `NAMES`. fault: as the library says it."""
    fault = _TRACE.sub("", fault).strip()
    name, crowded = NAMES[form], _CROWDED.search(fault)
    if crowded is not None:
        return (
            f"{name} leaves too many ways open at once: {crowded['count']}, where "
            f"{crowded['most']} are followed at most"
        )
    cause = _of_schema(fault) if form == "json_schema" else None
    if cause is None:
        cause = _of_text(form, fault)
    return f"{name} cannot be used: {' '.join(cause.split())}"[:_LONGEST]


def _of_schema(fault: str) -> str | None:
    for pattern, said in _SCHEMA:
        found = re.search(pattern, fault)
        if found is not None:
            return said(found)
    return None


def _of_text(form: str, fault: str) -> str:
    """The cause without what the library wraps around it; of a grammar with its place."""
    place = _PLACE.match(fault)
    inner = next((found for pattern in _REGEX if (found := pattern.search(fault))), None)
    if inner is not None:
        cause = inner[1]
    elif place is not None:
        cause = _TOKEN_KIND.sub("", place["cause"]).replace("lexer error", "this is no token")
    else:
        cause = fault if fault not in ("", "NoExtensionBias") else "nothing fits it"
    cause = cause[0].lower() + cause[1:]
    if form == "lark" and place is not None:
        return f"line {place['line']}, column {place['column']}: {cause}"
    return cause
