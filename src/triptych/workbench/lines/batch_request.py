"""A line of the input as a request that a worker answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.core.errors import InputError
from triptych.core.request import Request
from triptych.core.requests.request_json import parse_object, request_of
from triptych.workbench.lines.source import LARGEST, Line

_SEED_BYTES = 4


@dataclass(frozen=True)
class BatchRequest:
    """line: its number. request: what it asks; None where `error` says why it cannot be asked."""

    line: int
    request: Request | None
    error: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Reading:
    """How lines are read.

    folder: where relative paths start. settings: those of a call, for lines that do not say
    another value. seed: what the seeds of lines without one are made of.
    """

    folder: Path
    settings: Mapping[str, Any]
    seed: int = 0

    def request(self, line: Line) -> BatchRequest:
        """What a line asks, or what is wrong with it. No file is opened."""
        if line.content is None:
            remedy = "name pictures and videos by their paths"
            return BatchRequest(
                line.number, None, f"the line has more than {LARGEST:,} bytes; {remedy}"
            )
        try:
            document = parse_object(line.content)
        except InputError as error:
            return BatchRequest(line.number, None, f"the line {error}")
        try:
            request = request_of(document, self.folder)
        except InputError as error:
            name = document.get("id")
            return BatchRequest(
                line.number, None, str(error), name if isinstance(name, str) else None
            )
        settings = {**self.settings, **request.settings}
        if settings.get("seed") is None:
            settings["seed"] = seed_of(self.seed, line.number)
        return BatchRequest(line.number, replace(request, settings=settings), id=request.id)


def seed_of(seed: int, line: int) -> int:
    """The seed of a line that has none: 32 bits, as far from its neighbours' as from any other."""
    digest = hashlib.sha256(f"{seed} {line}".encode("ascii")).digest()
    return int.from_bytes(digest[:_SEED_BYTES], "big")
