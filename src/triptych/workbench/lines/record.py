"""A line of the output: the reply to a line of the input, or why it has none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from triptych.core.errors import words_of
from triptych.core.reply import Reply
from triptych.workbench.lines.batch_request import BatchRequest

_FORM = re.compile(rb'\{"line": (\d+), (?:"id": "(?:[^"\\]|\\.)*", )?"(text|error)": "')
"""How every record begins; what follows need not be read to go on after it."""


@dataclass(frozen=True)
class Record:
    """line: the number of the input's. content: JSON and a newline, UTF-8. failed: an error."""

    line: int
    content: bytes
    failed: bool


def record_of(asked: BatchRequest, outcome: Reply | Exception) -> Record:
    """The record of a request that was answered, or was not."""
    if isinstance(outcome, Reply):
        said = outcome.to_dict()
        failed = False
    else:
        said = {"error": words_of(outcome)}
        failed = True
    said.pop("id", None)
    named = {} if asked.id is None else {"id": asked.id}
    text = json.dumps({"line": asked.line, **named, **said}, ensure_ascii=False)
    # Half of a surrogate pair, which JSON may spell out, is spelled out again.
    content = f"{text}\n".encode(errors="backslashreplace")
    return Record(asked.line, content, failed)


def read_record(content: bytes) -> tuple[int, bool] | None:
    """The line that a record is of, and whether it failed; None for what is no record."""
    found = _FORM.match(content)
    return None if found is None else (int(found[1]), found[2] == b"error")
