"""Which visual rows of one image reducers keep, and which they join."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from triptych.plugins.reducers import manifest
from triptych.plugins.reducers.evs import EVS
from triptych.plugins.reducers.token_grid import TokenGrid
from triptych.plugins.reducers.token_merge import TokenMerge
from triptych.plugins.reducers.token_norm import TokenNorm
from triptych.plugins.reducers.token_random import TokenRandom

KINDS = (TokenRandom, TokenGrid, TokenNorm, TokenMerge, EVS)
HIDDEN = 4


def image(height, width, *, steps=1, seed=0):
    """The ports of an image or clip of so many merged rows, of random features."""
    rows = steps * height * width
    return {
        "image_features": np.random.default_rng(seed).normal(size=(rows, HIDDEN)),
        "image_grid_thw": np.array([[1, 2 * height, 2 * width]] * steps),
        "source_row": np.arange(rows),
        "media_digest": np.tile(np.arange(16, dtype=np.uint8) + seed, (rows, 1)),
    }


def made(kind, **settings):
    return kind(kind.Settings(**settings))


def run(kind, ports, **settings):
    stage = made(kind, **settings)
    return stage({port.name: ports[port.name] for port in stage.reads})


def kept(kind, ports, **settings):
    return np.flatnonzero(run(kind, ports, **settings)["keep_rows"]).tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(height=st.integers(1, 5), width=st.integers(1, 5), ratio=st.floats(0.01, 1))
def test_about_the_share_stays_and_one_row_at_least(kind, height, width, ratio):
    written = run(kind, image(height, width), ratio=ratio)
    rows = height * width
    if kind is TokenMerge:
        stays = len(set(written["merge_rows"].tolist()))
    else:
        stays = int(written["keep_rows"].sum())
    if kind is EVS:
        assert stays == rows, "an image does not change"
    elif kind is TokenGrid:
        assert 1 <= stays <= rows
        assert abs(stays - ratio * rows) <= max(height, width)
    else:
        assert stays == max(1, int(np.ceil(np.round(ratio * rows, 9))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_all_or_of_nothing(kind):
    written = run(kind, image(3, 4), ratio=1.0)
    if kind is TokenMerge:
        assert written["merge_rows"].tolist() == list(range(12))
    else:
        assert written["keep_rows"].all()
    with pytest.raises(ValidationError):
        made(kind, ratio=0.0)
    with pytest.raises(ValidationError):
        made(kind, ratio=1.5)


def test_a_lot_is_the_pictures_own_and_the_seeds():
    lots = {
        (picture, seed): tuple(kept(TokenRandom, image(8, 8, seed=picture), ratio=0.5, seed=seed))
        for picture in (0, 1)
        for seed in (0, 1)
    }
    assert len(set(lots.values())) == 4
    assert lots[0, 0] == tuple(kept(TokenRandom, image(8, 8), ratio=0.5))


def test_the_largest_norms_stay_and_of_equal_ones_the_first():
    ports = image(1, 5)
    ports["image_features"] = np.array(
        [[1, 0, 0, 0], [0, -3, 0, 0], [2, 2, 0, 0], [0] * 4, [1] * 4]
    )
    assert kept(TokenNorm, ports, ratio=0.4) == [1, 2]
    ports["image_features"] = np.ones((5, HIDDEN))
    assert kept(TokenNorm, ports, ratio=0.4) == [0, 1]


def test_a_grid_of_every_other_row_and_column():
    # Middles of four cells of 2 x 2 in 4 x 4.
    assert kept(TokenGrid, image(4, 4), ratio=0.25) == [5, 7, 13, 15]


def test_each_step_of_a_clip_has_the_grid():
    assert kept(TokenGrid, image(2, 2, steps=3), ratio=0.25) == [3, 7, 11]


def test_rows_that_are_no_grid_are_kept_evenly_in_their_order():
    ports = image(4, 4)
    ports["image_features"] = ports["image_features"][:10]
    assert kept(TokenGrid, ports, ratio=0.5) == [1, 3, 5, 7, 9]


def matched_by_hand(features, merges):
    """One pass of ToMe, a row after the other: the pairs (row, what it joins)."""

    def cosine(a, b):
        return features[a] @ features[b] / np.linalg.norm(features[a]) / np.linalg.norm(features[b])

    edges = []
    for one in range(0, len(features), 2):
        likeness, other = max((cosine(one, b), -b) for b in range(1, len(features), 2))
        edges.append((likeness, one, -other))
    return {one: other for _, one, other in sorted(edges, key=lambda e: -e[0])[:merges]}


@given(st.integers(2, 14), st.data())
def test_one_pass_merges_the_pairs_most_alike(rows, data):
    stays = data.draw(st.integers(-(-rows // 2), rows))
    ports = image(1, rows, seed=rows)
    target = run(TokenMerge, ports, ratio=stays / rows)["merge_rows"]
    joins = matched_by_hand(ports["image_features"], rows - stays)
    assert target.tolist() == [joins.get(row, row) for row in range(rows)]


def test_more_than_half_is_merged_in_passes_over_the_averages():
    # Two pairs of equals: the first pass leaves two rows, the second joins them.
    ports = image(1, 4)
    ports["image_features"] = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0.0]])
    assert run(TokenMerge, ports, ratio=0.5)["merge_rows"].tolist() == [1, 1, 3, 3]
    assert run(TokenMerge, ports, ratio=0.25)["merge_rows"].tolist() == [3, 3, 3, 3]
    assert (run(TokenMerge, ports, ratio=0.25)["merge_weights"] == 1).all()


def still(steps, rows=4):
    """A clip whose steps are all alike."""
    ports = image(2, rows // 2, steps=steps)
    ports["image_features"] = np.tile(ports["image_features"][:rows], (steps, 1))
    return ports


def test_what_changes_in_a_clip_stays_with_the_first_step():
    ports = still(3)
    ports["image_features"][6] *= -1
    # It turns at step 1 and back at step 2.
    assert kept(EVS, ports, ratio=0.5) == [0, 1, 2, 3, 6, 10]
    assert kept(EVS, ports, ratio=0.01) == [0, 1, 2, 3]


def test_a_row_whose_predecessor_is_gone_counts_as_changed():
    ports = still(2)
    left = [0, 1, 3, 4, 5, 6, 7]
    ports["image_features"] = ports["image_features"][left]
    ports["source_row"] = ports["source_row"][left]
    # Of the first step row 2 is gone, so row 6, the sixth of those that are left, is new.
    assert kept(EVS, ports, ratio=0.5) == [0, 1, 2, 5]


def test_every_reducer_is_offered_under_its_name():
    components = manifest.stages()
    offered = [one.name for one in components]
    by_features = ["token_random", "token_grid", "token_norm", "token_merge", "evs"]
    by_attention = ["visionzip", "fastv"]
    assert sorted(offered) == sorted([*by_features, *by_attention])
    assert {one.main for one in components if one.name in by_features} == {"ratio"}
