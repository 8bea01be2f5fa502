"""A port's dtype in the pipeline may differ from the stage's own, where the item says so."""

import numpy as np
import pytest

from tests.fakes import Decode, FakePipeline, FakeStage, fake_stages, fake_wiring
from triptych import ConfigError, PluginError
from triptych.core.config.part import PortChange
from triptych.core.ports import Port, When

HALF = Port("inputs_embeds", "float16", ("B", "S", "H"))


class Halved(FakeStage):
    """Rewrites the embeddings in float16; what it was fed is kept."""

    def __init__(self):
        super().__init__([HALF], [HALF], when=When.SPAN)

    def __call__(self, ports):
        self.fed = ports["inputs_embeds"]
        return {"inputs_embeds": self.fed + self.fed.dtype.type(1)}


def stages(stage):
    return fake_stages(("merge", "halved", stage))


DOUBLE = {"halved": {"ports": {"inputs_embeds": PortChange("inputs_embeds", dtype="float64")}}}


def test_a_stage_of_another_dtype_is_refused_as_long_as_its_item_says_nothing():
    with pytest.raises(ConfigError, match="as float16, but embed writes it as float64"):
        fake_wiring(fake_stages(("decode", "more", FakeStage([HALF], [], when=When.SPAN))))


def test_values_are_cast_to_the_stage_and_back():
    stage = Halved()
    pipeline = FakePipeline(stages(stage), changes=DOUBLE)
    prompt = pipeline.prompt("1 2 3")
    seen = pipeline.executor.probe(prompt, "inputs_embeds")["inputs_embeds"]
    plain = FakePipeline().executor.probe(prompt, "inputs_embeds")["inputs_embeds"]
    assert stage.fed.dtype == np.float16
    assert seen.dtype == np.float64
    np.testing.assert_array_equal(seen, (plain.astype(np.float16) + np.float16(1)).astype(float))


def test_a_stage_that_gives_neither_dtype_is_told_of_it():
    def doubles(inputs_embeds):
        return {"inputs_embeds": np.zeros((1, 3, 8), np.int8)}

    pipeline = FakePipeline(
        stages(FakeStage([HALF], [HALF], doubles, when=When.SPAN)), changes=DOUBLE
    )
    with pytest.raises(PluginError, match="halved wrote 'inputs_embeds' as int8"):
        pipeline.logits("1 2 3")


def test_features_of_media_are_cast_before_they_are_kept():
    port = {"pixel_values": PortChange("pixel_values", dtype="float32")}
    pipeline = FakePipeline(changes={"vision": {"ports": port}})
    assert pipeline.logits("1", [(2, 2, 3)]).shape == (1, 32)
    features = {"image_features": PortChange("image_features", dtype="float32")}
    pipeline = FakePipeline(changes={"vision": {"ports": features}})
    found = pipeline.executor.probe(pipeline.prompt("1", [(2, 2, 3)]), "image_features")
    assert found["image_features"].dtype == np.float32


def test_the_past_of_a_cache_stays_as_the_stage_has_it():
    name = Decode.cache_pairs[0].past.name
    changes = {"decode": {"ports": {name: PortChange(name, dtype="float16")}}}
    with pytest.raises(ConfigError, match="is the cache's, which takes it as the stage has it"):
        fake_wiring(fake_stages(), changes=changes)
