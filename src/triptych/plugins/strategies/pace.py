"""How many tokens to draft: as many as are likely to pay for their part of the pass."""

from __future__ import annotations

PRIORS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9)
"""How often a token is right that continues a run of so many right ones, by `_grade`, before
anything is known of a text."""
WEIGHT = 2
"""For how many tokens the prior counts."""
MEMORY = 0.85
"""What a token counts for when the next one of its grade is known."""
CREDIT = 1.0
"""Steps that drafts may lose before any was right."""
MOST_CREDIT = 4.0
INCOME = 0.03
"""Steps that drafts may lose for each token: what is lost is never more than this part."""


class Pace:
    """Chooses the length of drafts from how often those before were right.

    A pass over a draft of k tokens takes as long as 1 + cost * k steps, and gives one token more
    than were right. So k is what gives most tokens for the time, and 0 where nothing pays. In
    company a step of one token is forwarded with those of the others, at the same cost for each,
    and a draft is forwarded alone: it must give more than a place in that step.

    cost: of a drafted token, in steps. most: drafted at once. priors: see `PRIORS`.
    """

    def __init__(self, *, cost: float, most: int, priors: tuple[float, ...] = PRIORS) -> None:
        self.cost = cost
        self.most = most
        self._right = [prior * WEIGHT for prior in priors]
        self._seen = [float(WEIGHT)] * len(PRIORS)
        self._credit = CREDIT

    def length(self, run: int, *, room: int, company: int = 1) -> int:
        """How many tokens to draft after a run of `run` that were right.

        room: the most there is place for. company: generations that are in progress.
        """
        most = min(self.most, room)
        if self.cost:
            most = min(most, int(self._credit / self.cost))
        best, pays = 0, company / (1 + self.cost * (company - 1))
        likely, tokens = 1.0, 1.0
        for count in range(1, most + 1):
            grade = _grade(run + count - 1)
            likely *= self._right[grade] / self._seen[grade]
            tokens += likely
            paid = tokens / (1 + self.cost * count)
            if paid > pays:
                best, pays = count, paid
        return best

    def saw(self, run: int, *, right: bool) -> None:
        """Whether the token after a run of `run` right ones was right, drafted or not."""
        grade = _grade(run)
        self._right[grade] = MEMORY * self._right[grade] + right
        self._seen[grade] = MEMORY * self._seen[grade] + 1

    def passed(self, drafted: int, right: int) -> None:
        """A pass is over: so many were drafted, and so many of them were right."""
        gained = right - self.cost * drafted + INCOME * (1 + right)
        self._credit = min(self._credit + gained, MOST_CREDIT)


def _grade(run: int) -> int:
    """1, 2-3, 4-7, and so on: 1, 2, 3, ..."""
    return min(run.bit_length(), len(PRIORS) - 1)
