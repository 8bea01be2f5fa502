"""Exports of every tiny shape, made once."""

from __future__ import annotations

from functools import cache

import pytest

from tests.export.checkpoints import SHAPES, random_checkpoint


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Gives the Pair for a name of SHAPES."""
    # Here, so that tests of this folder which need no torch do not import it.
    from tests.export.pair import Pair

    @cache
    def make(name):
        root = tmp_path_factory.mktemp("pair")
        shape = SHAPES[name]
        return Pair(shape, random_checkpoint(root / "checkpoint", shape=shape), root / "export")

    return make


@pytest.fixture(params=list(SHAPES))
def pair(request, pairs):
    """Each of the tiny shapes in turn."""
    return pairs(request.param)
