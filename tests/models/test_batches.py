"""Batches: a pure function of seed and step, with labels that fit their pixels."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np

from triptych.models.sketch.batches import collate, training_batch
from triptych.models.sketch.conversations import (
    MIXES,
    TASKS,
    draw_conversation,
    held_out,
    held_out_conversation,
)
from triptych.models.sketch.labels import COLOR_INDEX, CONTENT_INDEX, patch_labels
from triptych.models.sketch.scenes import draw_pattern, draw_shapes, draw_texts
from triptych.models.sketch.schedule import Phase
from triptych.models.sketch.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(600, conversations=200)


def batch(seed: int = 0, step: int = 0, shard: int = 0, side: int = 96):
    phase = Phase(0.0, side, any_size=False, mix="broad")
    return training_batch(TOKENIZER, seed, step, shard, count=6, phase=phase)


def same(first, second) -> bool:
    pairs = zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_a_batch_depends_on_seed_step_and_shard_alone() -> None:
    wanted = batch(3, 5, 1)
    batch(9, 9, 0)
    assert same(batch(3, 5, 1), wanted)
    assert not any(same(batch(*other), wanted) for other in ((4, 5, 1), (3, 6, 1), (3, 5, 0)))


def test_the_shards_of_a_step_share_their_sizes() -> None:
    grids = [{grid for _, grid in batch(0, 7, shard).groups} for shard in (0, 1)]
    assert len(grids[0] | grids[1]) <= 4


def test_pictures_and_placeholders_are_as_many() -> None:
    for step in range(5):
        one = batch(step=step, side=192)
        assert (one.input_ids == 5).sum() == len(one.visual_order) == len(one.patches) // 4
        assert sum(count * h * w for count, (h, w) in one.groups) == len(one.patches)
        assert sorted(one.visual_order) == list(range(len(one.visual_order)))
        assert one.content.shape == one.color.shape == (len(one.patches),)


def test_visual_order_leads_each_placeholder_to_its_own_picture() -> None:
    """Pictures drawn in one colour each: the patches found through the order have that colour."""
    conversations = [draw_conversation(Random(seed), ((64, 96), (96, 64))) for seed in range(12)]
    together = collate(conversations, TOKENIZER)
    merged = together.patches.reshape(-1, 4 * 768)[together.visual_order]
    at = 0
    for row, ids in enumerate(together.input_ids):
        number = int((ids == 5).sum())
        kept = together.input_ids[row][together.attention_mask[row] == 1]
        alone = next(
            one for one in (collate([c], TOKENIZER) for c in conversations)
            if np.array_equal(one.input_ids[0], kept)
        )  # fmt: skip
        expected = alone.patches.reshape(-1, 4 * 768)[alone.visual_order]
        assert np.array_equal(merged[at : at + number], expected)
        at += number


def test_labels_name_what_a_patch_shows() -> None:
    random = Random(4)
    scene = draw_shapes((128, 128), random, count=1)
    content, color = patch_labels(scene)
    (item,) = scene.items
    assert set(content) == {0, CONTENT_INDEX[item.name]}
    assert set(color) == {COLOR_INDEX[item.color], COLOR_INDEX[scene.background]}
    named = (color == COLOR_INDEX[item.color]).reshape(4, 4, 2, 2)
    rows, columns = np.nonzero(named.transpose(0, 2, 1, 3).reshape(8, 8))
    left, top, right, bottom = item.box
    assert rows.mean() * 16 + 8 == np.clip(rows.mean() * 16 + 8, top, bottom)
    assert columns.mean() * 16 + 8 == np.clip(columns.mean() * 16 + 8, left, right)


def test_labels_spell_a_word_from_left_to_right() -> None:
    scene = next(
        drawn for drawn in (draw_texts((96, 192), Random(s)) for s in range(99))
        if [len(item.name) for item in drawn.items] == [3] and len(set(drawn.items[0].name)) == 3
    )  # fmt: skip
    content, _ = patch_labels(scene)
    rows = content.reshape(3, 6, 2, 2).transpose(0, 2, 1, 3).reshape(6, 12)
    order = [rows[:, column].max() for column in range(12)]
    letters = [CONTENT_INDEX[letter] for letter in scene.items[0].name.lower()]
    assert [label for label in dict.fromkeys(order) if label] == letters


def test_a_pattern_labels_every_patch() -> None:
    scene = draw_pattern((100, 100), Random(2))
    content, _ = patch_labels(scene)
    assert set(content) == {CONTENT_INDEX[scene.pattern.kind]}


def test_held_out_questions_end_with_a_question_and_repeat() -> None:
    for task in TASKS:
        first, second = (list(held_out(task, 3, seed=1)) for _ in range(2))
        for one, again in zip(first, second, strict=True):
            assert one.task == task
            assert one.messages == again.messages
            assert one.answer == again.answer
            assert one.messages[-1]["role"] == "user"
            assert all(max(image.size) <= 192 for image in one.images)
            placeholders = sum(
                part["type"] == "image" for message in one.messages
                if isinstance(message["content"], list) for part in message["content"]
            )  # fmt: skip
            assert placeholders == len(one.images)


def test_training_never_draws_a_held_out_picture() -> None:
    held = {
        scene.image.tobytes()
        for index in range(40)
        for scene in held_out_conversation("color", index).scenes
    }
    drawn = {
        scene.image.tobytes()
        for step in range(20)
        for scene in draw_conversation(Random(f"train 0 {step} 0"), ((96, 96), (96, 96))).scenes
    }
    assert len(held) == 40
    assert not held & drawn


def test_a_drill_asks_short_questions_about_one_of_several_things() -> None:
    def tasks(mix: str) -> list[str]:
        drawn = (
            draw_conversation(Random(s), ((96, 96), (96, 96)), mix=MIXES[mix]) for s in range(200)
        )
        return [turn.exchange.task for one in drawn for turn in one.turns]

    broad, drill, places = tasks("broad"), tasks("drill"), tasks("places")
    assert len(drill) > 1.2 * len(broad)
    for task in ("color", "position"):
        assert drill.count(task) / len(drill) > 1.15 * broad.count(task) / len(broad), task
    assert places.count("position") / len(places) > 1.3 * drill.count("position") / len(drill)
    assert set(drill) == set(broad) == set(places)
