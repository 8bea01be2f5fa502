"""Sequences that decode together: each gets the tokens that it gets alone."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.execution.test_scheduler import IMAGES, REQUESTS, Two, sampled, stream, tokens
from tests.fakes import Decode, FakePipeline, fake_stages
from triptych import PluginError
from triptych.core.ports import Port
from triptych.plugins.caches.full import Full
from triptych.plugins.caches.window import Window
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.prompt_lookup import PromptLookup


def advance(pipeline, one, rounds=1):
    """Rounds of the scheduler, whether or not there is text to read."""
    for _ in range(rounds):
        unread = one._job.generation.pieces
        pieces = list(unread)
        unread.clear()
        pipeline.scheduler.advance(one._job)
        unread.extendleft(reversed(pieces))


def decoding(pipeline, count, **more):
    """Streams whose prompts have been forwarded."""
    streams = [
        stream(pipeline, *REQUESTS[place % len(REQUESTS)], steps=sampled(), seed=place, **more)
        for place in range(count)
    ]
    while not all(one._job.generation.tokens for one in streams):
        advance(pipeline, streams[-1])
    return streams


def alone(count, **more):
    return [
        tokens(
            FakePipeline(), *REQUESTS[place % len(REQUESTS)], steps=sampled(), seed=place, **more
        )
        for place in range(count)
    ]


# One run for all


def test_all_that_decode_are_forwarded_in_one_run():
    pipeline = FakePipeline()
    streams = decoding(pipeline, 5)
    decode = pipeline.stages["decode"]
    before = len(decode.slices)
    advance(pipeline, streams[0])
    assert decode.slices[before:] == [1]
    assert decode.batches_of[before:] == [5]
    assert [one.reply.tokens for one in streams] == alone(5)


def test_one_alone_is_a_batch_of_one():
    pipeline = FakePipeline()
    assert tokens(pipeline)
    assert set(pipeline.stages["decode"].batches_of) == {1}


def test_a_row_whose_sequence_has_gone_is_run_over_and_harms_nobody():
    pipeline = FakePipeline()
    streams = decoding(pipeline, 4)
    streams[1].close()
    advance(pipeline, streams[0])
    assert pipeline.stages["decode"].batches_of[-1] == 4
    assert [streams[place].reply.tokens for place in (0, 2, 3)] == [
        alone(4)[place] for place in (0, 2, 3)
    ]


def test_a_sequence_that_waits_between_others_keeps_its_rows():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("5 6 7 8")
    first = stream(pipeline, "1 2 3")
    next(first)
    pipeline.forward(sequence)
    second = stream(pipeline, "9 8 7")
    next(second)
    places = [
        next(iter(one.caches.values())).row
        for one in (first._job.generation.sequence, sequence, second._job.generation.sequence)
    ]
    assert places == sorted(places), "or the test proves nothing"
    assert (first.reply.tokens, second.reply.tokens) == (
        tokens(FakePipeline(), "1 2 3"),
        tokens(FakePipeline(), "9 8 7"),
    )
    assert 3 in pipeline.stages["decode"].batches_of
    sequence.append([3])
    same = FakePipeline().logits("5 6 7 8 3")
    np.testing.assert_allclose(pipeline.forward(sequence), same, atol=1e-11)


def test_a_full_sequence_between_others_loses_nothing():
    pipeline = FakePipeline(max_length=12)
    first = stream(pipeline, "1 2 3", max_new_tokens=6)
    next(first)
    full = pipeline.sequence(" ".join(["4"] * 12))
    pipeline.forward(full)
    before = [
        buffer[0, :, :12].copy() for buffer in next(iter(full.caches.values())).pasts.values()
    ]
    second = stream(pipeline, "9 8 7", max_new_tokens=6)
    next(second)
    assert first.reply.tokens
    assert second.reply.tokens
    assert 3 in pipeline.stages["decode"].batches_of
    after = [buffer[0, :, :12] for buffer in next(iter(full.caches.values())).pasts.values()]
    np.testing.assert_array_equal(before, after)


def test_two_sequences_of_one_generation_go_together_with_those_of_others():
    texts = ["1 2 3 4 5", "4 3 2 1"]
    expected = [tokens(FakePipeline(), text, strategy=Two()) for text in texts]
    pipeline = FakePipeline()
    streams = [stream(pipeline, text, strategy=Two()) for text in texts]
    assert [one.reply.tokens for one in streams] == expected
    assert 4 in pipeline.stages["decode"].batches_of


def test_drafts_run_alone_in_the_round_in_which_the_others_run_together():
    lookup = PromptLookup(PromptLookup.Settings(tokens=4, ngram=2))
    texts = ["1 2 3 1 2 3 1 2", "4 5 6 7", "9 8"]
    expected = [tokens(FakePipeline(), text, max_new_tokens=30) for text in texts]
    pipeline = FakePipeline()
    streams = [
        stream(pipeline, texts[0], strategy=lookup, max_new_tokens=30),
        *(stream(pipeline, text, max_new_tokens=30) for text in texts[1:]),
    ]
    assert [one.reply.tokens for one in streams] == expected
    runs = list(
        zip(pipeline.stages["decode"].slices, pipeline.stages["decode"].batches_of, strict=True)
    )
    assert any(count > 1 and batch == 1 for count, batch in runs[3:]), "something was drafted"
    assert (1, 2) in runs or (1, 3) in runs


def test_a_window_is_the_same_in_company():
    def narrow():
        return Window(Window.Settings(size=6, sinks=2, slack=3))

    requests = [("1 2 3", []), ("4 5 6 7 8 9 10 11", []), ("2 2", IMAGES[:1])]
    expected = [tokens(FakePipeline(policy=narrow()), *one, max_new_tokens=25) for one in requests]
    pipeline = FakePipeline(policy=narrow())
    streams = [stream(pipeline, *one, max_new_tokens=25) for one in requests]
    assert [one.reply.tokens for one in streams] == expected
    assert 3 in pipeline.stages["decode"].batches_of


# One at a time


class BindsOne:
    """A policy of a package of one's own, whose cache knows nothing of pools."""

    exact = True

    def make(self, pairs, max_length, allocate):
        cache = Full().make(pairs, max_length, allocate)

        class Cache:
            leased = cache.leased

            def lease(self):
                return cache.lease()

            def bind(self, slots, token_index):
                (_,), (_,) = slots, token_index
                return cache.bind(slots, token_index)

            def settle(self, slots):
                cache.settle(slots)

        return Cache()


class NoBatch(Decode):
    """Its graph was exported for one request."""

    reads = tuple(
        Port("inputs_embeds", port.dtype, (1, *port.axes[1:]))
        if port.name == "inputs_embeds"
        else port
        for port in Decode.reads
    )


class Grows(Decode):
    batches = False


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"policy": BindsOne()}, "the cache of decode binds one sequence at a time"),
        (
            {"items": fake_stages(replace={"decode": NoBatch()})},
            "inputs_embeds of decode has no B axis",
        ),
        ({"items": fake_stages(replace={"decode": Grows()})}, "the past tensors of decode grow"),
        ({"batch": 1}, "session.max_batch is 1"),
    ],
)
def test_what_cannot_be_batched_takes_turns(options, reason):
    pipeline = FakePipeline(**options)
    assert pipeline.executor.alone_because == reason
    streams = [
        stream(pipeline, *one, steps=sampled(), seed=place) for place, one in enumerate(REQUESTS)
    ]
    assert [one.reply.tokens for one in streams] == alone(5)
    assert set(pipeline.stages["decode"].batches_of) == {1}
    assert pipeline.leased == 0


def test_caches_that_put_sequences_in_different_places_are_run_one_by_one():
    class Second(Decode):
        """Another decoder in front, with a cache of its own, whose logits nobody reads."""

        writes = (Port("first_logits", "float64", ("B", "R", 32)),)

        def __call__(self, ports):
            return {"first_logits": super().__call__(ports)["logits"]}

    def pipeline():
        return FakePipeline(
            fake_stages(("merge", "second", Second())),
            changes={"second": {"ignore": ["first_logits"]}},
        )

    together = pipeline()
    cache = together.caches["second"]
    holes = [cache.lease() for _ in range(3)]
    streams = [stream(together, text) for text in ("1 2 3", "4 5")]
    for one in streams:
        next(one)
    holes[1].close()
    third = stream(together, "7 7")
    assert third.reply.tokens == tokens(pipeline(), "7 7")
    assert [one.reply.tokens for one in streams] == [
        tokens(pipeline(), "1 2 3"),
        tokens(pipeline(), "4 5"),
    ]


# The queue


def test_those_beyond_the_batch_wait_and_begin_in_their_order():
    pipeline = FakePipeline(batch=2)
    streams = [
        stream(pipeline, *one, steps=sampled(), seed=place) for place, one in enumerate(REQUESTS)
    ]
    advance(pipeline, streams[4], 3)
    begun = [bool(one._job.generation.tokens) for one in streams]
    assert begun == [True, True, False, False, False]
    streams[0].close()
    advance(pipeline, streams[4], 2)
    assert [bool(one._job.generation.tokens) for one in streams] == [True, True, True, False, False]
    assert [one.reply.tokens for one in streams[1:]] == alone(5)[1:]
    assert max(pipeline.stages["decode"].batches_of) == 2


def test_a_cancelled_one_makes_room_within_a_step():
    pipeline = FakePipeline(batch=1)
    first, second = stream(pipeline), stream(pipeline, "4 5")
    advance(pipeline, second, 2)
    first.cancel()
    advance(pipeline, second)
    assert first._job.done
    assert len(second._job.generation.tokens) == 1
    assert pipeline.leased == 1


def test_one_that_is_cancelled_in_the_queue_never_begins():
    pipeline = FakePipeline(batch=1)
    first, second = stream(pipeline), stream(pipeline, "4 5")
    second.cancel()
    assert (second.reply.tokens, second.reply.finish_reason) == ((), "cancelled")
    assert pipeline.stages["decode"].slices == [3], "the first one's prompt"
    assert first.reply.tokens == tokens(FakePipeline())


def bytes_of(tokens_):
    """What `tokens_` take in the caches of the fake decoder: two of two heads of four doubles."""
    return tokens_ * 2 * 2 * 4 * 8


def test_those_for_which_there_is_no_memory_wait():
    # Each may come to hold 3 + 12 tokens.
    pipeline = FakePipeline(memory=bytes_of(30))
    streams = [stream(pipeline) for _ in range(3)]
    advance(pipeline, streams[2], 3)
    assert [bool(one._job.generation.tokens) for one in streams] == [True, True, False]
    assert [one.reply.tokens for one in streams] == [tokens(FakePipeline())] * 3


def test_one_alone_runs_whatever_it_may_need():
    assert tokens(FakePipeline(memory=1)) == tokens(FakePipeline())


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_what_nobody_uses_is_given_back_before_somebody_waits(kept):
    pipeline = FakePipeline(memory=bytes_of(45))
    idle = [pipeline.sequence("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15") for _ in range(kept)]
    for sequence in idle:
        pipeline.forward(sequence)

    def evict_idle():
        if not idle:
            return False
        idle.pop().close()
        return True

    pipeline.executor.evict_idle = evict_idle
    streams = [stream(pipeline) for _ in range(3)]
    advance(pipeline, streams[2], 1)
    assert all(one._job.generation.tokens for one in streams)
    assert idle == []


def test_what_nobody_uses_is_given_back_before_more_memory_is_reserved():
    pipeline = FakePipeline(batch=4)
    idle = [pipeline.sequence("1 2") for _ in range(8)]
    for sequence in idle:
        pipeline.forward(sequence)
    reserved = pipeline.allocated
    pipeline.executor.evict_idle = lambda: idle.pop().close() is None
    assert tokens(pipeline, "1 2 3")
    assert len(idle) == 7
    assert pipeline.allocated == reserved


def test_a_component_that_prepares_does_so_when_its_turn_has_come():
    pipeline = FakePipeline(batch=1)
    first = stream(pipeline)
    prepared = []
    generation = pipeline.generation(pipeline.prompt("4 5"))
    job = pipeline.scheduler.submit(
        generation,
        Autoregressive(),
        "mine",
        release=generation.sequence.close,
        prepare=lambda: prepared.append(first._job.done),
    )
    while not job.done:
        generation.pieces.clear()
        pipeline.scheduler.advance(job)
    assert prepared == [True]


# Fairness


def test_who_decodes_never_waits_for_more_than_a_short_slice():
    pipeline = FakePipeline(max_length=2000)
    running = stream(pipeline, max_new_tokens=100)
    next(running)
    long = stream(pipeline, " ".join(["1"] * 600), max_new_tokens=3)
    made = len(running._job.generation.tokens)
    while not long._job.generation.tokens:
        advance(pipeline, running)
    slices = pipeline.stages["decode"].slices
    assert [count for count in slices[2:] if count > 1] == [120] * 5
    assert len(running._job.generation.tokens) - made == 5, "a token for each slice"
    assert long.reply.tokens == tokens(
        FakePipeline(max_length=2000), " ".join(["1"] * 600), max_new_tokens=3
    )


def test_a_long_prompt_alone_is_cut_less_often():
    pipeline = FakePipeline(max_length=2000)
    assert tokens(pipeline, " ".join(["1"] * 600), max_new_tokens=1)
    assert pipeline.stages["decode"].slices == [300, 300]


def test_slices_of_a_prompt_are_as_few_as_can_be_and_differ_by_one_at_most():
    pipeline = FakePipeline(max_length=2000)
    assert tokens(pipeline, " ".join(["1"] * 1025), max_new_tokens=1)
    assert sorted(pipeline.stages["decode"].slices) == [341, 342, 342]


def test_a_length_that_the_file_gives_is_kept_to():
    pipeline = FakePipeline(max_length=2000, chunk=512)
    assert tokens(pipeline, " ".join(["1"] * 600), max_new_tokens=1)
    assert pipeline.stages["decode"].slices == [512, 88]


def test_slices_keep_their_size_where_it_would_change_tokens():
    def pipeline():
        wide = Window(Window.Settings(size=700, sinks=2, slack=600))
        return FakePipeline(max_length=2000, policy=wide)

    long = " ".join(["1"] * 600)
    alone, together = pipeline(), pipeline()
    assert tokens(alone, long, max_new_tokens=1)
    running = stream(together, max_new_tokens=50)
    next(running)
    assert tokens(together, long, max_new_tokens=1)
    for one in (alone, together):
        assert [count for count in one.stages["decode"].slices if count > 3] == [300, 300]


def test_long_prompts_take_turns():
    pipeline = FakePipeline(chunk=4)
    long, short = (stream(pipeline, " ".join(["1"] * count)) for count in (60, 8))
    while not short._job.generation.tokens:
        advance(pipeline, short)
    assert long._job.generation.sequence.forwarded <= 12


# Faults


def test_a_step_that_fails_for_one_is_run_for_the_others():
    pipeline = FakePipeline()
    streams = decoding(pipeline, 4)
    said = [one._job.generation.sequence.tokens[-1] for one in streams]
    culprit = next(place for place in range(4) if said.count(said[place]) == 1)
    pipeline.stages["decode"].fails_at = said[culprit]
    advance(pipeline, streams[(culprit + 1) % 4])
    pipeline.stages["decode"].fails_at = None
    expected = alone(4)
    for place, one in enumerate(streams):
        if place == culprit:
            with pytest.raises(PluginError, match="the numbers do not add up"):
                _ = one.reply
        else:
            assert one.reply.tokens == expected[place]
    assert pipeline.leased == 0


# At random


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4), chunk=st.sampled_from([None, 2, 5]))
def test_whoever_joins_and_leaves_everybody_gets_the_tokens_they_get_alone(seed, batch, chunk):
    dice = random.Random(seed)
    pipeline = FakePipeline(batch=batch, chunk=chunk, memory=dice.choice([None, bytes_of(60)]))
    expected = {}
    live = []
    for number in range(9):
        request = dice.choice(REQUESTS)
        options = {"seed": number, "max_new_tokens": dice.randrange(1, 14)}
        expected[number] = tokens(FakePipeline(), *request, steps=sampled(), **options)
        live.append((number, stream(pipeline, *request, steps=sampled(), **options)))
        for _ in range(dice.randrange(5)):
            place = dice.randrange(len(live))
            if dice.random() < 0.15:
                number_, one = live.pop(place)
                said = one.close().tokens
                assert said == expected[number_][: len(said)]
                break
            advance(pipeline, live[place][1])
    for number, one in live:
        assert one.reply.tokens == expected[number]
    assert pipeline.leased == 0
