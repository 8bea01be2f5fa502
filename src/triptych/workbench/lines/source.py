"""The lines of the input, one after the other, however many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from triptych.core.errors import InputError

LARGEST = 256 * 2**20
"""Bytes of a line that is read; pictures and videos may stand in it."""

_BOM = b"\xef\xbb\xbf"
_STEP = 2**20


@dataclass(frozen=True)
class Line:
    """A line that is not blank. number: counted from 1, blank ones too.

    content: None where it is longer than `LARGEST`. end: bytes of the input up to its end.
    """

    number: int
    content: bytes | None
    end: int


@dataclass(frozen=True)
class Fingerprint:
    """What a file held: its first `size` bytes, and their SHA-256."""

    size: int
    sha256: str


def lines_of(file: IO[bytes], *, after: int = 0) -> Iterator[Line]:
    """The lines of a file with a higher number than `after`; only one is in memory at a time."""
    number, end = 0, 0
    while content := file.readline(LARGEST + 1):
        number += 1
        end += len(content)
        whole: bytes | None = content
        if len(content) > LARGEST:
            whole = None
            while content and not content.endswith(b"\n"):
                content = file.readline(_STEP)
                end += len(content)
        elif number == 1:
            whole = content.removeprefix(_BOM)
        if number > after and (whole is None or whole.strip()):
            yield Line(number, whole, end)


def fingerprint(path: Path, known: Fingerprint | None = None) -> tuple[Fingerprint, bool]:
    """What a file holds now; and whether it begins with whole lines that are `known`.

    Raises InputError when it cannot be read.
    """
    digest = hashlib.sha256()
    size, same, ended = 0, known is None or known.size == 0, True
    try:
        with path.open("rb") as file:
            while True:
                left = _STEP if known is None or size >= known.size else known.size - size
                step = file.read(min(_STEP, left))
                if not step:
                    break
                if known is not None and size == known.size and not ended:
                    # Or what was its last line goes on now.
                    same = same and step.startswith((b"\n", b"\r\n"))
                digest.update(step)
                size += len(step)
                ended = step.endswith(b"\n")
                if known is not None and size == known.size:
                    same = digest.hexdigest() == known.sha256
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return Fingerprint(size, digest.hexdigest()), same
