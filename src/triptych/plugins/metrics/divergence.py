"""How far an arm's next-token distributions are from the base arm's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.metric import Answer, Base
from triptych.core.pipeline import Pipeline
from triptych.core.sampling.logprobs import log_softmax

Logits = npt.NDArray[np.float32]


class KLToBase:
    """`kl_to_base`: mean KL(base || arm) of the next token, in nats.

    Both read the question and then what the base answered, and say at each of its tokens, and
    after the last one, how likely every next token is, before any sampling step. 0 for the base
    itself. Kullback and Leibler 1951.
    """

    needs_base = True
    lower_is_better = ("kl_to_base",)

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Nats per token, 0 or more."""
        if answer.base is None:
            return {"kl_to_base": 0.0}
        base, arm = _both(item, answer, answer.base)
        likely = log_softmax(base)
        gaps = (np.exp(likely) * (likely - log_softmax(arm))).sum(axis=-1)
        return {"kl_to_base": max(float(gaps.mean()), 0.0)}


class Top1Agreement:
    """`top1_agreement`: how often the likeliest next token is the base's, as a share.

    Asked where `kl_to_base` asks: along the base's answer, and after it. 1 for the base itself.
    """

    needs_base = True

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Between 0 and 1."""
        if answer.base is None:
            return {"top1_agreement": 1.0}
        base, arm = _both(item, answer, answer.base)
        return {"top1_agreement": float((base.argmax(axis=-1) == arm.argmax(axis=-1)).mean())}


def _both(item: Item, answer: Answer, base: Base) -> tuple[Logits, Logits]:
    """Logits of the base and of the arm along the base's answer, each [tokens + 1, V]."""
    if answer.pipeline is None:
        raise InputError("the pipeline is asked, and the answer does not say which it is")
    pipelines = (base.pipeline, answer.pipeline)
    one, other = (along(pipeline, item, base.tokens) for pipeline in pipelines)
    if one.shape != other.shape:
        raise InputError(
            f"item {item.id!r}: the base has {one.shape[-1]} tokens in its vocabulary, and this "
            f"arm {other.shape[-1]}: their distributions cannot be compared"
        )
    return one, other


def along(pipeline: Pipeline, item: Item, tokens: tuple[int, ...]) -> Logits:
    """Logits after the question and after each of `tokens`, float32 [tokens + 1, V].

    Forwarded anew: what an earlier request left would have been rounded elsewhere, and a sweep
    that goes on after an interruption must find the same numbers, to the last digit.
    """
    prompt = pipeline.processor.prompt(item.request)
    sequence = pipeline.sequence()
    try:
        sequence.append(prompt.tokens, prompt.media)
        sequence.append(tokens)
        return np.array(pipeline.logits(sequence, rows=len(tokens) + 1))
    finally:
        pipeline.clear([sequence])
