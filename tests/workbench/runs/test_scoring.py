"""What a metric declares of itself is looked at before it is asked."""

from types import SimpleNamespace

import pytest

from triptych.core.errors import PluginError
from triptych.workbench.runs.scoring import Scoring


def scoring(lower_is_better):
    metric = SimpleNamespace(lower_is_better=lower_is_better)
    return Scoring([SimpleNamespace(label="local/bad", make=lambda: metric)])


@pytest.mark.parametrize("said", [False, "seconds", 3, [1]])
def test_what_names_no_scores_is_told_with_the_metric_and_the_remedy(said):
    with pytest.raises(PluginError, match=r"metric local/bad: lower_is_better is .* a tuple of"):
        scoring(said)


@pytest.mark.parametrize("said", [(), ("seconds",), {"seconds"}])
def test_names_of_scores_may_be_in_any_collection(said):
    scoring(said)
