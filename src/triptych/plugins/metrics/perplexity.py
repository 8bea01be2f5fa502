"""How surprised a model is by the right answer."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of


class Perplexity:
    """`log_perplexity`: mean negative log-likelihood of the reference's tokens, in nats.

    Each token is given the question and the tokens before it; neither the sampling chain nor what
    was answered plays a part. Of several references the likeliest one counts. Perplexity is the
    exponential of this number. Averages belong to this one: the exponential of its mean is the
    geometric mean of the items' perplexities, where a mean of perplexities would be that of its
    few largest. It compares models with one vocabulary only.
    """

    lower_is_better = ("log_perplexity",)

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Nats per token, 0 or more."""
        if answer.pipeline is None:
            raise InputError("perplexity asks the pipeline, and the answer does not say which")
        found = []
        for text in texts_of(item):
            score = answer.pipeline.score(item.request, text)
            found.append(-score.total / len(score.tokens))
        return {"log_perplexity": max(min(found), 0.0)}
