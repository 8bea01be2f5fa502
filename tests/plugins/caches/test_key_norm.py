"""Eviction by the norms of keys: who stays, what moves with it, and how far back one may go."""

import numpy as np
import pytest

import triptych
from tests.fakes import FakePipeline, cache_pair
from triptych import Request
from triptych.core.clock import Clock
from triptych.core.ports import CachePair, Port
from triptych.plugins.caches.buffers import CacheError
from triptych.plugins.caches.key_norm import KeyNorm

HEADS, SIZE = 2, 3
PAIRS = [cache_pair("key", heads=HEADS, size=SIZE), cache_pair("value", heads=HEADS, size=SIZE)]


def policy(**settings):
    return KeyNorm(KeyNorm.Settings(**settings))


def cache(**settings):
    return policy(**settings).make(PAIRS, 1000, lambda shape, dtype: np.full(shape, -1, dtype))


def forward(made, slot, keys, begin=0):
    """Write tokens, each with a key of its norm, [heads, tokens]; values are the tokens."""
    keys = np.asarray(keys, float)
    count = keys.shape[1]
    index = np.arange(begin, begin + count)
    binding = made.bind([slot], [index])
    total = binding.ports["attention_mask"].shape[1]
    # Of one direction each, so that the norm is the number itself.
    binding.pasts["past.key"][0, :, total - count : total] = keys[:, :, None] * [1, 0, 0]
    binding.pasts["past.value"][0, :, total - count : total] = index[:, None]
    made.settle([slot])


def kept(slot):
    """The tokens that the next forward of each head finds."""
    assert slot.room >= 1
    return slot.pasts["past.value"][0, :, : len(slot.index), 0].astype(int).tolist()


NORMS = [[9, 5, 1, 4, 2, 8, 3, 7], [9, 1, 5, 2, 8, 4, 6, 7]]


def test_each_head_keeps_its_smallest_keys_beside_the_first_and_the_last():
    made = cache(size=2, sinks=1, recent=2, slack=3)
    slot = made.lease()
    forward(made, slot, NORMS)
    assert kept(slot) == [[0, 2, 4, 6, 7], [0, 1, 3, 6, 7]]
    keys = slot.pasts["past.key"][0, :, :5, 0]
    assert keys.tolist() == [[9, 1, 2, 3, 7], [9, 1, 2, 6, 7]], "keys and values move together"


def test_the_largest_may_be_kept_instead():
    made = cache(size=2, sinks=1, recent=2, slack=3, keep="largest")
    slot = made.lease()
    forward(made, slot, NORMS)
    assert kept(slot) == [[0, 1, 5, 6, 7], [0, 2, 4, 6, 7]]


def test_what_was_kept_competes_again_at_the_next_eviction():
    made = cache(size=2, sinks=1, recent=2, slack=3)
    slot = made.lease()
    forward(made, slot, NORMS)
    assert slot.room >= 3
    forward(made, slot, [[1.5, 6, 6], [9, 9, 9]], begin=8)
    assert kept(slot) == [[0, 2, 8, 9, 10], [0, 1, 3, 9, 10]]


def test_layers_choose_by_themselves():
    pairs = [
        CachePair(Port(f"{part}{layer}", "float32", ("B", 1, "max_len", 1)),
                  Port(f"new_{part}{layer}", "float32", ("B", 1, "max_len", 1)), layer, part)
        for layer in range(2) for part in ("key", "value")
    ]  # fmt: skip
    made = policy(size=1, sinks=0, recent=1, slack=1).make(pairs, 100, np.zeros)
    slot = made.lease()
    binding = made.bind([slot], [np.arange(3)])
    for layer, norms in enumerate(([1, 2, 3], [2, 1, 3])):
        binding.pasts[f"key{layer}"][0, 0, :3, 0] = norms
        binding.pasts[f"value{layer}"][0, 0, :3, 0] = [0, 1, 2]
    made.settle([slot])
    assert slot.room >= 1
    assert slot.pasts["value0"][0, 0, :2, 0].tolist() == [0, 2]
    assert slot.pasts["value1"][0, 0, :2, 0].tolist() == [1, 2]


def test_it_goes_back_as_far_as_its_last_eviction_and_a_fork_knows():
    made = cache(size=2, sinks=1, recent=2, slack=3)
    slot = made.lease()
    forward(made, slot, NORMS)
    forward(made, slot, [[1, 1], [1, 1]], begin=8)
    fork = slot.fork()
    assert slot.truncate(9)
    assert [row[-1] for row in kept(slot)] == [8, 8]
    assert slot.truncate(8)
    assert not slot.truncate(7), "rows were evicted that the shorter sequence would have"
    assert [row[-1] for row in kept(fork)] == [9, 9]
    assert not fork.truncate(3)


@pytest.mark.parametrize(
    ("part", "dtype", "message"),
    [
        ("key", "int8", "holds int8 whose scales the graph keeps"),
        ("latent", "float32", "layer 0 has none; choose another cache"),
    ],
)
def test_a_past_without_norms_is_refused(part, dtype, message):
    past = Port("past", dtype, ("B", 1, "max_len", 4))
    with pytest.raises(CacheError, match=message):
        policy(size=2).make([CachePair(past, past, 0, part)], 100, np.zeros)


NARROW = {"size": 6, "sinks": 2, "recent": 3, "slack": 3}
LONG = ("1 2 3 4 5 6 7 8 9 10 11", [(4, 4, 1)])


def test_positions_go_on_after_an_eviction():
    pipeline = FakePipeline(policy=policy(**NARROW), chunk=1)
    sequence = pipeline.sequence(*LONG)
    pipeline.forward(sequence)
    whole = FakePipeline().sequence(*LONG)
    FakePipeline().executor.enter(whole, Clock())
    column = sequence.table["position_ids"].values
    np.testing.assert_array_equal(column, whole.table["position_ids"].values)
    [slot] = sequence.caches.values()
    assert len(slot.index) < len(sequence)


def test_a_cache_that_nothing_has_left_changes_nothing():
    wide = FakePipeline(policy=policy(size=150))
    np.testing.assert_array_equal(wide.logits(*LONG), FakePipeline().logits(*LONG))
    narrow = FakePipeline(policy=policy(**NARROW))
    assert np.abs(narrow.logits(*LONG) - FakePipeline().logits(*LONG)).max() > 1e-3


# On the built-in model

CHOSEN = {"decoder.cache": {"key_norm": {"size": 24, "sinks": 2, "recent": 8, "slack": 4}}}
QUESTION = "Describe this image."


def sketch(**overrides):
    return triptych.load(overrides={**CHOSEN, **overrides})


def test_drafts_need_the_users_consent():
    with pytest.raises(triptych.TriptychError, match="approximate: true"):
        sketch(strategy="prompt_lookup")
    assert sketch(strategy="prompt_lookup", approximate=True).generate("Hi").tokens


def test_nothing_is_shared_between_requests(picture):
    pipe = sketch()
    replies = [pipe.generate(QUESTION, images=[picture], max_new_tokens=8) for _ in range(2)]
    assert [reply.usage.cached_tokens for reply in replies] == [0, 0]
    assert replies[0].tokens == replies[1].tokens


def test_tokens_are_the_same_in_company(picture):
    pipe = sketch()
    requests = [
        Request(text, images=[picture], settings={"max_new_tokens": 20})
        for text in (QUESTION, "How many shapes are there?", "List the shapes as JSON.")
    ]
    alone = [pipe.generate(request).tokens for request in requests]
    assert [reply.tokens for reply in pipe.generate_batch(requests)] == alone
