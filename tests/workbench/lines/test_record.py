"""A line of the output."""

import json

from hypothesis import given
from hypothesis import strategies as st

from triptych import InputError, Reply
from triptych.core.reply import Timings, Usage
from triptych.workbench.lines.batch_request import BatchRequest
from triptych.workbench.lines.record import read_record, record_of

REPLY = Reply("red", (5, 6), "eos", Usage(9, 4, 2), Timings(0.0, 0.0, 0.0, 0.0), 1, "one")


def test_a_reply_is_written_with_its_line_and_id():
    record = record_of(BatchRequest(3, None, id="one"), REPLY)
    document = json.loads(record.content)
    assert list(document)[:3] == ["line", "id", "text"]
    assert document == {"line": 3, **REPLY.to_dict()}
    assert (record.line, record.failed) == (3, False)


def test_an_error_is_written_with_its_line_and_id():
    record = record_of(BatchRequest(3, None, id="one"), InputError("there is no such file"))
    assert json.loads(record.content) == {
        "line": 3,
        "id": "one",
        "error": "there is no such file",
    }
    assert record.failed


def test_an_error_that_nobody_foresaw_has_its_kind():
    record = record_of(BatchRequest(3, None), KeyError("a"))
    assert json.loads(record.content) == {"line": 3, "error": "KeyError: 'a'"}


@given(
    name=st.none() | st.text(st.characters()), text=st.text(st.characters()), failed=st.booleans()
)
def test_every_record_is_one_line_of_utf_8_that_is_known_again(name, text, failed):
    question = BatchRequest(12, None, id=name)
    reply = Reply(text, (), "eos", REPLY.usage, REPLY.timings, 1)
    outcome = InputError(text) if failed else reply
    content = record_of(question, outcome).content
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 1
    document = json.loads(content.decode("utf-8"))
    assert document["error" if failed else "text"] == text
    assert document.get("id") == name
    assert read_record(content) == (12, failed)


def test_what_is_no_record_is_not_taken_for_one():
    for content in (b"", b"{}\n", b'{"line": 1}\n', b'{"text": "error", "line": 3}\n', b"\0" * 9):
        assert read_record(content) is None
