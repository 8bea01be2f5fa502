"""How many visual tokens a model was given."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.metric import Answer


class VisualTokens:
    """`visual_tokens`: those that reducers left; `visual_share`: of those that there were.

    What a stage drops inside the decoder is not seen here. Without a picture they are 0 and 1.
    """

    lower_is_better = ("visual_tokens", "visual_share")

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """A number of tokens, and a share."""
        del item
        usage = answer.reply.usage
        share = usage.image_tokens_kept / usage.image_tokens if usage.image_tokens else 1.0
        return {"visual_tokens": float(usage.image_tokens_kept), "visual_share": share}
