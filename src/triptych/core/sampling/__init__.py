"""From a row of logits to a token: candidates, steps, and the chain that runs them."""

from triptych.core.sampling.candidates import Candidates
from triptych.core.sampling.chain import Chain, LogitsError
from triptych.core.sampling.context import Context
from triptych.core.sampling.logprobs import TokenLogprobs, log_softmax
from triptych.core.sampling.steps import Choose, Warp
from triptych.core.sampling.vocabulary import Vocabulary

__all__ = [
    "Candidates",
    "Chain",
    "Choose",
    "Context",
    "LogitsError",
    "TokenLogprobs",
    "Vocabulary",
    "Warp",
    "log_softmax",
]
