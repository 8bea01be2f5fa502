"""A generation ends where its rules say, and shows text that no later token changes."""

import numpy as np
import pytest

from triptych.core.prompt import Prompt
from triptych.core.sampling import Chain
from triptych.core.sequences.generation import RunningGeneration, StopRules
from triptych.core.sequences.sequence import Sequence
from triptych.plugins.samplers.greedy import Greedy

EOS = 99
WORDS = {1: "one ", 2: "two ", 3: "three", 4: "\N{EURO SIGN}"[:1], 99: ""}


class Words:
    """Tokens are words; 50, 51 and 52 are the bytes of one character."""

    eos_ids = frozenset({EOS})

    def decode(self, tokens):
        text = b"".join(
            bytes([0xE2, 0x82, 0xAC][token - 50 : token - 49])
            if 50 <= token <= 52
            else WORDS[token].encode()
            for token in tokens
        )
        return text.decode(errors="replace")


def generation(*, room=100, **stop):
    rules = {"eos_ids": frozenset({EOS}), "strings": (), "max_new_tokens": 50, **stop}
    prompt = Prompt(np.array([1]))
    sequence = Sequence(room)
    sequence.append([1])
    return RunningGeneration(
        prompt,
        sequence,
        Chain([Greedy()], seed=0),
        processor=Words(),
        stop=StopRules(**rules),
        branches={},
        new_sequence=lambda: Sequence(room),
    )


def emit(run, tokens):
    """How many of the tokens were taken before it ended."""
    for count, token in enumerate(tokens, start=1):
        run.sequence.append([token])
        if run.emit(token):
            return count
    return None


def shown(run):
    pieces = list(run.pieces)
    assert "".join(piece.text for piece in pieces) == run.text
    assert [token for piece in pieces for token in piece.tokens] == run.tokens
    return [piece.text for piece in pieces]


def test_an_end_token_ends_it_and_is_no_part_of_it():
    run = generation()
    assert emit(run, [1, 2, EOS, 3]) == 3
    assert (run.finish_reason, run.tokens, run.text) == ("eos", [1, 2], "one two ")
    assert shown(run) == ["one ", "two "]


def test_any_of_several_end_tokens_ends_it():
    run = generation(eos_ids=frozenset({EOS, 3}))
    assert emit(run, [1, 3]) == 2
    assert run.finish_reason == "eos"


def test_it_ends_after_so_many_tokens():
    run = generation(max_new_tokens=3)
    assert emit(run, [1, 2, 3, 1]) == 3
    assert (run.finish_reason, run.text) == ("length", "one two three")


def test_an_end_token_at_the_limit_is_an_end_token():
    run = generation(max_new_tokens=2)
    assert emit(run, [1, EOS]) == 2
    assert run.finish_reason == "eos"


def test_it_ends_where_the_sequence_is_full():
    run = generation(room=4)
    assert emit(run, [1, 2, 3, 1]) == 3
    assert (run.finish_reason, len(run.tokens)) == ("length", 3)


def test_a_stop_string_that_spans_tokens_ends_it_and_is_not_shown():
    run = generation(strings=("e tw",))
    assert emit(run, [3, 1, 2, 3]) == 3
    assert (run.finish_reason, run.text) == ("stop", "threeon")
    assert run.tokens == [3, 1, 2], "the tokens are those that were chosen"
    assert shown(run) == ["thre", "eon", ""]


def test_what_only_begins_a_stop_string_is_shown_when_it_goes_on_otherwise():
    run = generation(strings=("two three",))
    assert emit(run, [1, 2]) is None
    assert shown_tokens(run) == [("one ", (1,))]
    assert emit(run, [1]) is None
    assert shown_tokens(run) == [("one ", (1,)), ("two one ", (2, 1))]


def test_what_only_begins_a_stop_string_is_shown_at_the_end():
    run = generation(strings=("two three",))
    assert emit(run, [1, 2, EOS]) == 3
    assert (run.finish_reason, run.text) == ("eos", "one two ")


def test_a_stop_string_at_the_limit_is_a_stop_string():
    run = generation(strings=("two",), max_new_tokens=2)
    assert emit(run, [1, 2]) == 2
    assert (run.finish_reason, run.text) == ("stop", "one ")


def test_a_character_of_several_tokens_is_shown_whole():
    run = generation()
    assert emit(run, [1, 50, 51]) is None
    assert shown_tokens(run) == [("one ", (1,))]
    assert emit(run, [52]) is None
    assert shown_tokens(run) == [("one ", (1,)), ("\N{EURO SIGN}", (50, 51, 52))]


def shown_tokens(run):
    return [(piece.text, piece.tokens) for piece in run.pieces]


def test_half_a_character_at_the_end_is_shown_as_such():
    run = generation(max_new_tokens=3)
    assert emit(run, [1, 50, 51]) == 3
    assert run.text == "one \N{REPLACEMENT CHARACTER}"
    shown(run)


@pytest.mark.parametrize(("end", "reason"), [(EOS, "eos"), (None, "cancelled")])
def test_tokens_after_the_end_change_nothing(end, reason):
    run = generation()
    emit(run, [1])
    if end is None:
        run.cancel()
    else:
        run.emit(end)
    assert run.emit(2)
    assert run.emit(EOS)
    run.cancel()
    assert (run.finish_reason, run.tokens, run.text) == (reason, [1], "one ")
    shown(run)


def test_a_cancelled_generation_shows_what_was_held_back():
    run = generation(strings=("two three",))
    emit(run, [1, 2])
    run.cancel()
    assert (run.finish_reason, run.text) == ("cancelled", "one two ")


def test_tokens_without_text_are_told_with_the_next_text_or_at_the_end():
    run = generation(max_new_tokens=2)
    WORDS[60] = ""
    emit(run, [60, 60])
    assert shown_tokens(run) == [("", (60, 60))]


def test_a_branch_follows_its_prompt_and_is_kept():
    run = generation()
    first = run.branch("other", lambda prompt: Prompt(prompt.tokens + 4))
    assert first is run.branch("other", lambda prompt: Prompt(np.array([5, 6])))
    assert first.tokens.tolist() == [5, 6]
    assert run.branch("third", lambda prompt: prompt).tokens.tolist() == [1]
