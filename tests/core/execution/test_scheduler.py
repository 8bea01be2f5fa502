"""One loop drives all generations: none waits for, harms or changes another."""

import gc
import threading

import numpy as np
import pytest

from tests.fakes import UNLIKELY, FakePipeline, fake_stages
from triptych import InputError, PluginError
from triptych.core.execution.execution import Clock
from triptych.core.reply import Reply, Timings, Usage
from triptych.core.requests.stream import Stream
from triptych.core.spans import Span
from triptych.plugins.caches.window import Window
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.samplers.temperature import Temperature
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.prompt_lookup import PromptLookup

IMAGES = [(4, 4, 1), (2, 6, 2), (2, 2, 3)]


def submit(pipeline, text="1 2 3", images=(), *, strategy=None, steps=None, seed=0, **stop):
    generation = pipeline.generation(pipeline.prompt(text, images), steps, seed=seed, **stop)
    return pipeline.scheduler.submit(
        generation, strategy or Autoregressive(), "mine", release=generation.sequence.close
    )


def stream(pipeline, *args, **more):
    def finish(job):
        generation = job.generation
        return Reply(
            generation.text,
            tuple(generation.tokens),
            generation.finish_reason,
            Usage(0, 0, 0),
            Timings(0, 0, 0, 0),
            0,
        )

    return Stream(pipeline.scheduler, submit(pipeline, *args, **more), finish=finish)


def tokens(pipeline, *args, **more):
    return stream(pipeline, *args, **more).reply.tokens


def sampled():
    return [Temperature(Temperature.Settings(temperature=0.9)), Draw()]


REQUESTS = [
    ("1 2 3", []),
    ("4 5 6 7 8 9 10 11", IMAGES[:1]),
    ("1", IMAGES),
    ("2 2 2 2", [IMAGES[1], IMAGES[1]]),
    ("9 8 7 6 5 4 3 2 1", []),
]


# Tokens


@pytest.mark.parametrize("steps", [lambda: [Greedy()], sampled], ids=["greedy", "sampled"])
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_slices_of_any_size_give_the_tokens_of_one_pass(steps, chunk):
    for seed, (text, images) in enumerate(REQUESTS):
        alone = tokens(FakePipeline(), text, images, steps=steps(), seed=seed)
        assert len(set(alone)) > 2, "a reply of one token over and over would prove nothing"
        sliced = tokens(FakePipeline(chunk=chunk), text, images, steps=steps(), seed=seed)
        assert sliced == alone


@pytest.mark.parametrize("chunk", [None, 4])
def test_generations_in_company_equal_those_alone(chunk):
    alone = [
        tokens(FakePipeline(), *request, steps=sampled(), seed=seed, max_new_tokens=5 + 3 * seed)
        for seed, request in enumerate(REQUESTS)
    ]
    pipeline = FakePipeline(chunk=chunk)
    streams = [
        stream(pipeline, *request, steps=sampled(), seed=seed, max_new_tokens=5 + 3 * seed)
        for seed, request in enumerate(REQUESTS)
    ]
    together = [one.reply.tokens for one in reversed(streams)][::-1]
    assert together == alone
    assert pipeline.leased == 0


def test_each_round_moves_every_generation_by_one_slice():
    pipeline = FakePipeline()
    first, second = (stream(pipeline, text) for text in ("1 2 3", "4 5"))
    next(first)
    assert len(second._job.generation.tokens) == 1
    next(first)
    assert len(second._job.generation.tokens) == 2
    assert [piece.tokens for piece in second] == [(token,) for token in second.reply.tokens]


def test_a_long_prompt_does_not_hold_up_the_others():
    pipeline = FakePipeline(chunk=2)
    long = stream(pipeline, " ".join(["1"] * 40))
    short = stream(pipeline, "1")
    next(short)
    assert long._job.generation.sequence.forwarded == 2
    assert long._job.generation.tokens == []


@pytest.mark.parametrize("steps", [lambda: [Greedy()], sampled], ids=["greedy", "sampled"])
def test_drafts_over_a_real_cache_give_the_tokens_of_plain_decoding(steps):
    for seed, (text, images) in enumerate(REQUESTS):
        plain = tokens(FakePipeline(), text, images, steps=steps(), seed=seed, max_new_tokens=40)
        pipeline = FakePipeline(chunk=3)
        lookup = PromptLookup(PromptLookup.Settings(tokens=4, ngram=2))
        drafted = tokens(
            pipeline, text, images, steps=steps(), seed=seed, max_new_tokens=40, strategy=lookup
        )
        assert drafted == plain
        assert max(pipeline.stages["decode"].slices[-30:]) > 1, "something was drafted"


def test_a_window_that_nothing_has_left_yet_changes_nothing():
    wide = Window(Window.Settings(size=90, sinks=4, slack=64))
    for request in REQUESTS:
        assert tokens(FakePipeline(policy=wide), *request) == tokens(FakePipeline(), *request)


def test_a_window_forwards_a_prompt_longer_than_itself_in_slices():
    narrow = Window(Window.Settings(size=6, sinks=2, slack=3))
    pipeline = FakePipeline(policy=narrow)
    reply = tokens(pipeline, "1 2 3 4 5", IMAGES, max_new_tokens=20)
    assert len(reply) == 20
    assert pipeline.stages["decode"].slices[:4] == [13, 5, 1, 1]


# Spans


def test_the_logits_of_several_rows_are_collected_over_slices():
    pipeline = FakePipeline(chunk=3)
    sequence = pipeline.sequence("1 2 3 4 5 6 7 8")
    collected = pipeline.scheduler.collect(Span(sequence, rows=7), Clock())
    np.testing.assert_allclose(
        collected, FakePipeline().logits("1 2 3 4 5 6 7 8", tail=6), atol=1e-11
    )


class Two:
    """Adds the logits of two sequences: the prompt, and the prompt without its first token."""

    def run(self, generation):
        def cut(prompt):
            return type(prompt)(prompt.tokens[1:])

        other = generation.branch("cut", cut)
        while True:
            first, second = yield [Span(generation.sequence), Span(other)]
            token = generation.chain.choose((first + second)[-1])
            generation.sequence.append([token])
            other.append([token])
            if generation.emit(token):
                return


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_the_logits_of_two_sequences_are_there_together(chunk):
    text = "1 2 3 4 5"
    expected, growing = [], [1, 2, 3, 4, 5]
    for _ in range(12):
        both = (FakePipeline().logits(" ".join(map(str, ids))) for ids in (growing, growing[1:]))
        expected.append(int(sum(both).argmax()))
        growing.append(expected[-1])
    pipeline = FakePipeline(chunk=chunk)
    assert list(tokens(pipeline, text, strategy=Two())) == expected


class Yields:
    """A strategy that yields what it is given, once."""

    def __init__(self, make):
        self.make = make

    def run(self, generation):
        yield self.make(generation.sequence)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda sequence: [], "asked for no span; it must yield one at least"),
        (
            lambda sequence: [Span(sequence, rows=4)],
            "wants the logits of 4 tokens, but 3 are pending; append first, and ask for those",
        ),
        (
            lambda sequence: [Span(sequence, rows=0)],
            "wants the logits of 0 tokens, but 3 are pending; append first, and ask for those",
        ),
        (lambda sequence: None, "yielded None; it must yield a list of Spans"),
        (lambda sequence: [1], "yielded [1]; it must yield a list of Spans"),
        (
            lambda sequence: [Span(sequence), Span(sequence)],
            "asked for two spans of one sequence; ask for one of more rows",
        ),
        (lambda sequence: 1 / 0, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_strategy_that_breaks_its_word_is_named(make, message):
    pipeline = FakePipeline()
    with pytest.raises(PluginError) as error:
        tokens(pipeline, strategy=Yields(make))
    assert str(error.value) == f"strategy mine {message}"
    assert pipeline.leased == 0


def test_a_strategy_that_stops_before_its_generation_is_named():
    with pytest.raises(PluginError) as error:
        tokens(FakePipeline(), strategy=Yields(lambda sequence: [Span(sequence)]))
    assert str(error.value) == (
        "strategy mine returned before the generation had ended; it goes on until `emit` gives True"
    )


def test_a_strategy_that_is_no_generator_is_named():
    class Returns:
        def run(self, generation):
            return [Span(generation.sequence)]

    with pytest.raises(PluginError) as error:
        submit(FakePipeline(), strategy=Returns())
    assert str(error.value) == "strategy mine does not yield: its `run` must be a generator"


def test_a_strategy_that_goes_on_after_the_end_is_ended():
    class Endless(Autoregressive):
        def run(self, generation):
            while True:
                [rows] = yield [Span(generation.sequence)]
                token = generation.chain.choose(rows[-1])
                generation.sequence.append([token])
                generation.emit(token)
                assert generation.emit(token) or len(generation.tokens) < 5

    reply = stream(FakePipeline(), strategy=Endless(), max_new_tokens=5).reply
    assert (len(reply.tokens), reply.finish_reason) == (5, "length")


def test_what_was_pending_and_was_pruned_away_is_an_error_and_no_endless_loop():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2")
    pipeline.forward(sequence)
    with pytest.raises(PluginError) as error:
        pipeline.scheduler.collect(Span(sequence), Clock())
    assert str(error.value) == (
        "there is nothing to forward: a visual-token reducer dropped all that was pending, or a "
        "cache has no room"
    )


# A stage that must see the whole prompt


def test_a_stage_that_must_see_the_whole_prompt_sees_it_in_one_slice_in_every_turn():
    pipeline = FakePipeline(chunk=2)
    pipeline.items[2][1].whole = True
    pipeline.__post_init__()
    sequence = pipeline.sequence("1 2 3 4 5")
    pipeline.forward(sequence)
    assert sequence.align(pipeline.prompt("1 2 3 4 5 6")) == 0
    pipeline.forward(sequence)
    assert pipeline.stages["decode"].slices == [5, 6]


def test_a_stage_that_must_see_the_whole_prompt_refuses_a_cache_that_is_too_small_for_it():
    items = fake_stages()
    items[2][1].whole = True
    pipeline = FakePipeline(items, policy=Window(Window.Settings(size=2, sinks=0, slack=1)))
    with pytest.raises(InputError) as error:
        tokens(pipeline, "1 2 3 4 5")
    assert str(error.value) == (
        "a stage must see the whole prompt of 5 tokens, and a cache takes 3 at once; shorten it, "
        "or choose another cache"
    )


# Faults


class Fails:
    """A step of a chain that fails at its third token."""

    keeps_winner = True
    calls = 0

    def __call__(self, candidates, context):
        self.calls += 1
        if self.calls == 3:
            raise ArithmeticError("no more")
        return candidates


class FailsLate(Autoregressive):
    def run(self, generation):
        steps = super().run(generation)
        yield next(steps)
        raise LookupError("lost")


BREAKS = {
    "stage": (
        {"text": f"1 2 {UNLIKELY} 3"},
        "stage decode raised ArithmeticError: the numbers do not add up",
    ),
    "media": ({"images": [(2, 2, -1)]}, "the image is truncated"),
    "chain": (
        {"steps": [Fails(), Greedy()]},
        "Fails (tests.core.execution.test_scheduler:Fails) raised ArithmeticError: no more.",
    ),
    "strategy": ({"strategy": FailsLate()}, "strategy mine raised LookupError: lost"),
}


@pytest.mark.parametrize("first", [True, False], ids=["read first", "read last"])
@pytest.mark.parametrize("case", BREAKS.values(), ids=BREAKS.keys())
def test_a_generation_that_fails_is_told_to_its_reader_and_harms_nobody_else(case, first):
    options, message = case
    options = {**options}
    if "steps" in options:
        options["steps"] = [Fails(), Greedy()]
    alone = [tokens(FakePipeline(), *request) for request in REQUESTS]
    pipeline = FakePipeline(chunk=3)
    pipeline.stages["decode"].fails_at = UNLIKELY
    before = [stream(pipeline, *request) for request in REQUESTS[:2]]
    broken = stream(pipeline, **options)
    after = [stream(pipeline, *request) for request in REQUESTS[2:]]
    if first:
        with pytest.raises((PluginError, InputError)) as error:
            list(broken)
    together = [one.reply.tokens for one in before + after]
    if not first:
        with pytest.raises((PluginError, InputError)) as error:
            list(broken)
    assert str(error.value).endswith(message)
    assert together == alone
    assert pipeline.leased == 0
    assert list(broken) == [], "told once to whoever iterates"
    with pytest.raises((PluginError, InputError)):
        _ = broken.reply


def test_text_from_before_the_fault_is_read_before_the_fault():
    pipeline = FakePipeline()
    broken = stream(pipeline, steps=[Fails(), Greedy()])
    good = stream(pipeline)
    expected = good.reply.tokens
    assert next(broken).tokens == expected[:1]
    assert next(broken).tokens == expected[1:2]
    with pytest.raises(PluginError, match="no more"):
        next(broken)


def test_a_strategy_that_cannot_be_ended_harms_nobody_else():
    class Clings(Autoregressive):
        def run(self, generation):
            try:
                yield [Span(generation.sequence)]
            finally:
                raise LookupError("I hold on")

    pipeline = FakePipeline(chunk=2)
    clings = stream(pipeline, strategy=Clings())
    other = stream(pipeline, *REQUESTS[1])
    pipeline.scheduler.advance(other._job)
    assert clings.close().tokens == ()
    assert isinstance(clings._job.error, PluginError)
    assert str(clings._job.error) == "strategy mine could not be ended: LookupError: I hold on"
    assert other.reply.tokens == tokens(FakePipeline(), *REQUESTS[1])
    assert pipeline.leased == 0


def test_a_component_that_calls_its_own_pipeline_is_an_error_and_no_deadlock():
    pipeline = FakePipeline()

    class Recursive:
        keeps_winner = True

        def __call__(self, candidates, context):
            tokens(pipeline, "1")

    with pytest.raises(PluginError) as error:
        tokens(pipeline, steps=[Recursive(), Greedy()])
    assert str(error.value).endswith(
        "a component calls the pipeline that is just running it; give it a pipeline of its own"
    )
    assert tokens(pipeline) == tokens(FakePipeline())


def test_an_interrupt_within_a_slice_leaves_the_others_as_they_were():
    pipeline = FakePipeline()
    decode = pipeline.stages["decode"]
    streams = [stream(pipeline, *request) for request in REQUESTS]
    next(streams[0])
    call = type(decode).__call__

    class Interrupted(type(decode)):
        def __call__(self, ports):
            call(self, ports)
            self.__class__ = type(decode).__base__
            raise KeyboardInterrupt

    decode.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        list(streams[0])
    alone = [tokens(FakePipeline(), *request) for request in REQUESTS]
    assert [one.reply.tokens for one in streams] == alone
    assert pipeline.leased == 0


# Ending early


def test_a_closed_stream_gives_its_memory_back_and_ends_no_other():
    pipeline = FakePipeline()
    streams = [stream(pipeline, *request) for request in REQUESTS]
    next(streams[0])
    assert pipeline.leased == 5
    for one in streams[1:4]:
        assert one.close().finish_reason == "cancelled"
        one.close()
    assert pipeline.leased == 2
    assert streams[4].reply.tokens == tokens(FakePipeline(), *REQUESTS[4])
    assert streams[0].reply.tokens == tokens(FakePipeline(), *REQUESTS[0])
    assert pipeline.leased == 0


def test_memory_goes_back_when_a_generation_ends_and_not_when_it_is_read():
    pipeline = FakePipeline()
    first = stream(pipeline, *REQUESTS[0])
    assert stream(pipeline, *REQUESTS[1]).reply
    assert pipeline.leased == 0
    assert len(list(first)) == 12


def test_a_forgotten_stream_gives_its_memory_back():
    pipeline = FakePipeline()
    for piece in stream(pipeline):
        assert piece.tokens
        break
    gc.collect()
    assert pipeline.leased == 0


def test_a_stream_that_is_forgotten_within_a_round_ends_with_the_next():
    pipeline = FakePipeline()
    forgotten = [stream(pipeline)]
    next(forgotten[0])

    class Forgets:
        keeps_winner = True

        def __call__(self, candidates, context):
            if forgotten:
                forgotten.clear()
                gc.collect()
            return candidates

    alone = tokens(FakePipeline())
    assert tokens(pipeline, steps=[Forgets(), Greedy()]) == alone
    assert pipeline.leased == 0


def test_a_cancelled_stream_keeps_what_it_has():
    pipeline = FakePipeline()
    one = stream(pipeline)
    first = next(one)
    one.cancel()
    rest = list(one)
    assert one.reply.finish_reason == "cancelled"
    assert first.text + "".join(piece.text for piece in rest) == one.reply.text
    assert one.reply.tokens == tokens(FakePipeline())[: len(one.reply.tokens)]
    assert len(one.reply.tokens) <= 2


def test_a_stream_that_is_cancelled_before_it_began_is_empty():
    pipeline = FakePipeline()
    one = stream(pipeline)
    one.cancel()
    assert (one.reply.tokens, one.reply.finish_reason) == ((), "cancelled")
    assert pipeline.stages["decode"].slices == []


def test_cancelling_in_the_midst_of_the_prompt_stops_there():
    pipeline = FakePipeline(chunk=2)
    one = stream(pipeline, " ".join(["1"] * 30))
    pipeline.scheduler.advance(one._job)
    pipeline.scheduler.advance(one._job)
    one.cancel()
    assert one.reply.tokens == ()
    assert sum(pipeline.stages["decode"].slices) == 4
    assert pipeline.leased == 0


def test_leaving_a_with_block_ends_the_generation():
    pipeline = FakePipeline()
    with stream(pipeline) as one:
        next(one)
    assert one.closed
    assert pipeline.leased == 0


def test_streams_are_closed_and_read_from_any_thread():
    pipeline = FakePipeline()
    alone = [tokens(FakePipeline(), *request) for request in REQUESTS]
    streams = [stream(pipeline, *request) for request in REQUESTS]
    replies = {}

    def read(index):
        replies[index] = streams[index].reply.tokens

    threads = [threading.Thread(target=read, args=[index]) for index in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert [replies[index] for index in range(len(streams))] == alone
    assert pipeline.leased == 0


def test_a_newcomer_waits_for_the_round_that_runs_and_no_longer():
    pipeline = FakePipeline(max_length=2000)
    rounds = pipeline.stages["decode"].slices
    endless = stream(pipeline, max_new_tokens=1900)
    reader = threading.Thread(target=lambda: endless.reply)
    reader.start()
    waited = []
    while len(waited) < 20 and reader.is_alive():
        before = len(rounds)
        with pipeline.scheduler.exclusive():
            waited.append(len(rounds) - before)
    endless.cancel()
    reader.join(timeout=20)
    assert len(waited) == 20
    assert max(waited) <= 2


def test_a_reader_whose_text_is_there_waits_for_no_round():
    pipeline = FakePipeline()
    first, second = stream(pipeline), stream(pipeline)
    next(first)
    with pipeline.scheduler.exclusive():
        thread = threading.Thread(target=lambda: pipeline.scheduler.advance(second._job))
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_when_the_reader_that_drives_the_loop_goes_another_one_drives_it():
    pipeline = FakePipeline(max_length=400)
    short, long = stream(pipeline, max_new_tokens=40), stream(pipeline, max_new_tokens=300)
    replies = []
    threads = [
        threading.Thread(target=lambda one=one: replies.append(len(one.reply.tokens)))
        for one in (short, long)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert replies == [40, 300]
