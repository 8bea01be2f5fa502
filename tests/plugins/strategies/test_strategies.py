"""Prompt lookup gives the tokens of plain decoding, in fewer passes."""

import numpy as np
import pytest
from pydantic import ValidationError

from tests.plugins.strategies.stateful import Alternates, Mirostat, RepetitionPenalty
from triptych.core.sampling import Chain
from triptych.core.sequences.sequence import Sequence
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.samplers.temperature import Temperature
from triptych.plugins.samplers.top_p import TopP
from triptych.plugins.strategies import manifest
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.pace import Pace
from triptych.plugins.strategies.prompt_lookup import Copy, PromptLookup
from triptych.plugins.strategies.verification import RollbackError
from triptych.testing import FakeDecoder, FakeGeneration

PROMPT = [1, 2, 3, 1, 2]


def lookup(**settings):
    return PromptLookup(PromptLookup.Settings(**settings))


def sampled():
    return [
        Temperature(Temperature.Settings(temperature=0.6)),
        TopP(TopP.Settings(p=0.9)),
        Draw(),
    ]


CHAINS = {
    "greedy": lambda: [Greedy()],
    "greedy, repetition penalty": lambda: [RepetitionPenalty(1.3), Greedy()],
    "greedy, by position": lambda: [Alternates(), Greedy()],
    "sampled": sampled,
    "sampled, repetition penalty": lambda: [RepetitionPenalty(1.3), *sampled()],
    "sampled, mirostat": lambda: [Mirostat(1.0, 0.3), Draw()],
    "sampled, by position": lambda: [Alternates(), *sampled()],
}


DRAFTS = [
    {"cost": 0},
    {"cost": 0, "tokens": 1},
    {"cost": 0, "tokens": 3, "ngram": 1},
    {"cost": 0, "min_ngram": 2},
]
"""Settings with which something is drafted wherever anything recurs."""


def generate(strategy, steps, seed, **limits):
    """The generation, and how many passes it took; every seed is also another model."""
    decoder = FakeDecoder(seed=seed)
    chain = Chain(steps, seed=seed, prompt_tokens=PROMPT)
    return decoder.generate(strategy, chain, **limits), decoder.passes


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS.keys())
def test_prompt_lookup_gives_the_very_tokens_of_plain_decoding(steps, seed):
    plain, _ = generate(Autoregressive(), steps(), seed)
    for settings in ({}, DRAFTS[seed % len(DRAFTS)]):
        drafted, _ = generate(lookup(**settings), steps(), seed)
        assert drafted.emitted == plain.emitted
        assert drafted.chain.tokens.tolist() == plain.chain.tokens.tolist()
        assert drafted.sequence.tokens.tolist() == plain.sequence.tokens.tolist()
        assert drafted.chain.rng.random() == plain.chain.fork().rng.random()


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS.keys())
def test_drafts_are_accepted_and_refused_in_what_the_other_tests_compare(steps):
    drafted = [generate(lookup(cost=0, tokens=8), steps(), seed) for seed in range(20)]
    passes = sum(count for _, count in drafted)
    tokens = sum(len(generation.emitted) for generation, _ in drafted)
    assert passes < 0.95 * tokens, "some drafts were accepted"
    assert passes > 1.1 * tokens / 9, "and some refused"


@pytest.mark.parametrize("limit", range(1, 40))
def test_an_end_in_the_middle_of_an_accepted_draft_leaves_nothing_behind(limit):
    for seed in range(5):
        plain, _ = generate(Autoregressive(), [Greedy()], seed, max_new_tokens=limit)
        drafted, _ = generate(lookup(cost=0), [Greedy()], seed, max_new_tokens=limit)
        assert drafted.emitted == plain.emitted
        assert len(drafted.emitted) == limit
        assert drafted.sequence.tokens.tolist() == PROMPT + plain.emitted
        assert drafted.chain.tokens.tolist() == PROMPT + plain.emitted
        assert drafted.sequence.forwarded <= len(drafted.sequence)


@pytest.mark.parametrize("eos", range(12))
def test_an_end_token_ends_both_alike(eos):
    for seed in range(10):
        plain, _ = generate(Autoregressive(), sampled(), seed, eos_ids={eos})
        drafted, _ = generate(lookup(cost=0), sampled(), seed, eos_ids={eos})
        assert drafted.emitted == plain.emitted
        assert drafted.sequence.tokens.tolist() == PROMPT + plain.emitted


@pytest.mark.parametrize("room", range(1, 30))
def test_no_draft_reaches_past_the_end_of_the_context(room):
    for seed in range(5):
        limits = {"max_length": len(PROMPT) + room}
        plain, _ = generate(Autoregressive(), [Greedy()], seed, **limits)
        drafted, _ = generate(lookup(cost=0), [Greedy()], seed, **limits)
        assert drafted.emitted == plain.emitted
        assert len(drafted.emitted) == room
        assert drafted.sequence.room == 0


class Counts(FakeDecoder):
    """0, 1, 2, ... 11, 0, 1, ..."""

    def logits(self, tokens):
        return 9 * np.eye(12, dtype=np.float32)[(tokens[-1] + 1) % 12]


def test_a_text_that_repeats_takes_a_ninth_of_the_passes():
    decoder = Counts()
    chain = Chain([Greedy()], seed=0, prompt_tokens=range(12))
    generation = decoder.generate(lookup(tokens=8, cost=0), chain, max_new_tokens=90)
    assert generation.emitted == [token % 12 for token in range(90)]
    # One pass without a draft, for nothing recurs in the prompt, then nine tokens each.
    assert decoder.passes == 11


def test_drafts_of_a_text_that_repeats_grow_to_what_pays():
    decoder = Counts()
    chain = Chain([Greedy()], seed=0, prompt_tokens=range(12))
    decoder.generate(lookup(), chain, max_new_tokens=200)
    assert decoder.cost(0.15) < 200 / 3.5, "17 tokens for 3.4 steps is the most there is"


class Never(FakeDecoder):
    """No token twice in a row, and no telling which."""

    def logits(self, tokens):
        rng = np.random.default_rng([self.seed, len(tokens)])
        return rng.standard_normal(self.vocabulary).astype(np.float32)


@pytest.mark.parametrize("vocabulary", [4, 12, 500])
def test_text_that_does_not_repeat_costs_nearly_nothing(vocabulary):
    for seed in range(10):
        decoder = Never(vocabulary=vocabulary, seed=seed)
        chain = Chain([Greedy()], seed=0, prompt_tokens=range(4))
        generation = decoder.generate(lookup(), chain, max_new_tokens=60)
        assert decoder.cost(0.15) <= len(generation.emitted) / 0.95


def test_a_text_that_stops_repeating_loses_less_than_it_had_won():
    class Stops(Counts):
        def logits(self, tokens):
            repeats = len(tokens) < 150
            return (super() if repeats else super(Counts, self)).logits(tokens)

    decoder = Stops(order=1000)
    chain = Chain([Greedy()], seed=0, prompt_tokens=range(12))
    decoder.generate(lookup(), chain, max_new_tokens=150)
    won = decoder.cost(0.15)
    decoder.spent.clear()
    chain = Chain([Greedy()], seed=0, prompt_tokens=range(12))
    decoder.generate(lookup(), chain, max_new_tokens=300)
    assert decoder.cost(0.15) - won < 150 / 0.95


def test_one_token_per_pass_is_what_autoregressive_does():
    generation, passes = generate(Autoregressive(), [Greedy()], 0, max_new_tokens=7)
    assert len(generation.emitted) == passes == 7


# What is drafted


def draft(text, *, most=100, tokens=8, ngram=3, min_ngram=1):
    copy = Copy(ngram, min_ngram, Pace(cost=0, most=tokens))
    copy.extend(text)
    return copy.draft(room=most)


def test_the_draft_is_what_followed_the_longest_match():
    # 2 3 recurs with 4 5 after it; 3 alone, later on, with 9.
    assert draft([2, 3, 4, 5, 0, 3, 9, 0, 2, 3], tokens=2) == [4, 5]


def test_a_match_is_no_longer_than_ngram():
    assert draft([2, 3, 4, 5, 0, 3, 9, 0, 2, 3], tokens=2, ngram=1) == [9, 0]


def test_of_equal_matches_the_latest_counts():
    assert draft([3, 4, 0, 3, 5, 0, 3], tokens=1) == [5]


def test_where_a_text_ends_it_is_taken_to_repeat_itself():
    assert draft([5, 5], tokens=4) == [5, 5, 5, 5]
    assert draft([9, 1, 2, 3, 1], tokens=7) == [2, 3, 1, 2, 3, 1, 2]


def test_nothing_is_drafted_where_nothing_recurs():
    assert draft([1, 2, 3]) == []
    assert draft([1]) == []
    assert draft([]) == []


def test_nothing_is_drafted_for_a_match_shorter_than_min_ngram():
    assert draft([1, 2, 9, 2], min_ngram=2) == []
    assert draft([1, 2, 9, 1, 2], min_ngram=2, tokens=3) == [9, 1, 2]


@pytest.mark.parametrize(("most", "expected"), [(2, [9, 1]), (1, [9]), (0, []), (-1, [])])
def test_a_draft_is_no_longer_than_there_is_room(most, expected):
    assert draft([1, 2, 9, 1, 2], most=most) == expected


def test_a_copy_that_is_right_goes_on_and_one_that_is_wrong_is_left():
    copy = Copy(3, 1, Pace(cost=0, most=2))
    copy.extend([1, 2, 3, 4, 5, 2, 9, 1])
    assert copy.draft(room=9) == [2, 3]
    copy.extend([2])
    # 2 stood last before the 9, but what is copied is the begin.
    assert copy.draft(room=9) == [3, 4]
    copy.extend([9])
    assert copy.draft(room=9) == [1, 2], "after the 2 9"


def test_in_company_a_draft_must_give_more_than_a_place_in_the_common_step():
    pace = Pace(cost=0.15, most=16)
    for _ in range(20):
        pace.passed(1, 1)
        pace.saw(40, right=True)
    assert pace.length(40, room=99) > 8
    assert pace.length(40, room=99, company=2) > 8
    assert pace.length(40, room=99, company=32) == 0


# What can go wrong


def test_a_cache_that_cannot_go_back_is_an_error_that_says_so():
    class Stuck(Sequence):
        def truncate(self, length):
            return False

    generation = FakeGeneration(Stuck(100), Chain([Greedy()], seed=0, prompt_tokens=[1, 2, 1]), 10)
    generation.sequence.append([1, 2, 1])
    run = lookup(tokens=1, cost=0).run(generation)
    [span] = next(run)
    assert span.rows == 2
    with pytest.raises(RollbackError, match=r"cannot be rolled back\. Use `cache: full`"):
        run.send([np.eye(3, dtype=np.float32)[[0, 0]]])


def test_a_sequence_pruned_by_a_pass_is_cut_where_it_is_now():
    given = [1, 2, 7, 7, 7, 1]
    chain = Chain([Greedy()], seed=0, prompt_tokens=given)
    generation = FakeGeneration(Sequence(100), chain, 10)
    sequence = generation.sequence
    sequence.append(given)
    run = lookup(tokens=1, cost=0).run(generation)
    [span] = next(run)
    assert sequence.tokens.tolist() == [1, 2, 7, 7, 7, 1, 2]
    # A reducer drops two of the sevens while the span is forwarded.
    sequence.clear()
    sequence.append([1, 2, 7, 1, 2])
    run.send([np.eye(9, dtype=np.float32)[[5, 0]]])
    assert sequence.tokens.tolist()[:5] == [1, 2, 7, 1, 5]
    assert span.rows == 2


@pytest.mark.parametrize(
    "values",
    [
        {"tokens": 0},
        {"ngram": 0},
        {"min_ngram": 0},
        {"ngram": 2, "min_ngram": 3},
        {"cost": -0.1},
        {"n": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(ValidationError):
        PromptLookup.Settings(**values)


def test_the_manifest_lists_what_can_be_built():
    speculates = {}
    for component in manifest.strategies():
        module, _, name = component.target.partition(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        model = getattr(kind, "Settings", None)
        needed = {"draft": {"pipeline": "sketch"}, "dola": {"layers": (1, 3)}}
        kind(model(**needed.get(component.name, {}))) if model else kind()
        assert component.main is None or component.main in model.model_fields
        speculates[component.name] = kind.speculates
    assert {name for name, does in speculates.items() if does} == {"prompt_lookup", "draft"}
