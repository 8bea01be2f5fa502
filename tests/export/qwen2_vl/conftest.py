"""Exports of every tiny shape, made once."""

from __future__ import annotations

from functools import cache

import pytest

from tests.export.qwen2_vl.checkpoints import VL_SHAPES


@pytest.fixture(scope="session")
def vl_models(tmp_path_factory):
    """Gives the VLModel for a name of VL_SHAPES."""
    # Here, so that tests of this folder which need no torch do not import it.
    from tests.export.qwen2_vl.models import VLModel

    return cache(lambda name: VLModel(VL_SHAPES[name], tmp_path_factory.mktemp("qwen2_vl")))


@pytest.fixture(params=list(VL_SHAPES))
def vl(request, vl_models):
    """Each of the tiny shapes in turn."""
    return vl_models(request.param)
