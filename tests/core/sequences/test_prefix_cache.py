"""Requests go on from what earlier ones left, and give the tokens that they give alone."""

import threading

import pytest

from tests.fakes import FakePipeline, watch_slots
from triptych import Request
from triptych.core import pipeline
from triptych.core.assembly.prefixes import FEW_TOKENS
from triptych.core.sequences.prefix_cache import WORTH_A_COPY, PrefixCache

IMAGE, OTHER = (4, 4, 1), (2, 6, 2)
LONG = " ".join(str(number % 9) for number in range(60))
SHARED = "session: {prefix_cache: true}"
PLAIN = "session: {prefix_cache: false}"
SAMPLED = {"sampler": [{"temperature": 0.9}, "draw"]}


def slices(pipe):
    return pipe._executor.wiring.span[-1].stage.slices


def alone(load, *args, **settings):
    return load(PLAIN).generate(*args, **settings).tokens


# What is shared


@pytest.mark.parametrize("settings", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_second_question_forwards_what_is_new_and_gives_the_tokens_it_gives_alone(load, settings):
    pipe = load(SHARED)
    settings = {**settings, "seed": 5}
    first = pipe.generate(f"{LONG} 7 7", images=[IMAGE], **settings)
    assert first.usage.cached_tokens == 0
    before = len(pipe.processor.prompt(Request(LONG, images=[IMAGE])).tokens)
    del slices(pipe)[:]
    second = pipe.generate(f"{LONG} 5 4 3", images=[IMAGE], **settings)
    assert second.usage.cached_tokens == before
    assert slices(pipe)[0] == 3
    assert second.tokens == alone(load, f"{LONG} 5 4 3", images=[IMAGE], **settings)


def test_the_same_prompt_again_forwards_its_last_token(load):
    pipe = load(SHARED)
    first = pipe.generate(LONG)
    del slices(pipe)[:]
    again = pipe.generate(LONG)
    assert slices(pipe)[0] == 1
    assert again.tokens == first.tokens
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


def test_another_image_shares_what_stands_before_it(load):
    pipe = load(SHARED)
    large = (8, 8, 1)
    pipe.generate("1", images=[large, IMAGE])
    vision = pipe._executor.wiring.input[0].stage
    reply = pipe.generate("1", images=[large, OTHER])
    begin, end = 1, 1
    assert reply.usage.cached_tokens == begin + 16 + end + begin
    assert vision.runs == [2, 1], "each image once"
    assert reply.tokens == alone(load, "1", images=[large, OTHER])


def test_a_reply_is_gone_on_from_as_a_prompt_is(load):
    pipe = load(SHARED)
    said = pipe.generate(LONG).tokens
    more = " ".join(map(str, [*said, 3]))
    del slices(pipe)[:]
    reply = pipe.generate(f"{LONG} {more}")
    # The last token of a reply was never forwarded.
    assert slices(pipe)[0] == 2
    assert reply.tokens == alone(load, f"{LONG} {more}")


@pytest.mark.parametrize("strategy", ["autoregressive", "prompt_lookup"])
def test_any_series_of_requests_gives_the_tokens_of_each_alone(load, strategy):
    pipe = load(f"strategy: {strategy}\n{SHARED}")
    plain = load(PLAIN)
    asked = [
        (f"{LONG} 1", []),
        (f"{LONG} 2", [IMAGE]),
        (LONG, []),
        ("1 2 3", []),
        (f"{LONG} 2 3", [IMAGE]),
        (f"{LONG} 2", [IMAGE, OTHER]),
        ("1 2 3 4", []),
        (LONG[:41], [OTHER]),
        (f"{LONG} 1", []),
    ]
    for seed, (text, images) in enumerate(asked):
        settings = {**SAMPLED, "seed": seed}
        reply = pipe.generate(text, images=images, **settings)
        assert reply.tokens == plain.generate(text, images=images, **settings).tokens
    assert pipe.generate(asked[0][0]).usage.cached_tokens > 50


# Sequences in use


def test_a_prefix_that_is_in_use_is_copied(load):
    pipe = load(SHARED)
    first = pipe.stream(f"{LONG} 7")
    next(first)
    del slices(pipe)[:]
    second = pipe.stream(f"{LONG} 8 8")
    next(second)
    assert 2 in slices(pipe)
    assert len(LONG.split()) + 2 not in slices(pipe)
    assert second.reply.usage.cached_tokens == len(LONG.split())
    assert first.reply.tokens == alone(load, f"{LONG} 7")
    assert second.reply.tokens == alone(load, f"{LONG} 8 8")


def test_requests_that_begin_together_forward_what_they_share_once(load):
    pipe = load(SHARED)
    requests = [Request(f"{LONG} {number}", images=[IMAGE]) for number in range(4)]
    replies = pipe.generate_batch(requests)
    shared = len(pipe.processor.prompt(Request(LONG, images=[IMAGE])).tokens)
    assert [reply.usage.cached_tokens for reply in replies] == [0, shared, shared, shared]
    plain = load(PLAIN)
    assert [reply.tokens for reply in replies] == [plain.generate(one).tokens for one in requests]


def test_a_prefix_that_is_too_short_to_copy_is_forwarded(load):
    for length, cached in ((WORTH_A_COPY - 1, 0), (WORTH_A_COPY, WORTH_A_COPY)):
        prefix = " ".join(["1"] * length)
        replies = load(SHARED).generate_batch([Request(f"{prefix} 2"), Request(f"{prefix} 3")])
        assert [reply.usage.cached_tokens for reply in replies] == [0, cached]


def test_what_is_long_is_not_given_up_for_a_short_prefix(load):
    pipe = load(SHARED)
    beginning = " ".join(LONG.split()[:20])
    pipe.generate(LONG)
    assert pipe.generate(f"{beginning} 9 9").usage.cached_tokens == 20
    assert pipe.generate(f"{LONG} 1").usage.cached_tokens == len(LONG.split())


def test_threads_share_prefixes_and_get_the_tokens_they_get_alone(load):
    pipe, plain = load(SHARED), load(PLAIN)
    asked = [(f"{LONG} {number % 3}", [IMAGE] if number % 2 else []) for number in range(12)]
    found = {}

    def ask(number):
        text, images = asked[number]
        found[number] = pipe.generate(text, images=images, seed=number, **SAMPLED).tokens

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (text, images) in enumerate(asked):
        expected = plain.generate(text, images=images, seed=number, **SAMPLED).tokens
        assert found[number] == expected


# Chats


def test_chats_share_what_they_have_in_common_and_keep_what_is_their_own(load):
    pipe, plain = load(SHARED), load(PLAIN)
    chats = [pipe.chat(system=LONG), pipe.chat(system=LONG)]
    others = [plain.chat(system=LONG), plain.chat(system=LONG)]
    first = chats[0].send("1 2", images=[IMAGE])
    second = chats[1].send("3 4")
    assert second.usage.cached_tokens > len(LONG.split())
    assert first.tokens == others[0].send("1 2", images=[IMAGE]).tokens
    assert second.tokens == others[1].send("3 4").tokens
    for chat, other in zip(chats, others, strict=True):
        turn, expected = chat.send("5"), other.send("5")
        assert turn.tokens == expected.tokens
        assert turn.usage.cached_tokens == expected.usage.cached_tokens


def test_a_request_without_a_chat_goes_on_from_one_and_leaves_it_as_it_was(load):
    pipe = load(SHARED)
    chat = pipe.chat(system=LONG)
    chat.send("1 2")
    reply = pipe.generate(messages=[{"role": "system", "content": LONG}, *chat.messages[1:2]])
    assert reply.usage.cached_tokens > len(LONG.split())
    del slices(pipe)[:]
    chat.send("3")
    assert slices(pipe)[0] < 8


# Memory


def test_what_is_kept_is_bounded_in_bytes(load):
    prompts = [" ".join([str(number)] * 40) for number in range(1, 6)]
    token = 2 * 8 * 8  # key and value, two heads of four float64 numbers
    pipe = load(f"session: {{prefix_cache: {120 * token}}}")
    slots = watch_slots(pipe)
    for prompt in prompts:
        pipe.generate(prompt)
        assert pipe._prefixes.bytes <= 120 * token
    assert sum(not slot.closed for slot in slots) == 2, "of 51 tokens each"
    assert pipe.generate(prompts[-1]).usage.cached_tokens == 39
    assert pipe.generate(prompts[0]).usage.cached_tokens == 0


def test_what_is_larger_than_the_bound_goes_at_once(load):
    pipe = load("session: {prefix_cache: 10}")
    slots = watch_slots(pipe)
    assert [pipe.generate(LONG).usage.cached_tokens for _ in range(2)] == [0, 0]
    assert all(slot.closed for slot in slots)


def test_a_slot_that_is_wanted_is_the_least_recently_used_one_that_is_kept(load):
    pipe = load(SHARED)
    chat = pipe.chat()
    chat.send(LONG)
    pipe.generate("7 7 7")
    assert pipe._prefixes.evict_one()
    assert pipe._prefixes.evict_one()
    assert not pipe._prefixes.evict_one()
    reply = chat.send("1")
    assert reply.usage.cached_tokens == 0
    plain = load(PLAIN).chat()
    plain.send(LONG)
    assert reply.tokens == plain.send("1").tokens


def test_a_closed_chat_leaves_nothing(load):
    pipe = load(SHARED)
    slots = watch_slots(pipe)
    chat = pipe.chat()
    chat.send(LONG)
    del chat
    pipe.generate("1")
    pipe._prefixes.clear()
    assert all(slot.closed for slot in slots)


def test_a_slot_that_a_copy_takes_is_never_that_of_what_is_copied():
    fake = FakePipeline()
    prefixes = PrefixCache(2**30, 1)
    ended = fake.sequence(LONG)
    fake.forward(ended)
    prefixes.end(ended)
    cache = fake.caches["decode"]
    lease = cache.lease

    def crowded():
        assert not prefixes.evict_one()
        return lease()

    cache.lease = crowded
    beginning = " ".join(LONG.split()[:20])
    sequence = fake.executor.sequence()
    prefixes.begin(sequence, fake.prompt(f"{beginning} 9 9"))
    prefixes.join(sequence)
    assert sequence.forwarded == 20
    cache.lease = lease
    assert prefixes.evict_one(), "and it is kept on"


# Where nothing may be shared


@pytest.mark.parametrize(
    "extra",
    [
        PLAIN,
        # What a token sees depends on how the prompt was cut.
        "stages: [local/vision, mrope, local/embed, merge, "
        "{local/windowed: {cache: {window: {size: 90}}}}]\n" + SHARED,
    ],
    ids=["switched off", "a cache that is not exact"],
)
def test_nothing_is_shared_and_slots_go_back(load, extra):
    pipe = load(extra)
    slots = watch_slots(pipe)
    assert [pipe.generate(LONG).usage.cached_tokens for _ in range(2)] == [0, 0]
    assert all(slot.closed for slot in slots)
    chat = pipe.chat()
    chat.send(LONG)
    if extra == PLAIN:
        assert chat.send("1").usage.cached_tokens > 60, "a chat goes on all the same"


# Where few tokens are computed otherwise than many


def few(load, monkeypatch):
    """A pipeline that is told so of its cache."""
    monkeypatch.setattr(pipeline, "least_forwarded", lambda wiring: FEW_TOKENS)
    return load(SHARED)


def test_what_is_forwarded_of_a_prompt_is_never_few_tokens(load, monkeypatch):
    pipe = few(load, monkeypatch)
    pipe.generate(LONG)
    for text in (LONG, f"{LONG} 1", " ".join(LONG.split()[:40])):
        del slices(pipe)[:]
        reply = pipe.generate(text)
        assert slices(pipe)[0] == FEW_TOKENS
        assert reply.usage.cached_tokens == reply.usage.prompt_tokens - FEW_TOKENS
        assert reply.tokens == alone(load, text)


def test_replies_and_short_prompts_are_not_shared_there(load, monkeypatch):
    pipe = few(load, monkeypatch)
    said = pipe.generate(LONG).tokens
    more = " ".join(map(str, [*said, *range(1, 20)]))
    reply = pipe.generate(f"{LONG} {more} {more}")
    assert reply.usage.cached_tokens == len(LONG.split())
    short = " ".join(["7"] * (FEW_TOKENS - 1))
    assert [pipe.generate(short).usage.cached_tokens for _ in range(2)] == [0, 0]
    assert pipe.generate(f"{short} 1 2 3 4 5 6").usage.cached_tokens == 0


def test_a_chat_goes_on_from_its_own_replies_and_gives_them_to_nobody_there(load, monkeypatch):
    pipe = few(load, monkeypatch)
    chat = pipe.chat(system=LONG)
    chat.send("1 2")
    turn = [{"role": "system", "content": LONG}, *chat.messages[1:2]]
    assert pipe.generate(messages=turn).usage.cached_tokens == 0
    assert chat.send("3").usage.cached_tokens > 40
