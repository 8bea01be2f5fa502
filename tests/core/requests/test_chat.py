"""A conversation goes on from its cache, and equals a fresh run of the whole."""

import gc

import pytest

from tests.fakes import watch_slots
from triptych import InputError, PluginError

IMAGE, OTHER = (4, 4, 1), (2, 6, 2)

TURNS = [
    ("1 2 3", []),
    ("4", [IMAGE]),
    ("5 6", []),
    ("7", [OTHER, IMAGE]),
    ("8", []),
]


def fresh(pipe, messages, **settings):
    return pipe.generate(messages=messages, **settings).tokens


def asked(text, images=()):
    parts = [{"type": "image", "image": image} for image in images]
    content = [*parts, {"type": "text", "text": text}] if parts else text
    return {"role": "user", "content": content}


@pytest.mark.parametrize("ends", [[], [3, 9, 17, 20]], ids=["by length", "by an end token"])
@pytest.mark.parametrize("strategy", ["autoregressive", "prompt_lookup"])
@pytest.mark.parametrize("chunk", [100, 3])
def test_every_turn_equals_a_fresh_run_of_the_whole_conversation(load, ends, strategy, chunk):
    pipe = load(
        f"processor: {{local/numbers: {{ends: {ends}}}}}\nstrategy: {strategy}\n"
        f"session: {{chunk: {chunk}}}"
    )
    slots = watch_slots(pipe)
    chat = pipe.chat(system="9 9")
    for text, images in TURNS:
        history = list(chat.messages)
        reply = chat.send(text, images=images)
        assert reply.tokens == fresh(pipe, [*history, asked(text, images)])
        assert reply.usage.prompt_tokens == len(
            pipe.processor.prompt(_request([*history, asked(text, images)])).tokens
        )
    assert len(chat.messages) == 1 + 2 * len(TURNS)
    chat.clear()
    assert all(slot.closed for slot in slots)


def _request(messages):
    from triptych import Request

    return Request(messages=messages)


def test_a_later_turn_forwards_what_is_new(pipe):
    decode = pipe._executor.wiring.span[-1].stage
    chat = pipe.chat()
    chat.send("1 2 3 4 5 6 7 8", images=[IMAGE])
    del decode.slices[:]
    chat.send("1")
    # The last token, which was never forwarded; the end of its turn; the next turn, of three
    # tokens; and the role of the reply.
    assert decode.slices[0] == 6


def test_edited_history_equals_a_fresh_run_of_what_it_is_now(pipe):
    chat = pipe.chat()
    for text, images in TURNS[:3]:
        chat.send(text, images=images)
    chat.messages[2] = asked("4 4", [OTHER])
    history = list(chat.messages)
    assert chat.send("5").tokens == fresh(pipe, [*history, asked("5")])
    del chat.messages[2:]
    history = list(chat.messages)
    assert chat.send("5").tokens == fresh(pipe, [*history, asked("5")])
    chat.messages[1] = {"role": "assistant", "content": "1 1 1"}
    history = list(chat.messages)
    assert chat.send("6", images=[IMAGE]).tokens == fresh(pipe, [*history, asked("6", [IMAGE])])


def test_settings_of_a_turn_go_before_those_of_the_chat(pipe):
    chat = pipe.chat(max_new_tokens=3)
    assert len(chat.send("1").tokens) == 3
    assert len(chat.send("1", max_new_tokens=5).tokens) == 5


def test_a_cleared_chat_begins_anew_with_its_system_message(pipe):
    chat = pipe.chat(system="9")
    first = chat.send("1 2").tokens
    chat.send("3", images=[IMAGE])
    chat.clear()
    assert chat.messages == [{"role": "system", "content": "9"}]
    assert chat.send("1 2").tokens == first


def test_a_turn_joins_the_history_when_its_stream_was_read(pipe):
    chat = pipe.chat()
    stream = chat.stream("1 2")
    next(stream)
    assert chat.messages == []
    reply = stream.reply
    assert chat.messages == [
        {"role": "user", "content": "1 2"},
        {"role": "assistant", "content": reply.text, "tokens": list(reply.tokens)},
    ]


@pytest.mark.parametrize("pieces", [0, 1, 4])
def test_a_turn_that_was_closed_early_joins_the_history_with_what_it_has(pipe, pieces):
    chat = pipe.chat()
    chat.send("1 2", images=[IMAGE])
    with chat.stream("3 4 5", images=[OTHER]) as stream:
        for _ in range(pieces):
            next(stream)
    said = chat.messages[-1]["tokens"]
    assert len(said) == pieces
    history = list(chat.messages)
    assert chat.send("6").tokens == fresh(pipe, [*history, asked("6")])


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_turn_that_was_closed_in_its_prompt_leaves_a_cache_that_can_be_used(load, rounds):
    pipe = load("session: {chunk: 2}")
    chat = pipe.chat()
    chat.send("1 2")
    stream = chat.stream("3 4 5 6 7", images=[IMAGE, OTHER])
    for _ in range(rounds):
        pipe._scheduler.advance(stream._job)
    stream.close()
    history = list(chat.messages)
    assert chat.send("6").tokens == fresh(pipe, [*history, asked("6")])


def test_one_turn_at_a_time(pipe):
    chat = pipe.chat()
    stream = chat.stream("1 2")
    next(stream)
    for attempt in (lambda: chat.send("3"), chat.clear):
        with pytest.raises(InputError) as error:
            attempt()
        assert str(error.value) == (
            "the last turn is still being made; read its stream to the end, or close it"
        )
    stream.close()
    assert chat.send("3").tokens


def test_a_turn_that_is_forgotten_leaves_no_trace(pipe):
    chat = pipe.chat()
    chat.send("1 2")
    before = list(chat.messages)
    for _ in chat.stream("3 4", images=[IMAGE]):
        break
    gc.collect()
    assert chat.messages == before
    assert chat.send("5").tokens == fresh(pipe, [*before, asked("5")])


def test_a_turn_that_is_refused_leaves_the_history_as_it_was(load):
    pipe = load("session: {max_context: 60}")
    chat = pipe.chat()
    chat.send("1 2", images=[IMAGE])
    before = list(chat.messages)
    for wrong in (
        {"text": " ".join(["1"] * 90)},
        {"text": "1", "seed": -1},
        {"text": "1", "images": [(2, 2, -1)]},
    ):
        with pytest.raises(InputError):
            chat.send(**wrong)
        assert chat.messages == before
        assert chat.send("5", max_new_tokens=2).tokens == (
            fresh(pipe, [*before, asked("5")], max_new_tokens=2)
        )
        chat.messages[:] = before


def test_a_turn_that_fails_midway_leaves_a_chat_that_can_go_on(pipe):
    chat = pipe.chat()
    chat.send("1 2", images=[IMAGE])
    before = list(chat.messages)
    decode = pipe._executor.wiring.span[-1].stage
    decode.fails_at = 24
    with pytest.raises(PluginError, match="do not add up"):
        chat.send("3 24 4", images=[OTHER])
    decode.fails_at = None
    assert chat.messages == before
    assert chat.send("3 24 4", images=[OTHER]).tokens == (
        fresh(pipe, [*before, asked("3 24 4", [OTHER])])
    )


def test_chats_and_requests_do_not_mix(pipe):
    first, second = pipe.chat(), pipe.chat()
    streams = [first.stream("1 2", images=[IMAGE]), second.stream("3"), pipe.stream("4 5")]
    for stream in streams:
        next(stream)
    mixed = [stream.reply.tokens for stream in streams]
    assert mixed == [
        fresh(pipe, [asked("1 2", [IMAGE])]),
        fresh(pipe, [asked("3")]),
        pipe.generate("4 5").tokens,
    ]
    history = list(first.messages)
    assert first.send("6").tokens == fresh(pipe, [*history, asked("6")])


@pytest.mark.parametrize("pieces", [1, 12])
def test_what_a_strategy_forked_goes_back_after_each_turn(load, pieces):
    pipe = load("strategy: local/forks")
    slots = watch_slots(pipe)
    chat = pipe.chat()
    for text in ("1 2", "3"):
        with chat.stream(text) as stream:
            for _ in range(pieces):
                next(stream)
    assert sum(not slot.closed for slot in slots) == 1, "that of the chat"
    assert pipe.generate("1 2").tokens
    assert sum(not slot.closed for slot in slots) == 1


def test_a_chat_that_is_forgotten_gives_its_memory_back(pipe):
    slots = watch_slots(pipe)
    chat = pipe.chat()
    chat.send("1 2")
    stream = pipe.chat().stream("3")
    next(stream)
    assert [slot.closed for slot in slots] == [False, False]
    del chat
    gc.collect()
    assert [slot.closed for slot in slots] == [True, False]
    assert len(stream.reply.tokens) == 12, "its stream keeps a chat alive"
    del stream
    gc.collect()
    assert [slot.closed for slot in slots] == [True, True]


def test_a_chat_that_is_forgotten_within_a_round_gives_its_memory_back_with_the_next(pipe):
    slots = watch_slots(pipe)
    chat = pipe.chat()
    chat.send("1 2")
    with pipe._scheduler.exclusive():
        del chat
        gc.collect()
        assert not slots[0].closed
    pipe.generate("1")
    assert all(slot.closed for slot in slots)


WINDOWED = (
    "stages: [local/vision, mrope, local/embed, merge, "
    "{local/windowed: {cache: {window: {size: 6, sinks: 2, slack: 3}}}}]\n"
    # One token a slice, so that what a token sees does not depend on how turns were cut.
    "session: {chunk: 1}"
)


def test_a_chat_goes_on_over_a_window_that_has_forgotten_its_begin(load):
    pipe = load(WINDOWED)
    chat = pipe.chat()
    for text, images in TURNS:
        history = list(chat.messages)
        assert chat.send(text, images=images).tokens == fresh(pipe, [*history, asked(text, images)])


def test_history_that_a_window_has_forgotten_is_forwarded_anew_when_it_is_edited(load):
    pipe = load(WINDOWED)
    chat = pipe.chat()
    for text, images in TURNS[:3]:
        chat.send(text, images=images)
    decode = pipe._executor.wiring.span[-1].stage
    chat.messages[2] = asked("4 4", [OTHER])
    history = list(chat.messages)
    del decode.slices[:]
    tokens = chat.send("5", max_new_tokens=3).tokens
    whole = len(pipe.processor.prompt(_request([*history, asked("5")])).tokens)
    assert len(decode.slices) == whole + 2
    assert tokens == fresh(pipe, [*history, asked("5")], max_new_tokens=3)
