"""Another pipeline as the side that is right."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.core.sequences.sequence import Sequence
from triptych.export.verification.case import Case
from triptych.export.verification.reference import Course, Forward, Processed
from triptych.export.verification.tapped import Fault, TappedPipeline

WORDS = 24
"""Tokens of a made-up prompt."""


class OtherFault(TriptychError):
    """The pipeline that is right by definition does not run."""

    exit_code = 1


class PipelineReference:
    """What a pipeline writes is what another should write.

    Needs neither torch nor the checkpoint. The prompt is its own processor's, where that gives
    the same tokens.
    """

    def __init__(self, pipeline: TappedPipeline) -> None:
        self._pipeline = pipeline

    def run(self, case: Case, *, steps: int, rows: int) -> Course:
        """A prompt and `steps` greedy tokens. Raises OtherFault."""
        sequence = self._pipeline.sequence()
        prompt = self._prompt(case)
        try:
            sequence.append(prompt.tokens, prompt.media)
            passes = [self._forward(sequence, min(rows, len(prompt.tokens)))]
            tokens = [int(passes[-1].logits[-1].argmax())]
            while len(tokens) < steps:
                sequence.append(tokens[-1:])
                passes.append(self._forward(sequence, 1))
                tokens.append(int(passes[-1].logits[-1].argmax()))
        finally:
            sequence.close()
        return Course(passes[0], tuple(passes[1:]), np.array(tokens, np.int64))

    def processed(self, request: Request) -> Processed | None:
        """Its own prompt."""
        if self._pipeline.processor is None:
            return None
        case = Case("", self._pipeline.processor.prompt(request), request)
        return Processed(case.ids, case.media)

    def made_up(self, random: np.random.Generator) -> Iterable[Case]:
        """A prompt of random tokens."""
        yield Case("text only", Prompt(random.integers(0, self._pipeline.vocabulary, WORDS)))

    def _prompt(self, case: Case) -> Prompt:
        if case.request is None or self._pipeline.processor is None:
            return case.prompt
        own = self._pipeline.processor.prompt(case.request)
        return own if np.array_equal(own.tokens, case.ids) else case.prompt

    def _forward(self, sequence: Sequence, rows: int) -> Forward:
        heard = self._pipeline.forward(sequence, rows=rows)
        if heard.logits is None:
            where = heard.fault or Fault("pipeline", "no logits")
            raise OtherFault(f"what it is held against fails in {where.stage}: {where.message}")
        ports: dict[str, list[Array]] = {}
        for one in heard.written:
            ports.setdefault(one.port, []).append(one.value)
        return Forward(heard.logits, ports)
