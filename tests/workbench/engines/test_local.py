"""The engine in this process."""

from dataclasses import dataclass, field

import pytest

from triptych.workbench.engines.local import LocalEngine


@dataclass
class Doubling:
    """A recipe whose worker doubles numbers, and may fail at one."""

    fails_at: int | None = None
    seen: list = field(default_factory=list)

    def open(self):
        self.seen.append("opened")
        return self

    def answer(self, tasks):
        for task in tasks:
            if task == self.fails_at:
                raise RuntimeError("broken")
            yield 2 * task

    def close(self):
        self.seen.append("closed")


def test_one_worker_answers_all_and_is_closed():
    recipe = Doubling()
    assert list(LocalEngine().run(recipe, range(4))) == [0, 2, 4, 6]
    assert recipe.seen == ["opened", "closed"]


def test_a_worker_is_closed_when_somebody_stops_listening():
    recipe = Doubling()
    results = LocalEngine().run(recipe, range(4))
    next(results)
    results.close()
    assert recipe.seen == ["opened", "closed"]


def test_a_worker_that_fails_is_closed_and_its_error_is_told():
    recipe = Doubling(fails_at=2)
    with pytest.raises(RuntimeError, match="broken"):
        list(LocalEngine().run(recipe, range(4)))
    assert recipe.seen == ["opened", "closed"]
