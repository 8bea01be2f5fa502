"""What every sampler promises, and what this one does."""

import numpy as np
from triptych import Candidates
from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("sampler", __CLASS__, {"width": 2.0})])
def test_it_keeps_a_samplers_promises(subject, check):
    check(subject)


def test_what_is_far_below_the_largest_goes():
    step = __CLASS__(__CLASS__.Settings(width=2.0))
    kept = step(Candidates([1, 4, 9], np.float32([0.0, 3.0, 1.5])), None)
    assert kept.ids.tolist() == [4, 9]
