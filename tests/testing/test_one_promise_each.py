"""Each check fails on the component that breaks just its promise, and no other check does."""

import pytest

from tests.testing import (
    broken_caches,
    broken_datasets,
    broken_exporters,
    broken_processors,
    broken_samplers,
    broken_stages,
    broken_strategies,
)
from triptych.testing.check import HOMES, checks_of

BROKEN = [
    *broken_samplers.BROKEN,
    *broken_stages.BROKEN,
    *broken_strategies.BROKEN,
    *broken_processors.BROKEN,
    *broken_caches.BROKEN,
    *broken_datasets.BROKEN,
]


def failures(subject):
    """The names of the checks that a component does not pass."""
    names = set()
    for check in checks_of(subject.kind):
        if check.applies(subject):
            try:
                check(subject)
            except AssertionError:
                names.add(check.name)
    return names


@pytest.mark.parametrize(
    ("name", "subject"), BROKEN, ids=[f"{subject.kind}-{name}" for name, subject in BROKEN]
)
def test_a_component_that_breaks_one_promise_fails_one_check(name, subject):
    assert failures(subject) == {name}


@pytest.fixture(scope="module")
def broken_families(tmp_path_factory):
    return broken_exporters.broken(tmp_path_factory.mktemp("bigram") / "checkpoint")


@pytest.mark.parametrize("number", range(6))
def test_a_family_that_breaks_one_promise_fails_one_check(broken_families, number):
    name, subject = broken_families[number]
    assert failures(subject) == {name}


def test_every_check_has_a_component_that_breaks_it(broken_families):
    broken = {(subject.kind, name) for name, subject in [*BROKEN, *broken_families]}
    assert broken == {(kind, check.name) for kind in HOMES for check in checks_of(kind)}
