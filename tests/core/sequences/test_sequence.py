"""A sequence grows, goes back, is copied, and becomes the next prompt on what it has already."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakePipeline, FakeStage, fake_stages, same
from triptych import InputError
from triptych.core.execution.execution import Clock
from triptych.core.ports import Port
from triptych.core.prompt import Media, Prompt
from triptych.core.sequences.sequence import Column, Sequence, visual_index
from triptych.plugins.caches.window import Window

IMAGE, OTHER = (4, 4, 1), (2, 6, 2)


def media(digest, at):
    return Media("image", digest, np.array(at, np.int64), dict)


def state(sequence):
    """All that a sequence holds, as plain values."""
    columns = {**sequence.table, **sequence.rows}
    return {name: column.values.tolist() for name, column in columns.items()} | {
        "forwarded": sequence.forwarded,
        "tokens": sequence.tokens.tolist(),
    }


# Columns


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(0, 2), st.data())
def test_a_column_is_what_concatenation_gives(sizes, axis, data):
    shape = [2, 3, 4]
    shape[axis] = data.draw(st.integers(0, 3))
    expected = np.random.default_rng(0).normal(size=shape)
    column = Column(expected, axis)
    for size in sizes:
        shape[axis] = size
        more = np.random.default_rng(size).normal(size=shape)
        column.extend(more)
        expected = np.concatenate([expected, more], axis)
        if size % 3 == 1:
            keep = expected.shape[axis] // 2
            column.truncate(keep)
            expected = np.take(expected, range(keep), axis)
        assert len(column) == expected.shape[axis]
        np.testing.assert_array_equal(column.values, expected)


def test_a_column_is_no_view_of_what_it_was_made_of():
    first, more = np.arange(3), np.arange(3, 5)
    column = Column(first, 0)
    column.extend(more)
    first[:], more[:] = 9, 9
    assert column.values.tolist() == [0, 1, 2, 3, 4]


def test_what_a_stage_is_shown_of_a_column_cannot_be_written():
    column = Column(np.arange(4), 0)
    for view in (column.values, column.between(1, 3)):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 7


# Growing


def test_tokens_count_as_pending_until_they_are_forwarded():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3 4 5")
    assert (len(sequence), sequence.pending, sequence.entered, sequence.room) == (5, 5, 0, 195)
    pipeline.executor.enter(sequence, Clock())
    pipeline.executor.forward(sequence, 3, 1, Clock())
    assert (len(sequence), sequence.pending, sequence.entered) == (5, 2, 5)
    sequence.append([6])
    assert (len(sequence), sequence.pending, sequence.entered) == (6, 3, 5)
    assert sequence.tokens.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_sequence_takes_as_many_tokens_as_it_has_room_for():
    sequence = Sequence(5)
    sequence.append([1, 2, 3])
    with pytest.raises(InputError) as error:
        sequence.append([4, 5, 6])
    assert str(error.value) == (
        "the sequence would hold 6 tokens, more than the 5 it has room for; shorten the request, "
        "or raise session.max_context"
    )
    assert sequence.tokens.tolist() == [1, 2, 3]
    sequence.append(iter([4, 5]))
    assert sequence.room == 0


def test_appended_tokens_do_not_change_with_the_array_they_came_in():
    tokens = np.array([1, 2, 3])
    sequence = Sequence(9)
    sequence.append(tokens)
    tokens[:] = 7
    assert sequence.tokens.tolist() == [1, 2, 3]


def test_a_media_item_without_rows_is_as_if_it_were_not_there():
    pipeline = FakePipeline()
    sequence = pipeline.executor.sequence()
    nothing = Media("image", "nothing", np.zeros(0, np.int64), lambda: pytest.fail("computed"))
    sequence.append([1, 2, 3], [nothing])
    same(pipeline.forward(sequence), pipeline.logits("1 2 3"))
    assert sequence.align(Prompt(np.array([1, 2, 3, 4]), (nothing,))) == 3


def test_the_visual_index_counts_rows_over_all_media():
    first, second = media("a", [1, 2]), media("b", [4, 5, 6])
    assert visual_index(8, [first, second]).tolist() == [-1, 0, 1, -1, 2, 3, 4, -1]
    assert visual_index(2, []).tolist() == [-1, -1]


# Going back


@given(st.integers(0, 40))
def test_truncation_restores_every_column(length):
    pipeline = FakePipeline()
    images = [IMAGE, OTHER]
    whole = pipeline.sequence("1 2 3 4 5", images)
    length = min(length, len(whole))
    pipeline.forward(whole)
    assert whole.truncate(length)
    short = pipeline.sequence("1 2 3 4 5", images)
    pipeline.executor.enter(short, Clock())
    if length:
        pipeline.executor.forward(short, length, 1, Clock())
    short_state, whole_state = state(short), state(whole)
    for name, column in whole.table.items():
        cut = [slice(None)] * column.values.ndim
        cut[column.axis] = slice(length)
        expected = np.array(short_state[name])[tuple(cut)]
        np.testing.assert_array_equal(column.values, expected, name)
    assert whole_state["forwarded"] == length
    # What is appended next sees the same positions and rows as if nothing had been there.
    for sequence in (whole, short):
        sequence.truncate(length)
        sequence.append([7, 8])
    same(pipeline.forward(whole, 2), pipeline.forward(short, 2))
    assert state(whole) == state(short)


def test_truncation_to_the_length_it_has_or_more_changes_nothing():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3", [IMAGE])
    pipeline.forward(sequence)
    before = state(sequence)
    assert sequence.truncate(len(sequence))
    assert sequence.truncate(1000)
    assert state(sequence) == before


@pytest.mark.parametrize("length", range(12))
def test_truncation_reaches_through_tokens_that_have_not_entered_yet(length):
    sequence = FakePipeline().sequence("1 2 3 4")
    sequence.append([5, 6])
    sequence.append([7, 8, 9])
    assert sequence.truncate(length)
    assert sequence.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9][:length]
    sequence.append([10])
    assert sequence.tokens.tolist() == [*[1, 2, 3, 4, 5, 6, 7, 8, 9][:length], 10]


def test_truncation_reaches_through_what_waits_into_what_is_cached():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3 4")
    pipeline.forward(sequence)
    sequence.append([5, 6])
    assert sequence.truncate(2)
    sequence.append([3, 9])
    same(pipeline.forward(sequence), pipeline.logits("1 2 3 9"))


def test_truncation_of_what_was_not_forwarded_leaves_what_was():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3 4 5 6 7 8")
    pipeline.executor.enter(sequence, Clock())
    pipeline.executor.forward(sequence, 3, 1, Clock())
    assert sequence.truncate(5)
    assert (sequence.forwarded, sequence.pending) == (3, 2)
    same(pipeline.forward(sequence, 2), pipeline.logits("1 2 3 4 5", tail=1))


def test_tokens_left_of_an_image_that_was_cut_before_it_entered_are_text():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1", [IMAGE])
    assert sequence.truncate(3)
    image = pipeline.processor.image
    plain = pipeline.logits(f"{pipeline.processor.begin} {image} {image}")
    same(pipeline.forward(sequence), plain)


def test_an_eviction_makes_going_back_impossible_and_the_sequence_empty():
    pipeline = FakePipeline(policy=Window(Window.Settings(size=4, sinks=1, slack=2)))
    sequence = pipeline.sequence("1 2 3 4 5 6 7 8 9")
    pipeline.forward(sequence)
    assert not sequence.truncate(5)
    assert (len(sequence), sequence.pending, sequence.table, sequence.caches) == (0, 0, {}, {})
    assert pipeline.leased == 0
    sequence.append([1, 2, 3])
    same(pipeline.forward(sequence), pipeline.logits("1 2 3"))


# Copies


def test_a_fork_is_independent_of_what_it_was_made_of():
    pipeline = FakePipeline()
    one = pipeline.sequence("1 2 3", [IMAGE])
    pipeline.forward(one)
    one.append([4])
    two = one.fork()
    two.append([5])
    one.append([6])
    two_logits = pipeline.forward(two, rows=2)
    one_logits = pipeline.forward(one, rows=2)
    same(one_logits, pipeline.logits("1 2 3 4 6", [IMAGE], tail=1))
    same(two_logits, pipeline.logits("1 2 3 4 5", [IMAGE], tail=1))
    one.truncate(2)
    np.testing.assert_array_equal(two.tokens[-2:], [4, 5])
    assert pipeline.leased == 2
    for sequence in (one, two, two):
        sequence.close()
    assert pipeline.leased == 0


def test_forks_are_closed_with_what_they_were_made_of():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    fork = sequence.fork()
    fork.fork()
    sequence.fork().close()
    assert pipeline.leased == 3
    sequence.clear()
    assert pipeline.leased == 2, "a sequence that begins anew leaves its forks alone"
    sequence.close_forks()
    assert pipeline.leased == 0
    sequence.append([1])
    pipeline.forward(sequence)
    sequence.fork()
    sequence.close()
    assert pipeline.leased == 0


# Becoming the next prompt


def numbers(count, start=0):
    return " ".join(str(start + n % 20) for n in range(count))


CONVERSATIONS = {
    "more text": (("1 2 3", []), ("1 2 3 4 5", []), 3),
    "an edit": (("1 2 3 4 5", []), ("1 2 9 4 5", []), 2),
    "an edit of the first token": (("1 2 3", []), ("2 2 3", []), 0),
    "less text": (("1 2 3 4 5", []), ("1 2 3", []), 2),
    "the same text": (("1 2 3", []), ("1 2 3", []), 2),
    "a text after an image": (("1 2 3", [IMAGE]), ("1 2 4", [IMAGE]), 8),
    "another image of the same size": (("1 2 3", [IMAGE]), ("1 2 3", [(4, 4, 5)]), 1),
    "another image of another size": (("1 2 3", [IMAGE]), ("1 2 3", [OTHER]), 1),
    "no image": (("1 2 3", [IMAGE]), ("1 2 3", []), 0),
    "an image more": (("1 2 3", [IMAGE]), ("1 2 3", [IMAGE, OTHER]), 6),
    "an image less": (("1 2 3", [IMAGE, OTHER]), ("1 2 3", [IMAGE]), 6),
    "images in another order": (("1 2 3", [IMAGE, OTHER]), ("1 2 3", [OTHER, IMAGE]), 1),
    "one image twice, then another": (("1", [IMAGE, IMAGE]), ("1", [IMAGE, OTHER]), 7),
}


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("case", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_next_prompt_keeps_what_is_the_same_and_equals_a_fresh_run(case, chunk):
    (text, images), (next_text, next_images), kept = case
    pipeline = FakePipeline(chunk=chunk)
    sequence = pipeline.sequence(text, images)
    pipeline.forward(sequence)
    prompt = pipeline.prompt(next_text, next_images)
    assert sequence.align(prompt) == kept
    assert sequence.tokens.tolist() == prompt.tokens.tolist()
    assert sequence.pending == len(prompt.tokens) - kept
    rows = sequence.pending - 1
    same(
        pipeline.forward(sequence, rows=1 + rows),
        pipeline.logits(next_text, next_images, tail=rows),
    )


def test_tokens_that_were_never_forwarded_are_forwarded_with_the_next_prompt():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    sequence.append([4])
    sequence.append([5])
    assert sequence.align(pipeline.prompt("1 2 3 4 5 6")) == 3
    assert sequence.tokens.tolist() == [1, 2, 3, 4, 5, 6]
    same(pipeline.forward(sequence), pipeline.logits("1 2 3 4 5 6"))


def test_a_prompt_that_was_forwarded_in_part_goes_on_where_it_stopped():
    pipeline = FakePipeline(chunk=3)
    sequence = pipeline.sequence("1 2 3", [IMAGE])
    pipeline.executor.enter(sequence, Clock())
    pipeline.executor.forward(sequence, 3, 1, Clock())
    # Inside of the image: it is forwarded again from its begin.
    assert sequence.align(pipeline.prompt("1 2 3", [IMAGE])) == 1
    same(pipeline.forward(sequence), pipeline.logits("1 2 3", [IMAGE]))


def test_an_image_at_the_very_begin_and_at_the_very_end_of_a_prompt():
    pipeline = FakePipeline()
    image = pipeline.prompt("", [IMAGE])
    bare = Prompt(image.tokens[1:-1], tuple(item.moved(-1) for item in image.media))
    sequence = pipeline.executor.sequence()
    assert sequence.align(bare) == 0
    alone = pipeline.forward(sequence)
    assert sequence.align(bare) == 0, "one token stays pending, and an image is not cut for it"
    same(pipeline.forward(sequence), alone)
    longer = Prompt(np.append(bare.tokens, 5), bare.media)
    assert sequence.align(longer) == len(bare.tokens)
    fresh = pipeline.executor.sequence()
    fresh.align(longer)
    same(pipeline.forward(sequence), pipeline.forward(fresh))


def test_a_cut_image_is_not_taken_for_the_whole_one():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1", [IMAGE])
    pipeline.forward(sequence)
    sequence.truncate(3)
    image = pipeline.processor.image
    sequence.append([image, image, pipeline.processor.end, 1])
    pipeline.forward(sequence)
    assert sequence.align(pipeline.prompt("1 2", [IMAGE])) == 1
    same(pipeline.forward(sequence), pipeline.logits("1 2", [IMAGE]))


def clip(prompt):
    """The prompt with all its images as one medium, whose rows stand in several runs."""
    items = prompt.media
    names = items[0].ports
    ports = {name: np.concatenate([item.ports[name] for item in items]) for name in names}
    at = np.concatenate([item.at for item in items])
    digest = " ".join(item.digest for item in items)
    return Prompt(prompt.tokens, (Media("video", digest, at, lambda: ports),))


@pytest.mark.parametrize("chunk", [None, 3])
def test_a_clip_is_one_medium_whatever_stands_between_its_rows(chunk):
    pipeline = FakePipeline(chunk=chunk)
    prompt = clip(pipeline.prompt("1 2 3", [IMAGE, OTHER]))
    runs = np.flatnonzero(np.diff(prompt.media[0].at) > 1)
    assert len(runs) == 1, "text parts the two"
    sequence = pipeline.executor.sequence()
    assert sequence.align(prompt) == 0
    same(pipeline.forward(sequence), pipeline.logits("1 2 3", [IMAGE, OTHER]))
    longer = Prompt(np.append(prompt.tokens, 5), prompt.media)
    assert sequence.align(longer) == len(prompt.tokens)
    # Another text between its runs: it is forwarded again from its begin.
    between = prompt.tokens.copy()
    between[prompt.media[0].at[runs[0]] + 1] = 7
    changed = Prompt(between, prompt.media)
    pipeline.forward(sequence)
    assert sequence.align(changed) == prompt.media[0].at[0]
    fresh = pipeline.executor.sequence()
    fresh.align(changed)
    same(pipeline.forward(sequence), pipeline.forward(fresh))


def test_a_clip_that_was_cut_between_its_runs_is_not_taken_for_the_whole_one():
    pipeline = FakePipeline()
    prompt = clip(pipeline.prompt("1 2 3", [IMAGE, OTHER]))
    at = prompt.media[0].at
    run = int(np.flatnonzero(np.diff(at) > 1)[0])
    sequence = pipeline.executor.sequence()
    sequence.align(prompt)
    pipeline.forward(sequence)
    assert sequence.truncate(int(at[run]) + 2)
    assert sequence.visual_rows == run + 1
    sequence.append(prompt.tokens[at[run] + 2 :])
    pipeline.forward(sequence)
    assert sequence.align(prompt) == at[0]
    same(pipeline.forward(sequence), pipeline.logits("1 2 3", [IMAGE, OTHER]))


def test_media_are_told_apart_by_content_and_never_by_place_or_identity():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1", [IMAGE])
    pipeline.forward(sequence)
    prompt = pipeline.prompt("1 2", [IMAGE])
    renamed = Prompt(
        prompt.tokens, tuple(Media("image", "x", m.at, m.compute) for m in prompt.media)
    )
    assert sequence.align(renamed) == 1


def keep_every(nth):
    """A reducer that keeps every nth visual row."""
    return FakeStage(
        [Port("image_features", "float64", ("N", "H"))],
        [Port("keep_rows", "bool", ("N",))],
        lambda image_features: {"keep_rows": np.arange(len(image_features)) % nth == 0},
    )


@pytest.mark.parametrize("nth", [2, 3, 100])
@pytest.mark.parametrize("case", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_pruned_prompts_share_prefixes_as_whole_ones_do(case, nth):
    # Turn by turn, rows are kept per turn; so compare only where the images do not change.
    (text, images), (next_text, next_images), kept = case
    pipeline = FakePipeline(fake_stages(("mrope", "prune", keep_every(nth))))
    sequence = pipeline.sequence(text, images)
    pipeline.forward(sequence)
    sequence.align(pipeline.prompt(next_text, next_images))
    logits = pipeline.forward(sequence)
    assert len(sequence) == len(sequence.table["source"])
    if kept == 0 or images == next_images:
        same(logits, pipeline.logits(next_text, next_images))
    given = pipeline.prompt(next_text, next_images).tokens
    sources = sequence.table["source"].values
    np.testing.assert_array_equal(sequence.tokens, given[sources])
    assert (np.diff(sources) > 0).all()


turns = st.tuples(
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.lists(st.sampled_from([(2, 2, 1), (2, 2, 2), (2, 4, 1)]), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(turns, min_size=1, max_size=5), st.sampled_from([None, 1, 2, 5]), st.booleans())
def test_any_series_of_prompts_gives_what_fresh_runs_give(prompts, chunk, leave_one):
    pipeline = FakePipeline(chunk=chunk)
    sequence = pipeline.executor.sequence()
    for tokens, images in prompts:
        text = " ".join(map(str, tokens))
        sequence.align(pipeline.prompt(text, images))
        same(pipeline.forward(sequence), pipeline.logits(text, images))
        sequence.append(tokens)
        if leave_one:
            pipeline.forward(sequence)
            sequence.append([1])
    sequence.close()
    assert pipeline.leased == 0


@pytest.mark.parametrize("chunk", [None, 3])
def test_visual_rows_that_were_forwarded_are_held_no_longer(chunk):
    pipeline = FakePipeline(chunk=chunk)
    sequence = pipeline.sequence("1 2 3", [IMAGE])
    pipeline.forward(sequence)
    sequence.append([4])
    assert len(sequence.rows) == 2
    assert all(column.values.size == 0 for column in sequence.rows.values())
    pipeline.forward(sequence)
    # A later turn has rows of its own, behind those that are gone.
    prompt = pipeline.prompt("1 2 3", [IMAGE])
    later = [item.moved(0) for item in pipeline.prompt("5", [OTHER]).media]
    sequence.append(pipeline.prompt("5", [OTHER]).tokens, later)
    fork = sequence.fork()
    whole = pipeline.executor.sequence()
    whole.append(prompt.tokens, prompt.media)
    whole.append([4])
    whole.append(pipeline.prompt("5", [OTHER]).tokens, later)
    expected = pipeline.forward(whole)
    same(pipeline.forward(sequence), expected)
    same(pipeline.forward(fork), expected)


def test_a_sequence_that_is_cut_before_an_image_gets_its_rows_anew():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3", [IMAGE, OTHER])
    pipeline.forward(sequence)
    sequence.append([4])
    assert sequence.align(pipeline.prompt("3 2 1", [IMAGE, IMAGE])) > 0
    same(pipeline.forward(sequence), pipeline.logits("3 2 1", [IMAGE, IMAGE]))


def test_the_last_tokens_of_a_prompt_are_forwarded_together_where_that_matters():
    pipeline = FakePipeline()
    sequence = pipeline.sequence("1 2 3", [IMAGE])
    sequence.retake = 5
    pipeline.forward(sequence)
    for text, images in (("1 2 4", [IMAGE]), ("1 2 4", [IMAGE]), ("1 2 4 5 6 7 8", [IMAGE])):
        before = sequence.forwarded
        prompt = pipeline.prompt(text, images)
        kept = sequence.align(prompt)
        assert kept == sequence.forwarded == sequence.reused
        assert sequence.pending == max(5, len(prompt.tokens) - before)
        same(pipeline.forward(sequence), pipeline.logits(text, images))
