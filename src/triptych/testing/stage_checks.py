"""What every stage promises, as checks: ``check_stage(KeepStrongest, ratio=0.5)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.core.ports import Array, Port, When, same_dtype
from triptych.core.sequences.reduction import ReductionError, merge_rows
from triptych.core.stages import Runtime
from triptych.testing.check import Check, check, declares_neutral
from triptych.testing.generators import global_generators
from triptych.testing.made_up_ports import CASES, Case, MadeUp
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

Ports = Mapping[str, Array]

DECLARED = ("when", "whole", "reads", "writes", "cache_pairs")
KEEPS = ("keep_rows", "keep_tokens")
MEDIA_AXES = frozenset({"patches", "images", "tiles"})
CLOSE = 1e-4
"""How far apart sums may be that were made in another order."""


def check_stage(kind: type, *, ports: Sequence[Ports] = (), **settings: Any) -> None:
    """Check the stage class `kind` with these settings.

    ports: inputs to try it on, each with values for some or all of its reads; those that are
    left out, and all where there are none, are made up from the declared axes.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("stage", kind, settings, ports))


def sound_declaration(subject: Subject) -> None:
    """A stage says when it runs, what it reads and what it writes, each port once."""
    stage = subject.make()
    lacks = [name for name in DECLARED if not hasattr(stage, name)]
    require(not lacks, f"{subject.name} does not declare {', '.join(lacks)}.")
    require(isinstance(stage.when, When), f"{subject.name}.when is not a triptych.When.")
    require(isinstance(stage.whole, bool), f"{subject.name}.whole is not True or False.")
    for side in ("reads", "writes"):
        ports = getattr(stage, side)
        strangers = [port for port in ports if not isinstance(port, Port)]
        require(not strangers, f"{subject.name}.{side} has {strangers[:1]}, which is no Port.")
        names = [port.name for port in ports]
        twice = {name for name in names if names.count(name) > 1}
        require(not twice, f"{subject.name}.{side} names {', '.join(sorted(twice))} twice.")
    require(stage.writes, f"{subject.name} writes nothing.")


def declared_ports(subject: Subject) -> None:
    """A stage reads the ports that it declares and writes those that it declares, as declared."""
    stage = _loaded(subject)
    for name, given, made in _inputs(subject, stage):
        result = _call(subject, stage, given, name)
        writes = {port.name: port for port in stage.writes}
        lacks, more = writes.keys() - result.keys(), result.keys() - writes.keys()
        who = f"{subject.name} on {name}"
        require(not lacks, f"{who} did not write {', '.join(sorted(lacks))}, which it declares.")
        require(not more, f"{who} wrote {', '.join(sorted(more))}, which it does not declare.")
        for port in writes.values():
            _check_port(who, port, np.asarray(result[port.name]), made.sizes)


def inputs_unchanged(subject: Subject) -> None:
    """What a stage is given is as it was; only past tensors are extended in place."""
    stage = _loaded(subject)
    pasts = {pair.past.name for pair in stage.cache_pairs}
    for name, given, _ in _inputs(subject, stage):
        before = {port: value.copy() for port, value in given.items() if port not in pasts}
        _call(subject, stage, given, name)
        for port, value in before.items():
            require(
                np.array_equal(given[port], value, equal_nan=value.dtype.kind == "f"),
                f"{subject.name} on {name} changed {port}, which it only reads; copy it first.",
            )


def determinism_by_seed(subject: Subject) -> None:
    """The same ports and settings give the same values, whatever state other generators are in."""
    results = []
    for elsewhere in (1, 2):
        with global_generators(elsewhere):
            results.append(_results(subject, _loaded(subject)))
    require(
        _same(*results),
        f"{subject.name} gave different values for the same ports; draw from a generator that "
        "is made in the call, from a setting such as `seed`.",
    )


def no_state(subject: Subject) -> None:
    """What a stage gives does not depend on what it was called with before."""
    stage = _loaded(subject)
    runs = []
    for _ in range(2):
        with global_generators(0):
            runs.append(_results(subject, stage))
    require(
        _same(*runs),
        f"{subject.name} gave other values for the same ports after it was called with others; "
        "a stage serves many requests and keeps nothing of them.",
    )


def never_empty(subject: Subject) -> None:
    """A stage that says what to keep keeps something."""
    stage = _loaded(subject)
    for name, given, _ in _inputs(subject, stage):
        result = _call(subject, stage, given, name)
        for port in KEEPS:
            if port in result:
                require(
                    np.any(result[port]),
                    f"{subject.name} on {name} wrote {port} with nothing to keep.",
                )


def sound_merge(subject: Subject) -> None:
    """A stage that says which rows join which names rows that stay, and weights above zero."""
    stage = _loaded(subject)
    for name, given, made in _inputs(subject, stage):
        result = _call(subject, stage, given, name)
        index = np.arange(made.sizes["N"])
        ports = {"visual_index": index}
        axes = {"visual_index": Port("visual_index", "int64", ("S",))}
        try:
            merge_rows(ports, axes, result["merge_rows"], result["merge_weights"])
        except (ReductionError, IndexError) as error:
            raise AssertionError(f"{subject.name} on {name} wrote {error}.") from error


def row_isolation(subject: Subject) -> None:
    """A row of a batch, or one of several images, does not depend on the others."""
    stage = _loaded(subject)
    if stage.when is When.SPAN:
        _check_batch(subject, stage)
    else:
        _check_items(subject, stage)


def neutral_is_identity(subject: Subject) -> None:
    """With the settings that it calls neutral, a stage changes nothing."""
    stage = _load(subject.make_neutral())
    said = f"{subject.name} calls {dict(subject.neutral or {})} neutral"
    for name, given, _ in _inputs(subject, stage):
        for port, value in _call(subject, stage, given, name).items():
            if port == "merge_weights":
                continue
            if port in KEEPS:
                same = bool(np.all(value))
            elif port == "merge_rows":
                same = np.array_equal(value, np.arange(len(value)))
            else:
                require(port in given, f"{said}, and writes {port}, which it does not read.")
                same = np.array_equal(value, given[port])
            require(same, f"{said}, and on {name} it changed {port}.")


def _check_batch(subject: Subject, stage: Any) -> None:
    case = Case("two rows", (), batch=2, seed=3, texts=6)
    if any("N" in port.axes for port in stage.reads):
        case = Case("two rows", ((1, 4, 4),), batch=2, seed=3)
    made = MadeUp(case)
    both = made.ports(_all_reads(stage), {})
    declared = {port.name: port for port in (*_all_reads(stage), *stage.writes)}
    together = _copied(_call(subject, stage, both, case.name))
    for row in range(case.batch):
        one = {name: _row(value, declared[name], row) for name, value in both.items()}
        # In place for real: what the other run left there is of no concern.
        for name, value in _call(subject, stage, one, case.name).items():
            wanted = _row(together[name], declared[name], row)
            require(
                value.shape == wanted.shape and _close(value, wanted),
                f"{subject.name}: row {row} of {name} is another one in company than alone.",
            )


def _check_items(subject: Subject, stage: Any) -> None:
    case = CASES[0]
    declared = {port.name: port for port in (*stage.reads, *stage.writes)}
    both = MadeUp(case).ports(stage.reads, {})
    together = _copied(_call(subject, stage, both, case.name))
    starts = dict.fromkeys(("N", *MEDIA_AXES), 0)
    for item, (grid, rows) in enumerate(zip(case.grids, case.rows, strict=True)):
        sizes = {"N": rows, "patches": 4 * rows, "images": 1, "tiles": 1}
        parts = {axis: slice(starts[axis], starts[axis] + sizes[axis]) for axis in starts}
        one = {name: _part(value, declared[name], parts) for name, value in both.items()}
        for name, value in _call(subject, stage, one, f"picture {grid}").items():
            wanted = _part(together[name], declared[name], parts)
            require(
                value.shape == wanted.shape and _close(value, wanted),
                f"{subject.name}: {name} of image {item} is another one in company than alone.",
            )
        starts = {axis: starts[axis] + sizes[axis] for axis in starts}


def _isolates(subject: Subject) -> bool:
    """Whether a stage has rows: a batch, or images that it looks at by themselves."""
    stage = subject.make()
    if subject.examples:
        return False
    if stage.when is When.SPAN:
        return any("B" in port.axes for port in stage.reads)
    axes = {axis for port in stage.reads for axis in port.axes}
    return bool(axes & MEDIA_AXES) and not axes & {"S", "N"}


def _reduces(subject: Subject) -> bool:
    return any(port.name in KEEPS for port in subject.make().writes)


def _merges(subject: Subject) -> bool:
    return any(port.name == "merge_rows" for port in subject.make().writes)


def _row(value: Array, port: Port, row: int) -> Array:
    if "B" not in port.axes:
        return value
    axis = port.axes.index("B")
    return np.take(value, [min(row, value.shape[axis] - 1)], axis)


def _part(value: Array, port: Port, parts: Mapping[str, slice]) -> Array:
    places = [parts.get(str(axis), slice(None)) for axis in port.axes]
    return value[tuple(places)]


def _all_reads(stage: Any) -> list[Port]:
    """What it is called with: its reads, and its past tensors."""
    reads = list(stage.reads)
    names = {port.name for port in reads}
    return reads + [pair.past for pair in stage.cache_pairs if pair.past.name not in names]


def _inputs(subject: Subject, stage: Any) -> Iterator[tuple[str, dict[str, Array], MadeUp]]:
    """Inputs by name, made anew each time."""
    declared = _all_reads(stage)
    if not subject.examples:
        for case in CASES:
            made = MadeUp(case)
            yield case.name, made.ports(declared, {}), made
        return
    for number, given in enumerate(subject.examples):
        made = MadeUp(CASES[0])
        names = {port.name: port for port in declared}
        for name, value in given.items():
            require(name in names, f"an example of {subject.name} has {name}, which it never reads")
            sizes = zip(names[name].axes, np.shape(value), strict=True)
            made.sizes.update({axis: size for axis, size in sizes if isinstance(axis, str)})
        yield f"example {number}", made.ports(declared, given), made


def _results(subject: Subject, stage: Any) -> list[dict[str, Array]]:
    return [
        _copied(_call(subject, stage, given, name)) for name, given, _ in _inputs(subject, stage)
    ]


def _call(subject: Subject, stage: Any, given: dict[str, Array], name: str) -> Ports:
    try:
        result = stage(given)
    except KeyError as error:
        asked = error.args[0] if error.args else None
        if asked in given:
            raise
        raise AssertionError(
            f"{subject.name} on {name} read {asked!r}, which it does not declare in `reads`."
        ) from error
    except Exception as error:
        raise AssertionError(
            f"{subject.name} on {name} raised {type(error).__name__}: {error}"
        ) from error
    require(
        isinstance(result, Mapping),
        f"{subject.name} on {name} returned {type(result).__name__}; a stage returns its ports "
        "by name.",
    )
    found: Ports = result
    return found


def _check_port(who: str, port: Port, value: Array, sizes: Mapping[str, int]) -> None:
    require(
        same_dtype(str(value.dtype), port.dtype),
        f"{who} wrote {port.name} of {value.dtype}, and declares {port}.",
    )
    bound = [axis if isinstance(axis, int) else sizes.get(axis) for axis in port.axes]
    fits = value.ndim == len(bound) and all(
        wanted in (None, have) or (have == 1 and isinstance(axis, str))
        for axis, wanted, have in zip(port.axes, bound, value.shape, strict=True)
    )
    shown = ", ".join("?" if size is None else str(size) for size in bound)
    require(fits, f"{who} wrote {port.name} of shape {list(value.shape)}, not {port} = [{shown}].")


def _copied(ports: Ports) -> dict[str, Array]:
    """What a stage gives is its own, and may be written again at its next call."""
    return {name: np.array(value) for name, value in ports.items()}


def _same(one: Sequence[Ports], other: Sequence[Ports]) -> bool:
    return all(
        a.keys() == b.keys()
        and all(
            np.array_equal(a[name], b[name], equal_nan=np.asarray(a[name]).dtype.kind == "f")
            for name in a
        )
        for a, b in zip(one, other, strict=True)
    )


def _close(one: Array, other: Array) -> bool:
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    return bool(np.allclose(one, other, rtol=CLOSE, atol=CLOSE))


def _loaded(subject: Subject) -> Any:
    return _load(subject.make())


def _load(stage: Any) -> Any:
    if hasattr(stage, "load"):
        stage.load(Runtime(graph_cache=False))
    return stage


CHECKS = (
    SETTINGS,
    Check("sound_declaration", sound_declaration),
    Check("declared_ports", declared_ports),
    Check("never_empty", never_empty, _reduces),
    Check("sound_merge", sound_merge, _merges),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed),
    Check("no_state", no_state),
    Check("row_isolation", row_isolation, _isolates),
    Check("neutral_is_identity", neutral_is_identity, declares_neutral),
)
"""What a stage promises."""
