"""Slots of key/value rows: what they keep, give back, copy and evict."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes import cache_pair
from triptych import InputError, PluginError
from triptych.core.ports import CachePair, Port
from triptych.plugins.caches import manifest
from triptych.plugins.caches.block import MASK_STEP
from triptych.plugins.caches.buffers import FIRST_ONES, BufferCache, CacheError
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
    """The tokens whose rows the next forward of a slot finds, read from its buffers."""
    assert slot.room >= 0
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
    assert not np.shares_memory(three.pasts["past.key"], buffers["past.key"])
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
    limit, seen, expected = sinks + size + slack, 0, []
    for wanted in slices:
        count = min(wanted, slot.room)
        assert slot.room >= slack, "there is always room for a draft"
        more = list(range(seen, seen + count))
        assert forward(cache, slot, more) == len(expected) + count
        seen += count
        expected += more
        if len(expected) >= limit:
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
    assert slot.truncate(5), "nothing is evicted before the next forward"
    forward(cache, slot, [5])
    assert kept(slot) == [0, 3, 4, 5]
    forward(cache, slot, [6])
    assert slot.truncate(6)
    assert kept(slot) == [0, 3, 4, 5]
    assert not slot.truncate(5), "token 2 would be in the window of the shorter sequence"


def test_a_fork_of_a_window_knows_what_was_evicted():
    cache = window(3, 1, 2)
    slot = cache.lease()
    forward(cache, slot, range(6))
    assert kept(slot) == [0, 3, 4, 5]
    fork = slot.fork()
    assert kept(fork) == [0, 3, 4, 5]
    assert not fork.truncate(5)
    fork.close()
    assert cache.lease().truncate(0), "memory that is used again has evicted nothing"


def test_a_window_is_as_large_as_it_says_however_long_the_sequence_may_be():
    assert cache_shape(window(8, 2, 4)) == (1, 2, 17, 3)
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
    assert exact == {"full": True, "window": False, "key_norm": False, "h2o": False}


# Several at once


def pool(rows, length=20):
    cache = full(length)
    cache.lay_out(rows)
    return cache


def step(cache, slots, tokens):
    """One token for each slot, written as a decoder does; the binding."""
    binding = cache.bind(slots, [np.array([token]) for token in tokens])
    ends = binding.ports["attention_mask"].sum(axis=1)
    written = np.full(len(ends), -7.0)
    for row, token in zip(binding.rows, tokens, strict=True):
        written[row] = token
    for row, end in enumerate(ends):
        binding.pasts["past.key"][row, :, end - 1] = written[row]
        binding.pasts["past.value"][row, :, end - 1] = written[row] + 1000
    cache.settle(slots)
    return binding


def test_slots_of_a_pool_lie_side_by_side():
    cache = pool(4)
    slots = [cache.lease() for _ in range(4)]
    assert [slot.place for slot in slots] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    whole = cache.bind(slots, [np.array([0])] * 4)
    assert (whole.batch, whole.rows) == (4, (0, 1, 2, 3))
    for slot, row in zip(slots, range(4), strict=True):
        assert np.shares_memory(slot.pasts["past.key"], whole.pasts["past.key"][row])
    assert whole.pasts["past.key"].flags.c_contiguous


def test_rows_of_any_length_grow_by_one_each():
    cache = pool(4)
    slots = [cache.lease() for _ in range(3)]
    for slot, count in zip(slots, (1, 4, 2), strict=True):
        forward(cache, slot, range(count))
    binding = step(cache, [slots[2], slots[0], slots[1]], [2, 1, 4])
    assert binding.rows == (2, 0, 1)
    assert binding.ports["attention_mask"].sum(axis=1).tolist() == [2, 5, 3]
    assert [kept(slot) for slot in slots] == [[0, 1], [0, 1, 2, 3, 4], [0, 1, 2]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=30))
def test_masks_follow_rows_that_grow_shrink_come_and_go(acts):
    cache = pool(5, 30)
    slots = [cache.lease() for _ in range(5)]
    for row, act in acts:
        slot = slots[row]
        if act < 3 and slot.room > 2:
            forward(cache, slot, range(len(slot.index), len(slot.index) + act + 1))
        elif act == 3:
            slot.truncate(len(slot.index) // 2)
        elif act == 4:
            slot.close()
            slots[row] = next(one for one in [cache.lease()] if one.row == row)
        ends = [slot for slot in (slots[0], slots[4]) if slot.room]
        if len(ends) == 2:
            mask = step(cache, ends, [len(slot.index) for slot in ends]).ports["attention_mask"]
            sums = [len(slot.index) + (slot not in ends) for slot in slots]
            assert mask.sum(axis=1).tolist() == sums
            assert (np.diff(mask, axis=1) <= 0).all(), "ones first"
            assert mask.flags.c_contiguous
        assert all(kept(slot) == list(range(len(slot.index))) for slot in slots)


def test_a_dead_row_that_is_full_keeps_all_of_its_rows():
    cache = pool(3, 4)
    one, full_one, other = (cache.lease() for _ in range(3))
    forward(cache, full_one, range(4))
    assert full_one.room == 0
    step(cache, [one, other], [0, 0])
    assert kept(full_one) == [0, 1, 2, 3]


def test_the_same_rows_are_the_same_objects():
    cache = pool(4)
    slots = [cache.lease() for _ in range(4)]
    first = step(cache, slots[1:3], [0, 0])
    step(cache, slots, [1, 1, 1, 1])
    again = step(cache, slots[1:3], [2, 2])
    assert all(first.pasts[name] is again.pasts[name] for name in first.pasts)
    assert first.ports["attention_mask"] is again.ports["attention_mask"]


def test_masks_get_narrow_again():
    cache = pool(2, 40_000)
    slots = [cache.lease(), cache.lease()]
    forward(cache, slots[0], range(30_000))
    wide = cache.bind(slots, [np.array([30_000]), np.array([0])]).ports["attention_mask"]
    slots[0].truncate(10)
    narrow = cache.bind(slots, [np.array([10]), np.array([0])]).ports["attention_mask"]
    assert 30_001 <= wide.shape[1] <= 30_001 + MASK_STEP
    assert narrow.shape[1] == MASK_STEP
    assert narrow.sum(axis=1).tolist() == [11, 1]


def test_a_new_slot_is_the_nearest_to_those_in_use():
    cache = pool(8)
    slots = [cache.lease() for _ in range(8)]
    for slot in (slots[0], slots[3], slots[7]):
        slot.close()
    cache.bind([slots[4], slots[5]], [np.array([0])] * 2)
    assert [cache.lease().row for _ in range(3)] == [3, 7, 0]


def test_more_slots_than_a_block_has_get_another_one():
    cache = pool(2)
    slots = [cache.lease() for _ in range(3)]
    assert [slot.place for slot in slots] == [(0, 0), (0, 1), (1, 0)]
    assert sorted(map(sorted, cache.together(slots))) == [[0, 1], [2]]


def test_rows_far_apart_are_not_bound_together():
    cache = pool(16)
    slots = [cache.lease() for _ in range(16)]
    ends = [slots[0], slots[15]]
    assert cache.together(ends) == [[0], [1]], "fourteen dead rows cost more than a run"
    assert cache.together([slots[2], slots[0], slots[5]]) == [[1, 0, 2]]
    long = full(20_000)
    long.lay_out(3)
    slots = [long.lease() for _ in range(3)]
    assert long.together([slots[0], slots[2]]) == [[0, 1]]
    forward(long, slots[1], range(10_000))
    assert long.together([slots[0], slots[2]]) == [[0], [1]], "so do ten thousand dead tokens"


def test_idle_slots_are_asked_for_before_a_block_is_reserved():
    cache = pool(8)
    slots = [cache.lease() for _ in range(8)]
    asked = []

    def evict_idle():
        asked.append(len(cache.leased))
        slots[2].close()
        return True

    cache.evict_idle = evict_idle
    assert cache.lease().place == (0, 2)
    assert asked == [8]


def test_a_pool_counts_what_its_sequences_hold():
    cache = pool(4)
    one, two = cache.lease(), cache.lease()
    forward(cache, one, range(5))
    forward(cache, two, range(2))
    assert cache.bytes_per_token == 2 * 2 * 3 * 8
    assert cache.used == 7 * cache.bytes_per_token
    one.close()
    assert cache.used == 2 * cache.bytes_per_token


def test_fewer_slots_are_reserved_where_the_system_refuses_so_many():
    def allocate(shape, dtype):
        if shape[0] > 3:
            raise InputError("no")
        return dirty(shape, dtype)

    cache = Full().make(PAIRS, 20, allocate)
    cache.lay_out(8)
    assert [cache.lease().place for _ in range(3)] == [(0, 0), (0, 1), (1, 0)]


# Faults of a policy


class Notes:
    def observe(self, seen, index, count):
        seen["hidden.0"]

    def evict(self, pasts, count):
        raise ArithmeticError("there is no sum")


def uneven(pasts, count):
    return {name: np.arange(place + 1) for place, name in enumerate(pasts)}


def nothing(pasts, count):
    return {}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"notes": Notes}, "the cache's Notes.evict raised ArithmeticError: there is no sum"),
        (
            {"evict": uneven},
            "the cache's uneven keeps 1 rows of past.key and 2 of past.value; as many stay "
            "everywhere, one at least",
        ),
        ({"evict": nothing}, "the cache's nothing keeps 0 rows of past.key"),
    ],
)
def test_a_policy_that_cannot_say_what_stays_is_named(policy, message):
    cache = BufferCache(PAIRS, 4, dirty, **policy)
    slot = cache.lease()
    forward(cache, slot, range(4))
    with pytest.raises(PluginError, match=re.escape(message)):
        cache.bind([slot], [np.array([4])])


def test_a_policy_that_asks_for_what_it_is_not_shown_is_named():
    cache = BufferCache(PAIRS, 4, dirty, notes=Notes)
    slot = cache.lease()
    cache.bind([slot], [np.arange(2)])
    with pytest.raises(PluginError, match=r"the cache's Notes.observe raised KeyError: 'hidden.0'"):
        cache.observe([slot], [{}])
