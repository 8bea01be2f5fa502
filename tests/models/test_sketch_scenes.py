"""The dataset of drawn scenes."""

from collections import Counter
from itertools import islice

import pytest
from pydantic import ValidationError

import triptych
from triptych.models.sketch.conversations import TASKS, held_out
from triptych.models.sketch.dataset import OF_ONE_PICTURE, SketchScenes


def scenes(**settings):
    return SketchScenes(SketchScenes.Settings(**settings))


def pixels(item):
    parts = [part for message in item.request.messages or () for part in message["content"]]
    images = [part["image"] for part in parts if isinstance(part, dict) and "image" in part]
    return [image.tobytes() for image in (*images, *item.request.images)]


@pytest.mark.parametrize("task", ["color", "capital", "compare", "follow_up"])
def test_the_test_split_is_the_held_out_questions(task):
    items = list(scenes(tasks=(task,), per_task=2, seed=5))
    for item, question in zip(items, held_out(task, 2, seed=5), strict=True):
        assert (item.task, item.reference) == (task, question.answer)
        assert pixels(item) == [image.tobytes() for image in question.images]
        last = item.request.messages[-1] if item.request.messages else None
        text = last["content"][-1]["text"] if last else item.request.text
        assert text == question.messages[-1]["content"][-1]["text"]


def test_a_follow_up_comes_with_what_was_said_before():
    (item,) = scenes(tasks=("follow_up",), per_task=1)
    assert [message["role"] for message in item.request.messages] == ["user", "assistant", "user"]


def test_tasks_take_turns_and_the_limit_counts_them_all():
    items = list(scenes(limit=20))
    assert [item.task for item in items] == [*TASKS, *TASKS[:5]]
    assert len(scenes(limit=20)) == len(items)


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({}, 300),
        ({"per_task": 2}, 30),
        ({"per_task": 2, "limit": 7}, 7),
        ({"limit": 1000}, 1000),
        ({"tasks": ("color", "json"), "per_task": 3}, 6),
    ],
)
def test_how_many_items_there_are(settings, number):
    assert len(scenes(**settings)) == number


def test_splits_and_seeds_have_other_scenes():
    drawn = [
        pixels(next(iter(scenes(split=split, tasks=("describe",), seed=seed))))[0]
        for split in ("train", "val", "test")
        for seed in (0, 1)
    ]
    assert len(set(drawn)) == 6


def test_more_items_begin_with_the_fewer_ones():
    short, long = (scenes(limit=limit) for limit in (5, 50))
    assert [item.id for item in short] == [item.id for item in islice(long, 5)]


def test_several_questions_about_a_picture_are_a_cluster():
    items = list(scenes(limit=60, questions_per_scene=4))
    sizes = Counter(item.cluster for item in items)
    assert len(items) == 60
    assert max(sizes.values()) == 4
    assert len(sizes) < 25
    assert {item.task for item in items} <= set(OF_ONE_PICTURE)
    for cluster in sizes:
        about = [item for item in items if item.cluster == cluster]
        assert len({pixels(item)[0] for item in about}) == 1
        asked = [(item.request.text, str(item.request.messages)) for item in about]
        assert len(set(asked)) == len(about)


def test_a_picture_is_asked_what_its_tasks_allow():
    items = list(scenes(limit=12, questions_per_scene=3, tasks=("pattern", "colors")))
    assert {item.task for item in items} == {"pattern", "colors"}


def test_the_same_question_in_other_letters_is_not_asked_twice():
    items = list(scenes(limit=60, questions_per_scene=8, tasks=("pattern", "read")))
    asked = [(item.cluster, item.request.text.lower().rstrip("?.")) for item in items]
    assert len(set(asked)) == 60


def test_a_fact_in_other_words_is_no_new_evidence():
    items = list(scenes(tasks=("capital",), per_task=80))
    same = [item for item in items if item.cluster == items[0].cluster]
    assert len({item.reference for item in same}) == 1
    assert len({item.cluster for item in items}) == len({item.reference for item in items})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "dev"}, "split"),
        ({"tasks": ("color", "color")}, "a task is named twice"),
        (
            {"tasks": ("color", "capital"), "questions_per_scene": 2},
            "capital is not about one picture",
        ),
        ({"tasks": ()}, "tasks"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        scenes(**settings)


def test_sketch_answers_most_of_its_test_split_and_no_answer_of_another_item():
    pipeline = triptych.load()
    items = list(scenes(tasks=("color", "capital", "pattern"), per_task=8))
    said = pipeline.generate_batch([item.request for item in items])
    right = [reply.text == item.reference for reply, item in zip(said, items, strict=True)]
    assert sum(right) > 0.8 * len(items)
