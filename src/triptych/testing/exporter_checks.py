"""What every exporter promises, as checks: ``check_exporter(Acme, checkpoint=folder)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.testing.check import Check, check
from triptych.testing.require import require
from triptych.testing.subject import Subject

STRANGERS: tuple[Mapping[str, Any], ...] = ({}, {"model_type": "a model that nobody has made"})
"""Configs that are of no family."""

EXTRA = "exporting needs packages that running does not: pip install 'triptych[export]'"


def check_exporter(kind: type, *, checkpoint: Path | None = None) -> None:
    """Check the exporter class `kind`.

    checkpoint: a folder of its family, such as a tiny random one; without it, only what needs
        none is checked.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one. Raises ModuleNotFoundError that names the extra where it is missing.
    """
    check(Subject("exporter", kind, {}, () if checkpoint is None else (checkpoint,)))


def sound_declaration(subject: Subject) -> None:
    """A family lists its stages: each a component's name, and what is said of it."""
    stages = getattr(subject.target, "stages", ())
    require(stages, f"{subject.name} has no `stages`: (component, graph file or settings) pairs.")
    for item in stages:
        pair = isinstance(item, tuple) and len(item) == len(("name", "value"))
        require(
            pair and isinstance(item[0], str) and isinstance(item[1], str | Mapping | None),
            f"{subject.name}.stages has {item!r}, not (component, graph file or settings).",
        )


def accepts_its_own(subject: Subject) -> None:
    """`accepts` is True for a config of the family, False for others, and never raises."""
    for config in STRANGERS:
        require(
            _accepts(subject, config) is False,
            f"{subject.name} accepts {config!r}, which is of no family.",
        )
    for checkpoint in _checkpoints(subject):
        require(
            _accepts(subject, checkpoint.config) is True,
            f"{subject.name} does not accept the config of {checkpoint.folder}.",
        )


def inputs_unchanged(subject: Subject) -> None:
    """Neither the config nor the checkpoint's folder is written to."""
    for checkpoint in _checkpoints(subject):
        config, files = deepcopy(checkpoint.config), _digests(checkpoint.folder)
        _accepts(subject, checkpoint.config)
        require(
            checkpoint.config == config, f"{subject.name}.accepts changed the config that it read."
        )
        with _exported(subject, checkpoint.folder):
            pass
        require(
            _digests(checkpoint.folder) == files,
            f"{subject.name} wrote to the checkpoint's folder.",
        )


def graphs_are_stages(subject: Subject) -> None:
    """Each graph of `graphs` is a stage's, each stage's file is among them, and none twice."""
    from triptych.export.precision import RecipePrecision, preset

    fp32 = preset("fp32")
    for checkpoint in _checkpoints(subject):
        exporter = subject.target(checkpoint, RecipePrecision("fp32", fp32.recipe))
        names = [name for name, _ in exporter.graphs()]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, f"{subject.name} makes {twice[:1]} twice.")
        wanted = set(_graph_files(exporter.stages))
        require(
            wanted == set(names),
            f"{subject.name} makes {', '.join(sorted(names))}, and its stages name "
            f"{', '.join(sorted(wanted))}.",
        )


def determinism_by_seed(subject: Subject) -> None:
    """A checkpoint becomes the same files every time."""
    for checkpoint in _checkpoints(subject):
        found = []
        for _ in range(2):
            with _exported(subject, checkpoint.folder) as folder:
                found.append(_digests(folder))
        differ = sorted(name for name in found[0] if found[0][name] != found[1].get(name))
        require(not differ, f"{subject.name} wrote another {', '.join(differ)} the second time.")


def wiring_holds(subject: Subject) -> None:
    """What is exported is a pipeline whose stages fit, as `triptych check` has it."""
    from triptych.core.assembly.assembly import assemble
    from triptych.core.errors import TriptychError

    for checkpoint in _checkpoints(subject):
        with _exported(subject, checkpoint.folder) as folder:
            try:
                assemble(load_spec(folder, catalog=Catalog()))
            except TriptychError as error:
                raise AssertionError(
                    f"the pipeline that {subject.name} writes does not hold: {error}"
                ) from error


def _has_checkpoint(subject: Subject) -> bool:
    return bool(subject.examples)


def _accepts(subject: Subject, config: Mapping[str, Any]) -> object:
    try:
        return subject.target.accepts(config)  # type: ignore[attr-defined]  # an Exporter's
    except Exception as error:
        raise AssertionError(
            f"{subject.name}.accepts raised {type(error).__name__} for another's config: {error}; "
            "use `config.get`."
        ) from error


def _checkpoints(subject: Subject) -> list[Any]:
    try:
        from triptych.export.checkpoint import Checkpoint
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; {EXTRA}") from error
    return [Checkpoint(Path(folder)) for folder in subject.examples]


@contextmanager
def _exported(subject: Subject, checkpoint: Path) -> Iterator[Path]:
    from triptych.export.run import export_checkpoint

    with TemporaryDirectory() as aside:
        target: Any = subject.target
        yield export_checkpoint(
            checkpoint, Path(aside) / "pipeline", precision="fp32", family=target
        )


def _graph_files(stages: Any) -> Iterator[str]:
    for _, value in stages:
        name = value.get("graph") if isinstance(value, Mapping) else value
        if isinstance(name, str):
            yield name


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


CHECKS = (
    Check("sound_declaration", sound_declaration),
    Check("accepts_its_own", accepts_its_own),
    Check("graphs_are_stages", graphs_are_stages, _has_checkpoint),
    Check("inputs_unchanged", inputs_unchanged, _has_checkpoint),
    Check("determinism_by_seed", determinism_by_seed, _has_checkpoint),
    Check("wiring_holds", wiring_holds, _has_checkpoint),
)
"""What an exporter promises."""
