"""How long an answer took, by the clock of the pipeline itself."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.metric import Answer, Measures

_SHORTEST = 1e-9
"""Seconds; a clock may stand still."""


class TokensPerSecond:
    """`tokens_per_second`, and `answer_seconds`, from the first picture to the last token.

    Loading is not counted, but encoding pictures and reading the question are; the token that
    ended the answer is counted with the others. Averages of speeds favour short answers: where
    arms answer at different lengths, compare `answer_seconds`.
    """

    measures: Measures = "time"
    lower_is_better = ("answer_seconds",)

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Tokens a second, and seconds."""
        del item
        reply = answer.reply
        timings = reply.timings
        seconds = max(timings.vision + timings.prefill + timings.decode, _SHORTEST)
        tokens = reply.usage.completion_tokens + (reply.finish_reason == "eos")
        return {"tokens_per_second": tokens / seconds, "answer_seconds": seconds}


class TimeToFirstToken:
    """`time_to_first_token`: seconds for pictures and the question, up to the first logits."""

    measures: Measures = "time"
    lower_is_better = ("time_to_first_token",)

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Seconds."""
        del item
        return {"time_to_first_token": answer.reply.timings.vision + answer.reply.timings.prefill}
