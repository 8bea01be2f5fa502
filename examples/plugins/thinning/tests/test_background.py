"""Dropping what looks like the rest."""

import numpy as np
from thinning.background import Background

import triptych
from triptych.testing import Subject, parametrize_with_checks


@parametrize_with_checks([Subject("stage", Background, {"ratio": ratio}) for ratio in (0.25, 0.75)])
def test_it_keeps_a_stages_promises(subject, check):
    check(subject)


def test_the_odd_one_stays():
    stage = Background(Background.Settings(ratio=0.25))
    features = np.float32([[1, 0], [1, 0.1], [0, 1], [1, 0]])
    assert stage({"image_features": features})["keep_rows"].tolist() == [False, False, True, False]


def test_a_picture_costs_fewer_tokens_and_all_of_it_nothing():
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[32:64, 32:64] = [255, 0, 0]
    question = "What color is the square?"
    plain = triptych.load()
    usage = plain.generate(question, images=[picture]).usage
    whole = triptych.load(insert=["after mrope: {thinning/background: 1.0}"])
    assert (
        whole.generate(question, images=[picture]).tokens
        == plain.generate(question, images=[picture]).tokens
    )
    half = triptych.load(insert=["after mrope: {thinning/background: 0.5}"])
    assert half.generate(question, images=[picture]).text
    assert usage.image_tokens == 9
