"""What is said of logits and tokens, in a terminal as on a page."""

from __future__ import annotations

from collections.abc import Iterator

from triptych.export.verification.comparison import Check


def in_words(check: Check) -> Iterator[str]:
    """What logits and tokens say beyond an error; nothing for other ports."""
    if check.kl_mean is not None and check.kl_max is not None and check.top1 is not None:
        yield (
            f"{check.port}: KL {check.kl_mean:.2g} nats a token (at most {check.kl_max:.2g}), "
            f"the same winner in {100 * check.top1:.1f} % of {check.rows}"
        )
    if check.port == "greedy tokens":
        if check.first_divergent is None:
            yield f"{check.port}: all are the same"
        else:
            tie = f": {check.note}" if check.note and check.passed else ""
            yield f"{check.port}: number {check.first_divergent + 1} is the first other one{tie}"
