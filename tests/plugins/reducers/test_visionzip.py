"""VisionZip keeps what is attended to and merges the rest; its export says how to get one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych.core.config_error import ConfigError
from triptych.export import export_checkpoint
from triptych.plugins.reducers.visionzip import VisionZip

ROOT = Path(__file__).parents[3]
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:2]
QUESTION = "How many shapes are there?"


def targets(features, attention, **settings):
    stage = VisionZip(VisionZip.Settings(layer=2, **settings))
    ports = {"image_features": np.array(features, np.float32)}
    ports["vision_attention.2"] = np.array(attention, np.float32)
    return stage(ports)["merge_rows"].tolist()


def test_dominant_rows_stay_and_each_other_row_joins_the_contextual_one_it_is_like():
    features = [[1, 0], [9, 9], [0, 1], [1, 0.1], [0.1, 1], [9, -9]]
    attention = [0.1, 0.4, 0.1, 0.05, 0.05, 0.3]
    # Rows 1 and 5 are dominant; of 0, 2, 3 and 4, the first and the third are contextual.
    assert targets(features, attention, ratio=4 / 6, contextual=0.5) == [0, 1, 3, 3, 3, 5]
    features[3] = [0.2, 1]
    assert targets(features, attention, ratio=4 / 6, contextual=0.5) == [0, 1, 3, 3, 3, 5]
    features[2] = [1, 0]
    assert targets(features, attention, ratio=4 / 6, contextual=0.5) == [0, 1, 0, 3, 3, 5]


@pytest.mark.parametrize("rows", [1, 2, 7, 30])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.9, 1.0])
def test_as_many_rows_stay_as_the_ratio_says(rows, ratio):
    random = np.random.default_rng(rows)
    target = targets(random.normal(size=(rows, 4)), random.random(rows), ratio=ratio)
    assert len(set(target)) == max(1, int(np.ceil(ratio * rows - 1e-9)))
    assert all(target[row] == row for row in target)


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    out = tmp_path_factory.mktemp("visionzip") / "export"
    return export_checkpoint(ROOT / "checkpoints" / "sketch", out, expose="vision_attention:4")


def said(folder, *insert):
    pipe = triptych.load(folder, insert=list(insert))
    replies = [
        pipe.generate(QUESTION, images=images, no_sample=True, max_new_tokens=12).tokens
        for images in (PICTURES[:1], PICTURES)
    ]
    return replies, pipe


def test_all_rows_kept_is_the_plain_pipeline_and_half_of_them_halves_the_prompt(exposed):
    plain, _ = said(exposed)
    whole, _ = said(exposed, "after mrope: {visionzip: {ratio: 1.0, layer: 4}}")
    assert whole == plain
    _, half = said(exposed, "after mrope: {visionzip: {ratio: 0.5, layer: 4}}")
    kept = half.run_until("image_features", QUESTION, images=PICTURES)
    rows = triptych.load(exposed).run_until("image_features", QUESTION, images=PICTURES)
    assert 0.5 <= len(kept) / len(rows) < 0.55


def test_a_pipeline_without_the_attention_names_the_export_that_has_it():
    with pytest.raises(ConfigError, match=r"--expose vision_attention:4"):
        triptych.load(insert=["after mrope: {visionzip: {ratio: 0.5, layer: 4}}"])
