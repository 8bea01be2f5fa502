"""Slots of key/value rows: what they keep, give back, copy and evict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes import cache_pair
from triptych.core.ports import CachePair, Port
from triptych.plugins.caches import manifest
from triptych.plugins.caches.buffers import FIRST_ONES, CacheError
from triptych.plugins.caches.full import Full
from triptych.plugins.caches.window import Window

PAIRS = [cache_pair("key", heads=2, size=3), cache_pair("value", heads=2, size=3)]


def window(size, sinks, slack):
    return Window(Window.Settings(size=size, sinks=sinks, slack=slack)).make(PAIRS, 1000, dirty)


def full(length=20):
    return Full().make(PAIRS, length, dirty)


def dirty(shape, dtype):
    return np.full(shape, -1, dtype)


def rows(tokens):
    """What a stage writes for these tokens: their numbers, and those a thousand up."""
    return np.asarray(tokens, float)[:, None] * np.ones(3)


def forward(cache, slot, tokens):
    """Write rows as a decoder does; the mask's length."""
    tokens = np.asarray(tokens)
    binding = cache.bind([slot], [tokens])
    total = binding.ports["attention_mask"].shape[1]
    for part, offset in (("past.key", 0), ("past.value", 1000)):
        binding.pasts[part][0, :, total - len(tokens) : total] = rows(tokens) + offset
    cache.settle([slot])
    return total


def kept(slot):
    """The tokens whose rows a slot holds, read from its buffers."""
    count = len(slot.index)
    keys, values = slot.pasts["past.key"], slot.pasts["past.value"]
    np.testing.assert_array_equal(keys[:, :, :count] + 1000, values[:, :, :count])
    assert slot.index == keys[0, 0, :count, 0].tolist() == keys[0, 1, :count, 2].tolist()
    return slot.index


def test_rows_of_a_forward_count_when_it_is_settled():
    cache = full()
    slot = cache.lease()
    assert forward(cache, slot, [0, 1, 2]) == 3
    assert slot.room == 17
    cache.bind([slot], [np.array([3, 4])])
    assert (kept(slot), slot.room) == ([0, 1, 2], 17), "a forward that failed leaves no trace"
    assert forward(cache, slot, [3]) == 4
    assert kept(slot) == [0, 1, 2, 3]


def test_the_mask_is_ones_of_the_rows_there_will_be():
    cache = full()
    slot = cache.lease()
    forward(cache, slot, range(5))
    mask = cache.bind([slot], [np.array([5, 6])]).ports["attention_mask"]
    assert (mask.dtype, mask.tolist()) == (np.int64, [[1] * 7])
    with pytest.raises(ValueError, match="read-only"):
        mask[:] = 0


def test_the_mask_grows_with_what_is_used_and_not_with_what_may_be():
    cache = full(100_000)
    assert cache.ones.shape == (1, FIRST_ONES)
    slot = cache.lease()
    for total in (FIRST_ONES + 1, 3 * FIRST_ONES, 100_000):
        mask = cache.bind([slot], [np.arange(total)]).ports["attention_mask"]
        assert mask.shape == (1, total)
        assert mask.all()


def test_the_buffers_are_the_same_objects_for_all_of_a_slots_life():
    cache = full()
    slot = cache.lease()
    first = cache.bind([slot], [np.arange(3)]).pasts
    cache.settle([slot])
    slot.truncate(1)
    second = cache.bind([slot], [np.arange(1, 2)]).pasts
    assert all(first[name] is second[name] for name in first)
    assert {name: buffer.shape for name, buffer in first.items()} == {
        "past.key": (1, 2, 20, 3),
        "past.value": (1, 2, 20, 3),
    }


@given(st.lists(st.integers(0, 12), max_size=8))
def test_a_full_cache_goes_back_to_any_length(lengths):
    cache = full(40)
    slot = cache.lease()
    expected = []
    for length in lengths:
        more = range(len(expected), len(expected) + 3)
        forward(cache, slot, more)
        expected += more
        assert slot.truncate(length)
        expected = expected[:length]
        assert kept(slot) == expected
        assert slot.room == 40 - len(expected)


def test_a_pruned_sequence_is_addressed_by_its_own_token_numbers():
    cache = full()
    slot = cache.lease()
    forward(cache, slot, [0, 1, 2, 3])
    assert slot.truncate(3)
    forward(cache, slot, [3, 4])
    assert kept(slot) == [0, 1, 2, 3, 4]


def test_a_fork_has_rows_of_its_own():
    cache = full()
    one = cache.lease()
    forward(cache, one, range(4))
    two = one.fork()
    forward(cache, one, [4])
    forward(cache, two, [4, 5])
    one.truncate(1)
    assert kept(one) == [0]
    assert kept(two) == [0, 1, 2, 3, 4, 5]
    assert not any(
        np.shares_memory(one.pasts[name], two.pasts[name]) for name in ("past.key", "past.value")
    )


def test_closed_slots_are_used_again_and_never_twice_at_once():
    cache = full()
    one = cache.lease()
    forward(cache, one, range(4))
    buffers = one.pasts
    one.close()
    one.close()
    two, three = cache.lease(), cache.lease()
    assert two.pasts is buffers
    assert three.pasts is not buffers
    assert (kept(two), two.room) == ([], 20), "nothing is left of the other sequence"


@given(
    size=st.integers(1, 6),
    sinks=st.integers(0, 3),
    slack=st.integers(1, 5),
    slices=st.lists(st.integers(1, 9), min_size=1, max_size=20),
)
def test_a_window_keeps_the_sinks_and_the_last_tokens(size, sinks, slack, slices):
    cache = window(size, sinks, slack)
    slot = cache.lease()
    capacity, seen, expected = sinks + size + slack, 0, []
    for wanted in slices:
        count = min(wanted, slot.room)
        assert count >= 1, "there is always room for a token"
        more = list(range(seen, seen + count))
        assert forward(cache, slot, more) == len(expected) + count
        seen += count
        expected += more
        if len(expected) == capacity:
            expected = expected[:sinks] + expected[-size:]
        assert kept(slot) == expected
        assert expected[-min(seen, size) :] == list(range(max(seen - size, 0), seen))
        assert expected[: min(seen, sinks)] == list(range(min(seen, sinks)))


def test_a_window_goes_back_as_far_as_its_last_eviction():
    cache = window(3, 1, 2)
    slot = cache.lease()
    forward(cache, slot, range(5))
    assert slot.truncate(4), "nothing was evicted yet"
    forward(cache, slot, [4, 5])
    assert kept(slot) == [0, 3, 4, 5]
    forward(cache, slot, [6])
    assert slot.truncate(6)
    assert kept(slot) == [0, 3, 4, 5]
    assert not slot.truncate(5), "token 2 would be in the window of the shorter sequence"


def test_a_fork_of_a_window_knows_what_was_evicted():
    cache = window(3, 1, 2)
    slot = cache.lease()
    forward(cache, slot, range(6))
    fork = slot.fork()
    assert kept(fork) == [0, 3, 4, 5]
    assert not fork.truncate(5)
    fork.close()
    assert cache.lease().truncate(0), "memory that is used again has evicted nothing"


def test_a_window_is_as_large_as_it_says_however_long_the_sequence_may_be():
    assert cache_shape(window(8, 2, 4)) == (1, 2, 14, 3)
    assert cache_shape(full(20)) == (1, 2, 20, 3)


def cache_shape(cache):
    return cache.lease().pasts["past.key"].shape


@pytest.mark.parametrize(
    "port",
    [
        Port("past", "float32", ("B", "heads", "max_len", 3)),
        Port("past", "float32", ("B", 2, "max_len", "head_size")),
        Port("past", "float32", (2, "max_len", 3)),
        Port("past", "onnx type 17", ("B", 2, "max_len", 3)),
    ],
)
@pytest.mark.parametrize("policy", [Full(), Window(Window.Settings(size=8))])
def test_a_past_of_unknown_size_is_refused_before_anything_runs(policy, port):
    with pytest.raises(CacheError) as error:
        policy.make([CachePair(port, port, 0, "key")], 20, dirty)
    assert str(error.value) == (
        f"no cache can be reserved for {port}; it must be [B, heads, max_len, head_size] of a "
        "dtype of numpy, with numbers for heads and head_size: export the graph with fixed ones"
    )


@pytest.mark.parametrize(
    "values", [{}, {"size": 0}, {"size": 1, "sinks": -1}, {"size": 1, "slack": 0}, {"length": 4}]
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(ValidationError):
        Window.Settings(**values)


def test_the_manifest_lists_what_can_be_built():
    exact = {}
    for component in manifest.caches():
        module, _, name = component.target.partition(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        settings = getattr(kind, "Settings", None)
        policy = kind(settings(**{component.main: 4})) if settings else kind()
        exact[component.name] = policy.exact
    assert exact == {"full": True, "window": False}
