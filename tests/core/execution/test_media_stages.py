"""A stage over media runs once for all new items; what it gave is told apart by axes."""

import numpy as np
import pytest

from tests.fakes import FakePipeline, FakeStage, fake_stages, fake_wiring
from triptych.core.execution.media_stages import MediaStages
from triptych.core.ports import Port, When
from triptych.core.prompt import Media
from triptych.core.sequences.feature_cache import FeatureCache

TILES = Port("pixel_values", "float32", ("tiles", 2, 2))
WRITES = (
    Port("image_features", "float32", ("N", 2)),
    Port("brightness", "float32", ("tiles",)),
)


def encode(pixel_values):
    """Two visual rows of each tile."""
    return {
        "image_features": pixel_values.reshape(-1, 2) * 10,
        "brightness": pixel_values.mean((1, 2)),
    }


@pytest.fixture
def stage():
    return FakeStage([TILES], WRITES, encode)


@pytest.fixture
def results(stage):
    """What the stage writes for some media."""
    tokens = Port("input_ids", "int64", ("B", "S"))
    logits = Port("logits", "float32", ("B", "S", "V"))
    decode = FakeStage([tokens], [logits], when=When.SPAN)
    read = FakeStage([*WRITES, Port("input_ids", "int64", ("S",))], [])
    items = [("encode", stage), ("read", read), ("decode", decode)]
    wiring = fake_wiring(items, offers=[TILES])
    stages = MediaStages(wiring.input, FeatureCache())
    return lambda *media: stages.results(wiring.input[0], media)


def item(tiles, seed):
    pixels = np.random.default_rng(seed).uniform(size=(tiles, 2, 2)).astype(np.float32)
    return Media("image", str(seed), np.arange(2 * tiles), lambda: {"pixel_values": pixels})


def test_items_of_different_numbers_of_tiles_are_encoded_together(stage, results):
    large, small = item(3, 1), item(1, 2)
    together = results(large, small)
    assert stage.runs == 1
    alone = [encode(one.ports["pixel_values"]) for one in (large, small)]
    for name in ("image_features", "brightness"):
        expected = np.concatenate([result[name] for result in alone])
        np.testing.assert_array_equal(together[name], expected)


def test_only_new_items_are_encoded(stage, results):
    first, second, third = item(3, 1), item(1, 2), item(2, 3)
    results(first, second)
    again = results(third, second, first)
    assert stage.runs == 2
    expected = [encode(one.ports["pixel_values"])["brightness"] for one in (third, second, first)]
    np.testing.assert_array_equal(again["brightness"], np.concatenate(expected))


def test_without_media_an_absent_port_has_no_tiles():
    seen = []
    ports = [
        Port("input_ids", "int64", ("S",)),
        Port("thumbnails", "float32", ("tiles", 3), absent=0),
    ]
    look = FakeStage(ports, [], lambda input_ids, thumbnails: seen.append(thumbnails.shape) or {})
    FakePipeline(fake_stages(("mrope", "look", look))).logits("1 2 3")
    assert seen == [(0, 3)]
