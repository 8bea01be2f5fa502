"""What a benchmark found, as data; `table.py`, `markdown.py` and `plot.py` show it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from triptych import __version__
from triptych.bench.floor import Limits
from triptych.bench.measurement import Result
from triptych.bench.spread import Spread
from triptych.core.system.cpu import cpu_flags

TELLING_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
"""What decides how fast quantized weights are multiplied, as Linux spells it."""


@dataclass(frozen=True)
class Report:
    """results: in the order of tables. runtimes: by contender, the pipeline first.

    notes: what was left out, and why.
    """

    pipeline: str
    threads: int
    limits: Limits
    runtimes: Mapping[str, str]
    results: Sequence[Result]
    notes: Sequence[str] = ()

    @property
    def own(self) -> str:
        """The pipeline's label."""
        return next(iter(self.runtimes))

    @property
    def peers(self) -> list[str]:
        """The labels of what it was compared with."""
        return list(self.runtimes)[1:]

    def to_dict(self) -> dict[str, Any]:
        """As JSON: seconds, tokens a second, bytes; ratios above 1 where the pipeline is better."""
        return {
            "triptych": __version__,
            "pipeline": self.pipeline,
            "machine": machine() | {"threads": self.threads, **asdict(self.limits)},
            "runtimes": dict(self.runtimes),
            "results": [self._result(result) for result in self.results],
            "notes": list(self.notes),
        }

    def _result(self, result: Result) -> dict[str, Any]:
        ratios = {peer: result.ratio(self.own, peer) for peer in self.peers}
        return {
            "measure": result.measure.name,
            "topic": result.measure.topic,
            "unit": result.measure.unit,
            "floor": result.floor,
            "of_the_floor": result.fraction(self.own),
            "nodes": result.nodes,
            "contenders": {
                label: {"values": values, **_numbers(result.spread(label))}
                for label, values in result.values.items()
            },
            "ratios": {peer: _numbers(ratio) for peer, ratio in ratios.items() if ratio},
            "missing": result.missing,
        }


def machine() -> dict[str, Any]:
    """What of this machine decides the figures, without its name."""
    flags = cpu_flags()
    return {
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count() or 1,
        "instructions": [flag for flag in TELLING_FLAGS if flag in flags],
    }


def _numbers(spread: Spread | None) -> dict[str, Any]:
    return {} if spread is None else asdict(spread)
