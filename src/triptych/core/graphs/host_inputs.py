"""Inputs of a decoder graph that hold no data: what its host tells it about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.ports import Array, Port

LOGIT_INDEX = Port("logit_index", "int64", ("R",))
COUNTS = ("num_logits_to_keep", "logits_to_keep")
"""How many of the last rows get logits (transformers' `logits_to_keep`)."""
BRANCH = "use_cache_branch"
"""False for the first run, which has no past (the merged decoders of Hugging Face's Optimum)."""
PAST, TOTAL = "past_sequence_length", "total_sequence_length"
"""Lengths that some graphs of ONNX Runtime GenAI want as numbers."""
HOST_INPUTS = frozenset({*COUNTS, BRANCH, PAST, TOTAL})


class HostInputs:
    """Answers the inputs of a graph that the pipeline has no ports for."""

    def __init__(self, inputs: Sequence[Port]) -> None:
        self._inputs = {port.name: port for port in inputs if port.name in HOST_INPUTS}
        self._counts = bool(self._inputs.keys() & set(COUNTS))
        self._reads_index = any(port.name == LOGIT_INDEX.name for port in inputs)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._inputs)

    def reads(self, reads: Sequence[Port]) -> tuple[Port, ...]:
        """What the stage reads: `reads` without these inputs, and what their answers need."""
        left = tuple(port for port in reads if port.name not in self._inputs)
        return (*left, LOGIT_INDEX) if self._counts and not self._reads_index else left

    def answered(self, ports: Mapping[str, Array], past: int, tokens: int) -> dict[str, Array]:
        """`ports` with the answers. past, tokens: lengths of the cache and of the slice."""
        answers: dict[str, int] = {BRANCH: past > 0, PAST: past, TOTAL: past + tokens}
        given = dict(ports)
        if self._counts:
            index = given[LOGIT_INDEX.name] if self._reads_index else given.pop(LOGIT_INDEX.name)
            answers |= dict.fromkeys(COUNTS, tokens - int(index.min()))
        for name, port in self._inputs.items():
            given[name] = np.full((1,) * len(port.axes), answers[name], port.dtype)
        return given
