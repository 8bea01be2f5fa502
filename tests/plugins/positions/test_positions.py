"""Positions of text and images, as transformers counts them."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakePipeline
from triptych import InputError
from triptych.core.execution.execution import Clock
from triptych.plugins.positions import manifest
from triptych.plugins.positions.mrope import MRope, mrope_positions
from triptych.plugins.positions.positions import Positions
from triptych.plugins.positions.text_positions import TextPositions

IMAGE = 90

sides = st.integers(1, 7).map(lambda side: 2 * side)
parts = st.lists(st.integers(0, 9) | st.tuples(sides, sides), min_size=1, max_size=9)


@cache
def transformers_model():
    """Only its position code is used, so its weights are never made."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLModel

    config = Qwen3VLConfig(
        text_config={"num_hidden_layers": 1, "hidden_size": 8, "vocab_size": 8},
        vision_config={"depth": 1, "hidden_size": 8, "num_heads": 1},
        image_token_id=IMAGE,
    )
    with torch.device("meta"):
        return Qwen3VLModel(config)


def prompt(parts):
    """Ids, visual index and grids of runs of text (their length) and images (height, width)."""
    ids, index, grids, row = [], [], [], 0
    for part in parts:
        if isinstance(part, int):
            ids += [1] * part
            index += [-1] * part
            continue
        rows = part[0] * part[1] // 4
        ids += [IMAGE] * rows
        index += range(row, row + rows)
        grids.append((1, *part))
        row += rows
    return np.array(ids, np.int64), np.array(index, np.int64), np.array(grids).reshape(-1, 3)


def reference(ids, grids):
    """int64 [3, S], and the next position, by transformers."""
    import torch

    tensor = torch.tensor(ids)[None]
    found, delta = transformers_model().get_rope_index(
        tensor,
        mm_token_type_ids=(tensor == IMAGE).int(),
        image_grid_thw=torch.tensor(grids) if len(grids) else None,
    )
    return found[:, 0].numpy(), int(delta) + len(ids)


@settings(max_examples=80, deadline=None)
@given(parts)
def test_positions_are_those_of_transformers(parts):
    # Two images that touch would be one run of placeholders to transformers: text parts them.
    parts = [
        piece for part in parts for piece in ([part] if isinstance(part, int) else [1, part, 1])
    ]
    ids, index, grids = prompt(parts)
    if not len(ids):
        return
    positions, following = mrope_positions(index, grids, start=0, merge_size=2)
    expected, next_position = reference(ids, grids)
    np.testing.assert_array_equal(positions, expected)
    assert following[-1] == next_position


@settings(max_examples=60, deadline=None)
@given(parts, st.data())
def test_turn_by_turn_they_are_those_of_one_prompt(parts, data):
    ids, index, grids = prompt(parts)
    if not len(ids):
        return
    whole, following = mrope_positions(index, grids, start=0, merge_size=2)
    stage = MRope(MRope.Settings())
    start, columns, nexts = 0, [], []
    while parts:
        count = data.draw(st.integers(1, len(parts)))
        _, index, grids = prompt(parts[:count])
        parts = parts[count:]
        if not len(index):
            continue
        written = stage(
            {
                "visual_index": index,
                "image_grid_thw": grids,
                "start_position": np.array([start]),
            }
        )
        columns.append(written["position_ids"])
        nexts.append(written["next_position"])
        start = int(nexts[-1][-1])
    np.testing.assert_array_equal(np.concatenate(columns, 1), whole)
    np.testing.assert_array_equal(np.concatenate(nexts), following)


def test_a_small_prompt_by_hand():
    # Two tokens; an image of 2 by 3 merged patches; one token.
    positions, following = mrope_positions(
        np.array([-1, -1, 0, 1, 2, 3, 4, 5, -1]), np.array([[1, 4, 6]]), start=0, merge_size=2
    )
    assert positions.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]
    assert following.tolist() == [1, 2, 5, 5, 5, 5, 5, 5, 6]
    assert positions.dtype == following.dtype == np.int64


def test_a_placeholder_without_a_visual_row_is_text():
    positions, _ = mrope_positions(
        np.array([-1, -1, -1]), np.zeros((0, 3), np.int64), start=7, merge_size=2
    )
    assert positions.tolist() == [[7, 8, 9]] * 3


def test_patches_may_be_merged_by_other_sizes():
    index = np.arange(6)
    positions, _ = mrope_positions(index, np.array([[1, 2, 3]]), start=0, merge_size=1)
    assert positions[1:].tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize(
    ("index", "grids", "message"),
    [
        (
            [-1, 0, 1, -1],
            [[1, 4, 4]],
            "mrope: an image of 2 x 2 merged patches has no 4 tokens in a row; a stage that drops "
            "visual rows must come after mrope",
        ),
        (
            [0, 1, -1, 2, 3],
            [[1, 4, 4]],
            "mrope: an image of 2 x 2 merged patches has no 4 tokens in a row; a stage that drops "
            "visual rows must come after mrope",
        ),
        ([0, 1, 2, 3], [], "mrope: there are visual rows that belong to no image grid"),
        ([0, 1, 2, 3], [[1, 2, 2]], "mrope: there are visual rows that belong to no image grid"),
    ],
)
def test_rows_that_are_not_those_of_the_grids_are_refused(index, grids, message):
    with pytest.raises(InputError) as error:
        mrope_positions(
            np.array(index), np.array(grids, np.int64).reshape(-1, 3), start=0, merge_size=2
        )
    assert str(error.value) == message


def test_in_a_sequence_positions_go_on_where_they_stopped_through_edits_and_turns():
    pipeline = FakePipeline()
    turns = [("1 2", [(4, 6, 1)]), ("1 2 3 4", [(4, 6, 1)]), ("1 2 9", [(4, 6, 1), (6, 2, 2)])]
    sequence = pipeline.executor.sequence()
    for text, images in turns:
        sequence.align(pipeline.prompt(text, images))
        pipeline.forward(sequence)
        fresh = pipeline.sequence(text, images)
        pipeline.executor.enter(fresh, Clock())
        for name in ("position_ids", "next_position"):
            np.testing.assert_array_equal(sequence.table[name].values, fresh.table[name].values)


def test_plain_positions_count_on():
    stage = Positions()
    written = stage({"input_ids": np.array([5, 6, 7]), "start_position": np.array([4])})
    assert written["position_ids"].tolist() == [4, 5, 6]
    assert written["next_position"].tolist() == [5, 6, 7]


def test_the_manifest_lists_what_can_be_built():
    for component in manifest.stages():
        module, _, name = component.target.partition(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        assert component.main is None or component.main in kind.Settings.model_fields


def test_text_positions_count_images_as_text_on_all_three_axes():
    given = {"input_ids": np.arange(4), "start_position": np.array([7])}
    written = TextPositions()(given)
    assert written["position_ids"].tolist() == [[7, 8, 9, 10]] * 3
    assert written["next_position"].tolist() == [8, 9, 10, 11]
