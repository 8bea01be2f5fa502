"""Quadratic sampling."""

from triptych_curves.quadratic import Quadratic

from triptych import Candidates
from triptych.testing import Subject, parametrize_with_checks


@parametrize_with_checks(
    [Subject("sampler", Quadratic, {"factor": factor}) for factor in (0.3, 2.0)]
)
def test_it_keeps_a_samplers_promises(subject, check):
    check(subject)


def test_distances_are_squared():
    step = Quadratic(Quadratic.Settings(factor=0.5))
    bent = step(Candidates([3, 5, 7], [4.0, 3.0, 0.0]), None)
    assert bent.ids.tolist() == [3, 5, 7]
    assert bent.logits.tolist() == [4.0, 3.5, -4.0]
