"""Exports of every tiny shape, made once."""

from functools import cache

import pytest

from tests.export.checkpoints import SHAPES


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Gives the Model for a name of SHAPES."""
    from tests.end_to_end.models import Model

    return cache(lambda name: Model(SHAPES[name], tmp_path_factory.mktemp("model")))


@pytest.fixture(params=list(SHAPES))
def model(request, models):
    """Each of the tiny shapes in turn."""
    return models(request.param)


@pytest.fixture
def untied(models):
    """The one whose greedy replies vary the most."""
    return models("untied, one kv head")
