"""Visual features take the places of their tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.plugins.embeddings import manifest
from triptych.plugins.embeddings.merge import Merge

HIDDEN = 5


def merge(embeds, index, features, deepstack=None, *, layers=True):
    ports = {
        "inputs_embeds": embeds,
        "visual_index": np.asarray(index)[None],
        "image_features": features,
    }
    if layers is not False:
        ports["deepstack_features"] = deepstack
    return Merge(Merge.Settings(deepstack=layers))(ports)


def by_hand(embeds, index, features, deepstack):
    """One token after the other."""
    merged = embeds.copy()
    spread = np.zeros((len(deepstack), *embeds.shape), deepstack.dtype)
    for token, row in enumerate(index):
        if row >= 0:
            merged[0, token] = features[row]
            for layer in range(len(deepstack)):
                spread[layer, 0, token] = deepstack[layer, row]
    return merged, spread


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 3), st.integers(0, 2**31))
def test_the_scatter_is_that_of_a_loop_over_tokens(visual, layers, seed):
    rng = np.random.default_rng(seed)
    index = np.where(visual, np.cumsum(visual) - 1, -1)
    rows = max(sum(visual), 1)
    embeds = rng.normal(size=(1, len(visual), HIDDEN)).astype(np.float32)
    features = rng.normal(size=(rows, HIDDEN)).astype(np.float32)
    deepstack = rng.normal(size=(layers, rows, HIDDEN)).astype(np.float32)
    before = [array.copy() for array in (embeds, features, deepstack)]
    written = merge(embeds, index, features, deepstack)
    merged, spread = by_hand(embeds, index, features, deepstack)
    np.testing.assert_array_equal(written["inputs_embeds"], merged)
    np.testing.assert_array_equal(written["deepstack_embeds"], spread)
    for array, was in zip((embeds, features, deepstack), before, strict=True):
        np.testing.assert_array_equal(array, was, "what it was given stays as it was")


def test_each_slice_takes_its_own_rows():
    # The second half of an image: its rows are counted from the first one of the slice.
    features = np.arange(15.0).reshape(3, HIDDEN)
    written = merge(np.zeros((1, 4, HIDDEN)), [0, 1, -1, 2], features, features[None])
    assert written["inputs_embeds"][0].tolist() == [
        features[0].tolist(),
        features[1].tolist(),
        [0] * HIDDEN,
        features[2].tolist(),
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_embeddings_keep_their_dtype(dtype):
    written = merge(
        np.zeros((1, 2, HIDDEN), dtype),
        [0, -1],
        np.ones((1, HIDDEN), np.float32),
        np.ones((2, 1, HIDDEN), np.float32),
    )
    assert written["inputs_embeds"].dtype == dtype
    assert written["inputs_embeds"].sum() == HIDDEN
    assert written["deepstack_embeds"].dtype == np.float32


def test_without_deepstack_it_neither_reads_nor_writes_layers():
    stage = Merge(Merge.Settings(deepstack=False))
    assert [port.name for port in stage.reads] == [
        "inputs_embeds",
        "visual_index",
        "image_features",
    ]
    assert [port.name for port in stage.writes] == ["inputs_embeds"]
    written = merge(np.zeros((1, 1, HIDDEN)), [0], np.ones((1, HIDDEN)), layers=False)
    assert list(written) == ["inputs_embeds"]


def test_the_manifest_lists_what_can_be_built():
    for component in manifest.stages():
        module, _, name = component.target.partition(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        assert component.main in kind.Settings.model_fields


def test_a_port_per_layer_gives_a_port_per_layer():
    rng = np.random.default_rng(3)
    embeds, features = rng.normal(size=(1, 4, HIDDEN)), rng.normal(size=(2, HIDDEN))
    deepstack, index = rng.normal(size=(3, 2, HIDDEN)), [-1, 0, 1, -1]
    stage = Merge(Merge.Settings(deepstack=3))
    ports = {"inputs_embeds": embeds, "visual_index": np.array([index]), "image_features": features}
    ports |= {f"deepstack_features_{layer}": deepstack[layer] for layer in range(3)}
    assert {port.name for port in stage.reads} == ports.keys()
    written = stage(ports)
    merged, spread = by_hand(embeds, index, features, deepstack)
    np.testing.assert_array_equal(written.pop("inputs_embeds"), merged)
    assert list(written) == [f"deepstack_embeds_{layer}" for layer in range(3)]
    np.testing.assert_array_equal(np.stack(list(written.values())), spread)
    assert [port.name for port in stage.writes] == ["inputs_embeds", *written]


def test_a_list_names_the_deepstack_layers_that_are_added():
    features, deepstack = np.ones((2, HIDDEN)), np.full((3, 2, HIDDEN), 5.0)
    written = merge(np.zeros((1, 3, HIDDEN)), [-1, 0, 1], features, deepstack, layers=[0, 2])
    assert written["deepstack_embeds"][:, 0, :, 0].tolist() == [[0, 5, 5], [0, 0, 0], [0, 5, 5]]
    none = merge(np.zeros((1, 3, HIDDEN)), [-1, 0, 1], features, deepstack, layers=[])
    assert none["deepstack_embeds"].shape == (3, 1, 3, HIDDEN)
    assert not none["deepstack_embeds"].any()
    assert none["inputs_embeds"].any()
