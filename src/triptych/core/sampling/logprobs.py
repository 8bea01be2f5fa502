"""How likely a token was, before the sampling steps and after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.sampling.candidates import Candidates

Ranked = tuple[tuple[int, float], ...]
"""Token ids and their log-probabilities, the likeliest first, the lowest id among equals."""


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural logarithms of probabilities at one token of a reply.

    raw: of the model's own softmax over its whole vocabulary. processed: among what the warps of
    the chain left, with the logits that they made. top_raw, top_processed: the likeliest tokens;
    of the processed ones fewer than asked for where fewer were left.
    """

    token: int
    raw: float
    processed: float
    top_raw: Ranked = ()
    top_processed: Ranked = ()


def logprobs_of(
    token: int, row: npt.NDArray[Any], candidates: Candidates, top: int
) -> TokenLogprobs:
    """row: logits [V]; candidates: what the warps left of it; top: how many to rank."""
    model = Candidates.of_row(np.asarray(row))
    raw, processed = log_softmax(model.logits), log_softmax(candidates.logits)
    return TokenLogprobs(
        token,
        float(raw[token]),
        float(processed[np.flatnonzero(candidates.ids == token)[0]]),
        _ranked(model, raw, top),
        _ranked(candidates, processed, top),
    )


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """float64: the log-probabilities of logits [..., C], along their last axis; -inf stays -inf."""
    depths = np.subtract(logits, logits.max(axis=-1, keepdims=True), dtype=np.float64)
    logs: npt.NDArray[np.float64] = depths - np.log(np.exp(depths).sum(axis=-1, keepdims=True))
    return logs


def _ranked(candidates: Candidates, logs: npt.NDArray[np.float64], top: int) -> Ranked:
    """The `top` largest of those that are possible at all."""
    count = min(top, len(logs))
    if not count:
        return ()
    edge = np.partition(logs, len(logs) - count)[len(logs) - count]
    likely = np.flatnonzero((logs >= edge) & (logs > -np.inf))
    order = likely[np.argsort(-logs[likely], kind="stable")][:count]
    return tuple((int(candidates.ids[place]), float(logs[place])) for place in order)
