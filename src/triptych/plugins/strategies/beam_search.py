"""Several continuations side by side; the likeliest of them at the end."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from triptych.core.errors import InputError
from triptych.core.spans import Generation, Logits, Span
from triptych.plugins.strategies.beam_group import BeamGroup
from triptych.plugins.strategies.beam_settings import BeamSettings


class BeamSearch:
    """Keeps the `width` likeliest continuations; the reply is the best that ended.

    The score of a text is the sum of its tokens' log-probabilities, as the chain's warps leave
    them, divided by its length to the power `length_penalty`: the beam search of transformers
    5.23, token for token. With `groups` above 1 it is diverse beam search (Vijayakumar et al.,
    arXiv 1610.02424): each group searches by itself, and a token costs `diversity` for each time
    that the groups before it chose it in the same step.

    It ranks tokens itself, so the chain ends with `greedy`. The reply comes at once, at the end.
    Beams that part copy their caches.
    """

    Settings = BeamSettings
    speculates = False

    def __init__(self, settings: BeamSettings) -> None:
        self.settings = settings

    def check_chain(self, steps: Sequence[object]) -> None:
        """Raises InputError for a chain that draws."""
        if getattr(steps[-1], "draws", False):
            raise InputError(
                "beam_search ranks tokens itself; end the sampler with 'greedy', or choose the "
                "strategy best_of_n for sampled texts"
            )

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation."""
        limit = min(generation.max_new_tokens, generation.sequence.room)
        [rows] = yield [Span(generation.sequence)]
        groups = BeamGroup.start(generation, self.settings, limit)
        # All groups begin with the same row, of the one prompt.
        chosen: list[int] = []
        for group in groups:
            chosen += group.step([rows[-1]], chosen)
        while running := [group for group in groups if group.running]:
            spans = [Span(beam.sequence) for group in running for beam in group.beams]
            given = iter((yield spans))
            chosen = []
            for group in running:
                chosen += group.step([next(given)[-1] for _ in group.beams], chosen)
        best = max((group.best for group in groups), key=lambda text: text.score)
        generation.chain = best.chain
        for token in best.tokens:
            if generation.emit(token):
                return
