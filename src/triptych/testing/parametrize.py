"""All checks of some components as tests of their own, in the manner of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from triptych.testing.check import checks_of
from triptych.testing.subject import Subject

Reasons = Mapping[str, str]
"""Why a check is expected to fail, by the check's name."""


def parametrize_with_checks(
    subjects: Sequence[Subject],
    *,
    expected_failures: Callable[[Subject], Reasons] | None = None,
) -> Any:
    """A pytest decorator: one test for each component and each promise that it makes.

        @parametrize_with_checks([Subject("sampler", MinP, {"p": 0.1})])
        def test_promises(subject, check):
            check(subject)

    expected_failures: the checks of a component that are known to fail, each with its reason.
    Such a test fails when the check passes.
    Raises ValueError for an expected failure that is no check of the component's kind.
    """
    import pytest

    cases = []
    for subject in subjects:
        reasons = dict(expected_failures(subject)) if expected_failures else {}
        found = [one for one in checks_of(subject.kind) if one.applies(subject)]
        unknown = reasons.keys() - {one.name for one in found}
        if unknown:
            known = ", ".join(one.name for one in found)
            raise ValueError(
                f"{subject} is expected to fail {', '.join(sorted(unknown))}, which is no check "
                f"of it; there is {known}"
            )
        for one in found:
            marks = []
            if one.name in reasons:
                reason = reasons[one.name]
                marks = [pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)]
            cases.append(pytest.param(subject, one, marks=marks, id=f"{subject}-{one.name}"))
    return pytest.mark.parametrize(("subject", "check"), cases)
