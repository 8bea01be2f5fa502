"""Whether an export computes what its checkpoint computes, stage by stage.

Every stage is given the reference's own inputs, so an error shows where it is made and nowhere
else; greedy decoding at the end runs the graphs on each other's outputs.

Tolerances are relative to the largest expected value. An export with fp32 weights has to agree
within 1e-4. One with fp16 weights is compared with the checkpoint after every weight was rounded
to fp16 in the same way, and has to agree as closely: what the rounding itself changes is the
choice of that precision, not an error of the export.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triptych.core.catalog import Catalog
from triptych.core.errors import TriptychError
from triptych.export.checkpoint import Checkpoint
from triptych.export.comparison import Check, Compared, check
from triptych.export.exporter import Exporter
from triptych.export.families import exporter_for
from triptych.export.output import RECORD, read_record
from triptych.export.precision import Precision, precision_named


class VerifyError(TriptychError):
    """An export that cannot be compared with the checkpoint at all."""


@dataclass(frozen=True)
class Verification:
    """The outcome. `checks` are in data-flow order, one for each stage's port."""

    export: Path
    against: Path
    family: str
    precision: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.first_failure is None

    @property
    def first_failure(self) -> Check | None:
        """The first check in data-flow order that failed: the stage to look at."""
        return next((one for one in self.checks if not one.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values. An infinite error is the text "Infinity", which JSON can hold."""
        failure = self.first_failure
        return {
            "export": str(self.export),
            "against": str(self.against),
            "family": self.family,
            "precision": self.precision,
            "passed": self.passed,
            "first_failure": None if failure is None else failure.stage,
            "checks": [
                {key: _plain(value) for key, value in asdict(one).items()} | {"passed": one.passed}
                for one in self.checks
            ],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)


def verify_export(
    out: Path,
    against: Path,
    *,
    tolerance: float | None = None,
    catalog: Catalog | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compares the export in `out` with the checkpoint in `against` on made-up inputs.

    tolerance: the largest relative error (default: the precision's own, see above). progress:
    called with a line for each comparison that begins. Needs torch and transformers.
    Raises VerifyError, CheckpointError, or an error of loading and running a graph.
    """
    out, against = Path(out), Path(against)
    record = read_record(out)
    if record is None:
        raise VerifyError(
            f"{out}: no {RECORD}, so this is not a folder that `triptych export` wrote."
        )
    precision = precision_named(str(record.get("precision")))
    checkpoint = Checkpoint(against)
    family, exporter = exporter_for(
        checkpoint.config,
        str(against / "config.json"),
        family=str(record.get("family")),
        catalog=catalog or Catalog(),
    )
    worst: dict[tuple[str, str], Check] = {}
    for compared in _comparisons(exporter, out, checkpoint, precision):
        if progress is not None:
            progress(f"{compared.stage} {compared.port}, {compared.case}")
        found = check(compared, precision.tolerance if tolerance is None else tolerance)
        key = found.stage, found.port
        if key not in worst or found.relative > worst[key].relative:
            worst[key] = found
    order = [name for name, _ in exporter.stages]
    checks = sorted(worst.values(), key=lambda one: order.index(one.stage))
    return Verification(out, against, family, precision.name, tuple(checks))


def _comparisons(
    exporter: type[Exporter], out: Path, checkpoint: Checkpoint, precision: Precision
) -> Iterable[Compared]:
    try:
        return exporter.comparisons(out, checkpoint, precision)
    except ModuleNotFoundError as missing:
        raise VerifyError(
            f"Comparing an export with its checkpoint needs {missing.name}, which is not "
            f"installed: pip install 'triptych[export]'."
        ) from missing


def _plain(value: Any) -> Any:
    return "Infinity" if value == float("inf") else value
