"""Exports of every tiny shape with experts, made once."""

from __future__ import annotations

from functools import cache

import pytest

from tests.export.qwen3_vl_moe.checkpoints import MOE_SHAPES


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Gives the MoeModel for a name of MOE_SHAPES."""
    # Here, so that tests of this folder which need no torch do not import it.
    from tests.export.qwen3_vl_moe.models import MoeModel

    return cache(lambda name: MoeModel(MOE_SHAPES[name], tmp_path_factory.mktemp("model")))


@pytest.fixture(params=list(MOE_SHAPES))
def model(request, models):
    """Each of the tiny shapes in turn."""
    return models(request.param)
