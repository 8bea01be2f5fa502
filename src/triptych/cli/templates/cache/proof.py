"""What every cache policy promises, and what this one does."""

import triptych
from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("cache", __CLASS__, {"size": 8, "slack": 4})])
def test_it_keeps_a_cache_policys_promises(subject, check):
    check(subject)


def test_the_last_rows_stay():
    policy = __CLASS__(__CLASS__.Settings(size=3, slack=2))
    assert policy.evict({"key": None}, 5)["key"].tolist() == [2, 3, 4]


def test_the_built_in_model_answers_over_it():
    pipe = triptych.load(overrides={"decoder.cache": {"__OWNER__/__NAME__": 64}})
    assert pipe.generate("What is the capital of France?").text == "Paris"
