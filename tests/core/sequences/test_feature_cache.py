"""Features are kept by content, within a number of bytes."""

import numpy as np
import pytest

from tests.fakes import FakePipeline
from triptych.core.config_error import ConfigError
from triptych.core.sequences.feature_cache import FeatureCache


def ports(kilobytes):
    return {"image_features": np.zeros(kilobytes * 256, np.float32)}


def test_results_are_found_by_stage_and_content():
    cache = FeatureCache()
    mine = ports(1)
    cache.put("vision", "a", mine)
    assert cache.get("vision", "a") is mine
    assert cache.get("vision", "b") is None
    assert cache.get("other", "a") is None


def test_the_least_recently_used_go_first():
    cache = FeatureCache(max_bytes=3 * 1024)
    for digest in "abc":
        cache.put("vision", digest, ports(1))
    cache.get("vision", "a")
    cache.put("vision", "d", ports(1))
    assert [digest for digest in "abcd" if cache.get("vision", digest)] == ["a", "c", "d"]
    assert cache.bytes == 3 * 1024


def test_a_result_that_is_put_again_counts_once():
    cache = FeatureCache(max_bytes=3 * 1024)
    for _ in range(5):
        cache.put("vision", "a", ports(2))
    assert cache.bytes == 2 * 1024


def test_a_result_larger_than_the_cache_is_not_kept():
    cache = FeatureCache(max_bytes=1024)
    cache.put("vision", "a", ports(2))
    assert cache.get("vision", "a") is None
    assert cache.bytes == 0


def test_a_pipeline_without_room_for_features_computes_them_each_time():
    pipeline = FakePipeline()
    pipeline.executor.features.max_bytes = 0
    images = [(4, 4, 1), (4, 4, 1), (2, 6, 2)]
    first = pipeline.logits("1", images)
    np.testing.assert_array_equal(pipeline.logits("1", images), first)
    assert pipeline.stages["vision"].runs == [2, 2]


def test_kept_features_hold_no_more_memory_than_their_own():
    pipeline = FakePipeline()
    pipeline.logits("1", [(4, 4, 1), (2, 6, 2)])
    item = pipeline.prompt("1", [(2, 6, 2)]).media[0]
    kept = pipeline.executor.features.get("vision", item.digest)
    assert all(value.base is None and value.flags.c_contiguous for value in kept.values())


def test_the_session_says_how_much_is_kept(load):
    image = [(4, 4, 1)]
    for said, runs in (("", 1), ("feature_cache: 100000", 1), ("feature_cache: 10", 2)):
        pipe = load(f"session: {{{said}}}")
        replies = [pipe.generate("1", images=image) for _ in range(2)]
        assert len(pipe._executor.wiring.input[0].stage.runs) == runs
        assert replies[0].tokens == replies[1].tokens
    pipe = load("session: {feature_cache: false}")
    for _ in range(2):
        pipe.generate("1", images=image)
    assert pipe._executor.features.bytes == 0
    assert len(pipe._executor.wiring.input[0].stage.runs) == 2


def test_a_known_picture_takes_next_to_no_time_of_vision(load):
    pipe = load("session: {prefix_cache: true}")
    first, second = (pipe.generate("1 2", images=[(40, 40, 1)]).timings.vision for _ in range(2))
    assert second < first / 5


@pytest.mark.parametrize("wrong", ["true", "-5", "much"])
def test_a_size_that_is_none_is_refused(load, wrong):
    with pytest.raises(ConfigError, match=r"session\.feature_cache"):
        load(f"session: {{feature_cache: {wrong}}}")


@pytest.mark.parametrize("wrong", ["0", "-5", "much"])
def test_a_wrong_prefix_cache_is_refused(load, wrong):
    with pytest.raises(ConfigError, match=r"session\.prefix_cache"):
        load(f"session: {{prefix_cache: {wrong}}}")
