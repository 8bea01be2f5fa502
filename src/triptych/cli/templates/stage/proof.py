"""What every stage promises, and what this one does."""

import numpy as np
from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("stage", __CLASS__, {"ratio": 0.5})])
def test_it_keeps_a_stages_promises(subject, check):
    check(subject)


def test_the_strongest_rows_stay():
    stage = __CLASS__(__CLASS__.Settings(ratio=0.5))
    features = np.float32([[1, 0], [3, 0], [0, 2], [0, 0]])
    assert stage({"image_features": features})["keep_rows"].tolist() == [False, True, True, False]
