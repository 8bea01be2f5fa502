"""Who writes each port and who reads it, as `show` and `check` tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.core.assembly.assembly import Assembly
    from triptych.core.config.part import Part
    from triptych.core.wiring.wired import Wired

PROCESSOR, CORE, CACHE, ABSENT = "processor", "core", "cache", "absent"
"""Sources of ports that are no stages."""


@dataclass(frozen=True)
class Step:
    """A stage in its place.

    reads: port names by their source, a stage's label or one of the constants above.
    to_core: those of `writes` that the core reads. cache: the policy of the stage's cache.
    """

    label: str
    name: str
    reads: Mapping[str, tuple[str, ...]]
    writes: tuple[str, ...]
    to_core: tuple[str, ...] = ()
    cache: str | None = None

    @property
    def title(self) -> str:
        """The label, and the component's name where that is another."""
        return self.label if self.label == self.name else f"{self.label} ({self.name})"


@dataclass(frozen=True)
class Flow:
    """The data flow of a pipeline.

    sampler and strategy: as a person would say them. logits_from: the label of the stage that the
    sampler hears from. company: what happens to requests that come together.
    """

    processor: str
    input: tuple[Step, ...]
    span: tuple[Step, ...]
    sampler: tuple[str, ...]
    strategy: str
    stop: str
    logits_from: str
    company: str


def flow_of(assembly: Assembly) -> Flow:
    """The data flow of a pipeline whose wiring holds."""
    spec, stop = assembly.spec, assembly.spec.stop
    walk = _Walk(assembly)
    strings = f" or one of {len(stop.strings)} strings" if stop.strings else ""
    return Flow(
        processor=spec.processor.name,
        input=tuple(walk.step(wired) for wired in assembly.wiring.input),
        span=tuple(walk.step(wired) for wired in assembly.wiring.span),
        sampler=tuple(spoken(part) for part in spec.sampler),
        strategy=spoken(spec.strategy),
        stop=f"an end token{strings}, or {stop.max_new_tokens} new tokens",
        logits_from=assembly.wiring.logits_from,
        company=_company(assembly),
    )


def _company(assembly: Assembly) -> str:
    from triptych.core.config_error import ConfigError

    try:
        reason = assembly.alone_because()
    except ConfigError:
        return "none, because a cache cannot be made; triptych check says which"
    if reason is None:
        return f"a step is one run for up to {assembly.spec.session.max_batch} of them"
    return f"they take turns, because {reason}"


def spoken(part: Part) -> str:
    """A part with its settings: ``top_k 50``, ``window size=1024, sinks=4``."""
    names = type(part.settings).model_fields if part.settings is not None else ()
    values = {name: _said(getattr(part.settings, name)) for name in names}
    if part.entry.component.main in values and len(values) == 1:
        return f"{part.name} {next(iter(values.values()))}"
    said = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"{part.name} {said}" if said else part.name


def _said(value: object) -> str:
    from triptych.core.config.part import Part

    return f"({spoken(value)})" if isinstance(value, Part) else str(value)


def lines_of(flow: Flow) -> Iterator[str]:
    """The flow as text, a line at a time."""
    yield f"request -> processor {flow.processor} -> tokens and media"
    yield "INPUT, once on what enters a sequence:"
    for step in flow.input:
        yield from _step_lines(step)
    yield "SPAN, on each slice that is forwarded:"
    for step in flow.span:
        yield from _step_lines(step)
    yield f"{flow.logits_from}'s logits -> {' -> '.join(flow.sampler)} -> token"
    yield f"strategy: {flow.strategy}; it ends with {flow.stop}"
    yield f"several requests at once: {flow.company}"


def _step_lines(step: Step) -> Iterator[str]:
    yield f"  {step.title}"
    reads = [_from(source, ports, step) for source, ports in step.reads.items()]
    yield f"    reads   {'; '.join(reads) or 'nothing'}"
    yield f"    writes  {', '.join(step.writes) or 'nothing'}"


def _from(source: str, ports: tuple[str, ...], step: Step) -> str:
    if source == ABSENT:
        return f"{', '.join(ports)} from nobody, so a constant stands in"
    whose = f"its cache ({step.cache})" if source == CACHE else source
    return f"{', '.join(ports)} from {whose}"


@dataclass
class _Walk:
    """Walks the stages in order, and knows who wrote each port last."""

    assembly: Assembly
    written: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from triptych.core.wiring.wired import INPUT_PORTS, MEDIA_INDEX, MEDIA_PORTS, SPAN_PORTS

        own = (*INPUT_PORTS, *MEDIA_PORTS, MEDIA_INDEX, *SPAN_PORTS)
        self.written |= {port.name: CORE for port in own}
        self.written |= {port.name: PROCESSOR for port in self.assembly.processor.offers}

    def step(self, wired: Wired) -> Step:
        """One stage; what it writes counts from here on."""
        from triptych.core.assembly.assembly import cache_part
        from triptych.core.wiring.wired import CACHE_PORTS, CORE_READS, REDUCTIONS

        pairs = wired.stage.cache_pairs
        pasts = {pair.past.name for pair in pairs}
        cached = {port.name for port in CACHE_PORTS} if pairs else set()
        reads: dict[str, list[str]] = {}
        for read in wired.reads:
            name = read.port.name
            if read.name in pasts:
                continue
            source = CACHE if read.name in cached else self.written.get(name, ABSENT)
            reads.setdefault(source, []).append(name)
        if pairs:
            reads.setdefault(CACHE, []).append(f"{len(pasts)} past tensors")
        writes = tuple(write.port.name for write in wired.writes)
        self.written |= dict.fromkeys(writes, wired.label)
        parts = {part.label: part for part, _ in self.assembly.stages}
        return Step(
            label=wired.label,
            name=parts[wired.label].name,
            reads={source: tuple(names) for source, names in reads.items()},
            writes=writes,
            to_core=tuple(name for name in writes if name in CORE_READS | REDUCTIONS.keys()),
            cache=spoken(cache_part(wired.stage)) if pairs else None,
        )
