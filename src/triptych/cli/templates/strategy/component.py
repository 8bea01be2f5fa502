"""Decode one token per forward pass."""

import triptych


class __CLASS__:
    """Forward what is pending, choose a token, append it, and so on until the end.

    A strategy never calls the model. It yields spans, "forward what is pending in this sequence
    and give me the logits of its last rows", and is sent float32 [rows, V] for each of them.
    """

    # True: it forwards tokens that it may take back, as drafts are.
    speculates = False

    # With these settings its tokens are those of plain decoding; `check_strategy` holds it to that.
    neutral = {}

    def run(self, generation):
        """One request; what belongs to it lives here and not on `self`."""
        while True:
            [rows] = yield [triptych.Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return
