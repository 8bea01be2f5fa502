"""Whether an export computes what its checkpoint computes, stage by stage.

Tolerances are relative to the largest expected value, and are the precision's own (see
`triptych.export.verification.tolerances`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from triptych.core.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.checkpoint import Checkpoint
from triptych.export.exporter import Exporter
from triptych.export.families import exporter_for
from triptych.export.output import RECORD, read_record
from triptych.export.precision import Precision, precision_named
from triptych.export.verification.cases import cases_for
from triptych.export.verification.comparison import Compared, check
from triptych.export.verification.engine import Engine
from triptych.export.verification.reference import Reference, Weights
from triptych.export.verification.result import Verification
from triptych.export.verification.tapped import TappedPipeline

STEPS = 16
"""Tokens decoded after each prompt."""


class VerifyError(TriptychError):
    """An export that cannot be compared with the checkpoint at all."""


class MismatchError(TriptychError):
    """An export and a checkpoint of different models."""


def verify_export(
    out: Path,
    against: Path,
    *,
    tolerance: float | None = None,
    steps: int = STEPS,
    catalog: Catalog | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compares the export in `out` with the checkpoint in `against` on made-up inputs.

    tolerance: the largest relative error (default: the precision's own, see above). progress:
    called with a line for each comparison that begins. Needs torch and transformers.
    Raises VerifyError, MismatchError, CheckpointError, or an error of loading a graph.
    """
    out, against = Path(out), Path(against)
    catalog = catalog or Catalog()
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
        catalog=catalog,
    )
    tolerance = precision.tolerance if tolerance is None else tolerance
    pipeline = TappedPipeline(load_spec(out, catalog=catalog))
    reference = _reference(exporter, against, _weights(checkpoint, precision))
    engine = Engine(pipeline, reference, steps=steps, tolerance=tolerance)
    measured = []
    for compared in engine.compare(cases_for(pipeline, reference)):
        if progress is not None:
            progress(f"{compared.stage} {compared.port}, {compared.case}")
        _refuse_another_model(compared, out)
        measured.append(check(compared, tolerance))
    measured.sort(key=lambda one: engine.order.index(one.stage))
    return Verification(out, against, family, precision.name, tuple(measured))


def _refuse_another_model(compared: Compared, out: Path) -> None:
    """Raises MismatchError where the tokens' rows have another width."""
    if compared.port != "inputs_embeds" or compared.actual is None:
        return
    ours, theirs = compared.actual.shape[-1], compared.expected.shape[-1]
    if ours != theirs:
        raise MismatchError(
            f"{out}: {compared.stage} gives rows of width {ours}, but the checkpoint has {theirs}. "
            f"Was it exported from another one?"
        )


def _weights(checkpoint: Checkpoint, precision: Precision) -> Weights:
    """The checkpoint's tensors as an export of that precision rounds them."""

    def rounded(name: str) -> Array:
        return precision.rounded(name, checkpoint.weight(name).read())

    return {name: partial(rounded, name) for name in checkpoint}


def _reference(exporter: type[Exporter], against: Path, weights: Weights) -> Reference:
    try:
        return exporter.reference(against, weights)
    except ModuleNotFoundError as missing:
        raise VerifyError(
            f"Comparing an export with its checkpoint needs {missing.name}, which is not "
            f"installed: pip install 'triptych[export]'."
        ) from missing
