"""Both ends of a pipeline whose tokens are bytes."""

import numpy as np
import triptych
from pydantic import Field

BYTES = 256


class __CLASS__:
    """A request becomes bytes, bytes become text; the token after the bytes ends a reply.

    It knows no pictures. One that does lists the ports of a picture in `offers`, and gives the
    prompt a `triptych.Media` for each: its digest, the places of its tokens, and a function that
    computes the ports.
    """

    class Settings(triptych.Settings):
        """max_context: the longest sequence, in tokens."""

        max_context: int = Field(default=4096, ge=1)

    offers = ()
    eos_ids = frozenset({BYTES})

    def __init__(self, settings):
        self.max_context = settings.max_context

    def prompt(self, request):
        """The token ids of a request, and its media."""
        if request.images or request.videos:
            raise triptych.InputError("this pipeline reads text only")
        text = request.text
        if text is None:
            text = "\n".join(str(message["content"]) for message in request.messages)
        return triptych.Prompt(np.array(self.encode(text), np.int64))

    def encode(self, text):
        """Plain text to token ids."""
        return list(text.encode())

    def decode(self, tokens):
        """Token ids to text; half a character gives U+FFFD."""
        return bytes(token for token in tokens if token < BYTES).decode(errors="replace")
