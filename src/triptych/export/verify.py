"""Whether a pipeline computes what its checkpoint computes, or another pipeline, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.config.locate import locate
from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.checkpoint import Checkpoint
from triptych.export.exporter import Exporter
from triptych.export.families import exporter_for
from triptych.export.output import EDITABLE, RECORD, read_record
from triptych.export.precision import RecipePrecision, fitted, recipe_of
from triptych.export.precision.recipe_precision import FLOATS
from triptych.export.verification.cases import cases_for
from triptych.export.verification.comparison import Check, Compared, check
from triptych.export.verification.engine import Engine
from triptych.export.verification.other_pipeline import PipelineReference
from triptych.export.verification.reference import Reference, Weights
from triptych.export.verification.result import Verification
from triptych.export.verification.tapped import TappedPipeline
from triptych.export.verification.tolerances import EXACT, ROUTED, UNKNOWN, between, of_logits
from triptych.export.verification.weights import stored, weight_checks

MADE_ELSEWHERE = (
    "this pipeline was not exported by Triptych: its weights are taken to be the checkpoint's, "
    "and are not compared"
)
BUILT_IN_MODEL = "sketch"
STEPS = 16
"""Tokens decoded after each prompt."""


class VerifyError(TriptychError):
    """An export that cannot be compared at all."""


class MismatchError(TriptychError):
    """An export and what it is held against are of different models."""


def verify_export(
    out: Path,
    against: Path,
    *,
    tolerance: float | None = None,
    steps: int = STEPS,
    catalog: Catalog | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compares the pipeline in `out` with `against`: a checkpoint, or another pipeline.

    out: what `triptych export` wrote, or another pipeline's folder or YAML file. against: a folder
    with a `pipeline.yaml` or graphs, or a YAML file, is another pipeline, for which torch is not
    needed; any other folder is a checkpoint, for which it is.
    tolerance: the largest relative error (default: see `verification.tolerances`). steps: tokens
    decoded after each prompt. progress: called with a line for each comparison that is done.
    Raises VerifyError, MismatchError, CheckpointError, or an error of loading a pipeline.
    """
    out, against = Path(out), Path(against)
    catalog = catalog or Catalog()
    sides = _against_pipeline if _is_pipeline(against) else _against_checkpoint
    found = sides(out, against, catalog)
    logits = found.logits if tolerance is None else None
    tolerance = found.tolerance if tolerance is None else tolerance
    engine = Engine(
        found.pipeline, found.reference, steps=steps, tolerance=tolerance, logits=logits
    )
    measured = list(found.checks)
    for compared in engine.compare(cases_for(found.pipeline, found.reference)):
        if progress is not None:
            progress(f"{compared.stage} {compared.port}, {compared.case}")
        _refuse_another_model(compared, out)
        measured.append(check(compared, tolerance))
    order = engine.order
    measured.sort(key=lambda one: order.index(one.stage))
    return Verification(
        out,
        against,
        found.family,
        found.precision,
        tuple(measured),
        (*found.notes, *engine.notes),
    )


@dataclass(frozen=True)
class _Sides:
    """What is compared with what. checks, notes: what could be said without running anything.

    logits: the tolerance of logits, where it is another.
    """

    pipeline: TappedPipeline
    reference: Reference
    family: str
    precision: str
    tolerance: float
    logits: float | None = None
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()


def _against_checkpoint(out: Path, against: Path, catalog: Catalog) -> _Sides:
    record = _record(out)
    if record is None and not _is_pipeline(out):
        raise VerifyError(
            f"{out}: no {RECORD}, so this is not a folder that `triptych export` wrote."
        )
    checkpoint = Checkpoint(against)
    family, exporter = exporter_for(
        checkpoint.config,
        str(against / "config.json"),
        family=None if record is None else str(record.get("family")),
        catalog=catalog,
    )
    pipeline = TappedPipeline(load_spec(out, catalog=catalog))
    if record is None:
        weights = {name: partial(_as_float, checkpoint, name) for name in checkpoint}
        reference = _reference(exporter, against, weights)
        return _Sides(pipeline, reference, family, "unknown", UNKNOWN, notes=(MADE_ELSEWHERE,))
    recipe = recipe_of(record, str(out / RECORD))
    precision = RecipePrecision(recipe.name, recipe.recipe)
    reference = _reference(exporter, against, _weights(checkpoint, precision, pipeline))
    tolerance = precision.tolerance
    flips = getattr(exporter, "routes", False) and tolerance > EXACT
    logits = of_logits(ROUTED if flips else tolerance, _cache_of(record))
    return _Sides(
        pipeline,
        reference,
        family,
        precision.name,
        tolerance,
        logits=logits,
        checks=weight_checks(pipeline, checkpoint),
    )


def _cache_of(record: Mapping[str, Any]) -> str:
    """How an export stores keys and values."""
    return str(record.get("kv_cache", "fp32"))


def _as_float(checkpoint: Checkpoint, name: str) -> Array:
    return checkpoint.weight(name).read().astype(np.float32)


def _against_pipeline(out: Path, against: Path, catalog: Catalog) -> _Sides:
    pipeline, other = (TappedPipeline(load_spec(one, catalog=catalog)) for one in (out, against))
    records = [_record(one) or {} for one in (out, against)]
    tolerance = between(*(_forms(record) for record in records))
    return _Sides(
        pipeline,
        PipelineReference(other),
        str(records[0].get("family", "unknown")),
        str(records[0].get("precision", "unknown")),
        tolerance,
        logits=of_logits(tolerance, *map(_cache_of, records)),
    )


def _forms(record: Mapping[str, Any]) -> set[str]:
    """The types that an export stores weights in, such as int4 and fp32."""
    return set(recipe_of(record, RECORD).recipe.precisions) if record else {"unknown"}


def _record(path: Path) -> dict[str, Any] | None:
    """The record of an export, the built-in one included."""
    return read_record(locate(path).parent if str(path) == BUILT_IN_MODEL else path)


def _is_pipeline(path: Path) -> bool:
    """Whether it is a pipeline's file or folder, its own or another tool's; else a checkpoint's."""
    if path.is_file() or (path / EDITABLE).is_file() or str(path) == BUILT_IN_MODEL:
        return True
    return any(path.rglob("*.onnx")) and not any(path.glob("*.safetensors"))


def _refuse_another_model(compared: Compared, out: Path) -> None:
    """Raises MismatchError where the tokens' rows have another width."""
    if compared.port != "inputs_embeds" or compared.actual is None:
        return
    ours, theirs = compared.actual.shape[-1], compared.expected.shape[-1]
    if ours != theirs:
        raise MismatchError(
            f"{out}: {compared.stage} gives rows of width {ours}, but what it is held against "
            f"has {theirs}. Was it exported from another checkpoint?"
        )


def _weights(
    checkpoint: Checkpoint, precision: RecipePrecision, pipeline: TappedPipeline
) -> Weights:
    """The checkpoint's tensors as the export has them.

    Where all are stored as floats of one type, they are rounded anew; else they are what the
    export holds, because the rounding of blocks cannot always be made anew.
    """
    alike = len(precision.recipe.precisions) == 1 and precision.recipe.precisions <= FLOATS.keys()
    held = {} if alike else stored(pipeline)

    def read(name: str) -> Array:
        values = checkpoint.weight(name).read()
        if alike:
            return precision.rounded(name, values)
        if name in held:
            return fitted(held[name](), values.shape)
        return _as_float(checkpoint, name)

    # Names that the checkpoint lacks are those of tensors that the export made of several.
    joined = {name: read for name, read in held.items() if name not in checkpoint}
    return {**{name: partial(read, name) for name in checkpoint}, **joined}


def _reference(exporter: type[Exporter], against: Path, weights: Weights) -> Reference:
    try:
        return exporter.reference(against, weights)
    except ModuleNotFoundError as missing:
        raise VerifyError(
            f"Comparing an export with its checkpoint needs {missing.name}, which is not "
            f"installed: pip install 'triptych[export]'."
        ) from missing
