"""The wiring check: who writes each port, who reads it, before any weight is read.

One ordered list of stages over named ports is the whole graph; the names are its edges. The
list is walked twice, for tokens alone and for tokens with media, first through the stages that
run on INPUT, then through those that run on each SPAN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from triptych.core.config.part import Part
from triptych.core.config_error import ConfigError
from triptych.core.dataclass import dataclass
from triptych.core.messages import nearest
from triptych.core.ports import AXES, Axis, Port, When, same_dtype
from triptych.core.stages import Stage
from triptych.core.wiring.needs import remedy
from triptych.core.wiring.wired import (
    CACHE_PORTS,
    CORE_READS,
    INPUT_PORTS,
    KEEP_TOKENS,
    MEDIA_AXES,
    MEDIA_INDEX,
    MEDIA_PORTS,
    REDUCTIONS,
    SOURCE,
    SPAN_PORTS,
    Read,
    Wired,
    Wiring,
    Write,
)

KEPT_AXES = frozenset({"S", "N"})
"""INPUT ports with one of these axes are kept with the sequence, for SPAN stages to read."""

_PER_RUN_AXES = MEDIA_AXES | {"B", "S", "R", "total"}


def wire(
    parts: Sequence[tuple[Part, Stage]], *, offers: Sequence[Port], taps: Collection[str] = ()
) -> Wiring:
    """Check the list of stages, and say what each reads and writes.

    offers: the ports of the processor's media. taps: names of ports that somebody looks at, which
    need no other reader. Raises ConfigError at the first stage that is
    wrong, with what is available there.
    """
    return _Check(parts, offers, taps).run()


@dataclass(frozen=True)
class _Written:
    port: Port
    place: Part | None


class _Check:
    def __init__(
        self,
        parts: Sequence[tuple[Part, Stage]],
        offers: Sequence[Port],
        taps: Collection[str] = (),
    ) -> None:
        self.read_anyway = {*CORE_READS, *taps}
        self.offers = (*offers, *MEDIA_PORTS) if offers else ()
        self.sizes: dict[str, int] = {}
        self.places = [place for place, _ in parts]
        wired = [self._changed(place, stage) for place, stage in parts]
        self.order = sorted(
            range(len(wired)), key=lambda index: wired[index].stage.when is When.SPAN
        )
        self.wired = wired

    def run(self) -> Wiring:
        self._check_rows()
        self._walk(with_media=True)
        self._walk(with_media=False)
        done = self._per_media([self.wired[index] for index in self.order])
        inputs = tuple(item for item in done if item.stage.when is When.INPUT)
        kept = {
            write.port.name: write.port
            for item in inputs
            for write in item.writes
            if KEPT_AXES & set(write.port.axes) and write.port.name not in REDUCTIONS
        }
        span = tuple(item for item in done if item.stage.when is When.SPAN)
        return Wiring(inputs, span, dict(self.sizes), kept)

    def _check_rows(self) -> None:
        """Refuse a reducer before a stage that must see all of a medium's rows."""
        reducers: list[Part] = []
        for index in self.order:
            wired, place = self.wired[index], self.places[index]
            if reducers and getattr(wired.stage, "every_row", False):
                cause = f"drops visual rows, and {place.label} behind it must see all of them"
                raise _wrong(reducers[0], cause, (), hint=f"put it after {place.label}")
            if wired.stage.when is When.INPUT and any(
                write.port.name in REDUCTIONS for write in wired.writes
            ):
                reducers.append(place)

    def _per_media(self, ordered: Sequence[Wired]) -> list[Wired]:
        """Mark the stages whose results belong to each media item.

        From the first reducer on, visual rows are those of a request and not of an item; what
        reads nothing else is then called for the rows that each item has left.
        """
        media = {port.name: port for port in self.offers}
        written = {port.name for port in (*INPUT_PORTS, *self.offers)}
        done: list[Wired] = []
        for wired in ordered:
            reads = {read.port.name for read in wired.reads}
            writes = {write.port.name: write.port for write in wired.writes}
            reduces = bool(writes.keys() & REDUCTIONS.keys())
            enters = wired.stage.when is When.INPUT and bool(reads)
            ports = [*(read.port for read in wired.reads), *writes.values()]
            per_media = (
                enters
                and reads <= media.keys()
                and not reduces
                and all(MEDIA_AXES & set(port.axes) for port in ports)
            )
            per_item = (
                enters
                and reduces
                and MEDIA_INDEX.name not in reads
                and all(
                    "N" in read.port.axes
                    or read.port.name in media
                    or (read.port.absent is not None and read.port.name not in written)
                    for read in wired.reads
                )
                and all("N" in port.axes for port in writes.values())
            )
            if per_media:
                media |= writes
            elif reduces:
                media = {name: port for name, port in media.items() if "N" not in port.axes}
            else:
                media = {name: port for name, port in media.items() if name not in writes}
            written |= writes.keys()
            done.append(replace(wired, per_media=per_media, per_item=per_item))
        return done

    def _changed(self, place: Part, stage: Stage) -> Wired:
        """The stage with its item's `ports` applied."""
        if stage.cache_pairs and stage.when is When.INPUT:
            raise _wrong(place, "keeps a cache, so it must run on each span and not on input", ())
        names = [port.name for port in (*stage.reads, *stage.writes)]
        for pair in stage.cache_pairs:
            if pair.past.name in place.ports:
                cause = f"{pair.past.name!r} is the cache's, which takes it as the stage has it"
                raise _wrong(place, cause, (), at=("ports", pair.past.name))
        for name in place.ports:
            if name not in names:
                raise _wrong(
                    place, f"the stage has no port {name!r}", names, name=name, at=("ports", name)
                )
        reads = tuple(
            Read(port.name, _apply(port, place), cast=_cast(port, place)) for port in stage.reads
        )
        writes = tuple(
            Write(port.name, _apply(port, place), cast=_cast(port, place)) for port in stage.writes
        )
        for name in place.ignore:
            if name not in [write.port.name for write in writes]:
                names = [write.port.name for write in writes]
                raise _wrong(
                    place, f"the stage does not write {name!r}", names, name=name, at=("ignore",)
                )
        return Wired(place.label, stage, reads, writes)

    def _walk(self, *, with_media: bool) -> None:
        """Follow one case through all stages, in the order in which they run."""
        available = {port.name: _Written(port, None) for port in INPUT_PORTS}
        if with_media:
            available |= {port.name: _Written(port, None) for port in self.offers}
            available[MEDIA_INDEX.name] = _Written(MEDIA_INDEX, None)
        unread: dict[str, Part] = {}
        spanning = False
        for index in self.order:
            if self.wired[index].stage.when is When.SPAN and not spanning:
                spanning = True
                available = self._kept_for_spans(available)
            if self._read(index, available, unread, with_media=with_media):
                self._write(index, available, unread)
        if with_media:
            for name, place in unread.items():
                raise _wrong(
                    place,
                    f"writes {name!r}, which nobody reads; add the stage that reads it, or say "
                    f"'ignore: [{name}]' if it is meant to be lost",
                    (),
                )
        if self.places and "logits" not in available:
            last = self.places[self.order[-1]]
            case = "" if with_media else " for tokens without media"
            raise _wrong(
                last, f"the stages end here, and none has written 'logits'{case}", sorted(available)
            )
        for name, written in available.items():
            if name in CORE_READS and written.place is not None:
                self._check_core_read(written.port, written.place)

    @staticmethod
    def _check_core_read(port: Port, place: Part) -> None:
        """`next_position` i64 [S] and `logits` float [B, R, V] are read by the core."""
        for wanted in CORE_READS[port.name]:
            alike = len(port.axes) == len(wanted.axes) and all(
                ours == theirs or isinstance(ours, int) or ours not in AXES
                for ours, theirs in zip(port.axes, wanted.axes, strict=True)
            )
            if alike and same_dtype(port.dtype, wanted.dtype):
                return
        raise _wrong(place, f"writes {port}; what the core reads is {CORE_READS[port.name][0]}", ())

    def _kept_for_spans(self, available: Mapping[str, _Written]) -> dict[str, _Written]:
        """What a sequence keeps of its INPUT ports, and what the core adds for each span."""
        offered = {port.name for port in (*self.offers, MEDIA_INDEX)}
        kept = {
            name: written
            for name, written in available.items()
            if KEPT_AXES & set(written.port.axes) and (written.place or name not in offered)
        }
        return kept | {port.name: _Written(port, None) for port in SPAN_PORTS}

    def _write(self, index: int, available: dict[str, _Written], unread: dict[str, Part]) -> None:
        """Check the stage's writes, and make them available."""
        wired, place = self.wired[index], self.places[index]
        own_reads = {read.port.name for read in wired.reads}
        self._check_reduction(wired, place)
        for write in wired.writes:
            name = write.port.name
            before = _Written(write.port, None) if name == SOURCE.name else available.get(name)
            if before is not None and name not in own_reads:
                raise _wrong(
                    place,
                    f"writes {name!r}, which {self._writer(before)} writes already; a stage that "
                    "rewrites a port reads it, too",
                    sorted(available),
                )
            if name in REDUCTIONS and wired.stage.when is When.INPUT:
                continue
            if name == KEEP_TOKENS[0].name:
                _check_keep_tokens(write.port, wired, place)
                continue
            available[name] = _Written(write.port, place)
            unread.pop(name, None)
            ignored = name in self.read_anyway or name in place.ignore
            if not ignored and not write.port.on_demand:
                unread[name] = place

    @staticmethod
    def _check_reduction(wired: Wired, place: Part) -> None:
        """A reducer writes rows to keep, or rows to merge with their weights."""
        said = {
            write.port.name: write.port for write in wired.writes if write.port.name in REDUCTIONS
        }
        if not said or wired.stage.when is When.SPAN:
            return
        for name, port in said.items():
            wanted = REDUCTIONS[name]
            if (port.dtype, port.axes) != (wanted.dtype, wanted.axes):
                raise _wrong(place, f"writes {port}; what the core reads is {wanted}", ())
        if set(said) not in ({"keep_rows"}, {"merge_rows", "merge_weights"}):
            raise _wrong(
                place,
                f"writes {' and '.join(map(repr, sorted(said)))}; a reducer writes 'keep_rows', or "
                "'merge_rows' and 'merge_weights'",
                (),
            )

    def _read(
        self,
        index: int,
        available: Mapping[str, _Written],
        unread: dict[str, Part],
        *,
        with_media: bool,
    ) -> bool:
        """Check the stage's reads; whether it runs in this case."""
        wired, place = self.wired[index], self.places[index]
        own = {pair.past.name for pair in wired.stage.cache_pairs}
        cached = {port.name: _Written(port, None) for port in CACHE_PORTS} if own else {}
        reads = list(wired.reads)
        for position, read in enumerate(reads):
            written = cached.get(read.port.name) or available.get(read.port.name)
            if read.name in own:
                continue
            if written is not None:
                reads[position] = self._connect(place, read, written)
            elif read.port.absent is None and not with_media:
                return False
        if with_media:
            for read in reads:
                name = read.port.name
                if read.name in own or name in cached or name in available:
                    continue
                if read.port.absent is not None:
                    continue
                raise self._missing(name, wired, place, sorted(available))
        for read in reads:
            unread.pop(read.port.name, None)
        self.wired[index] = replace(wired, reads=tuple(reads))
        return True

    def _missing(self, name: str, reader: Wired, at: Part, known: list[str]) -> ConfigError:
        """The error for a port that is not there for `reader`, with why."""
        for wired, place in zip(self.wired, self.places, strict=True):
            if name not in [write.port.name for write in wired.writes] or wired is reader:
                continue
            if reader.stage.when is When.INPUT and wired.stage.when is When.SPAN:
                why = (
                    f"{place.label} writes only for each span; this stage runs before, on what "
                    "enters"
                )
            elif reader.stage.when is When.SPAN and wired.stage.when is When.INPUT:
                why = (
                    f"{place.label} writes on input without an S or N axis, so it is not kept for "
                    "the spans"
                )
            else:
                why = f"{place.label} writes only after it; change their order"
            return _wrong(at, f"reads {name!r}, which {why}", known)
        if reader.stage.when is When.SPAN and name in {port.name for port in self.offers}:
            cause = f"reads {name!r}, which is there only while media enter, not for each span"
            return _wrong(at, cause, known)
        cause = f"reads {name!r}, which nobody writes"
        return _wrong(at, cause, known, name=name, hint=remedy(name))

    def _connect(self, place: Part, read: Read, written: _Written) -> Read:
        port, wanted = written.port, read.port
        writer = self._writer(written)
        if not same_dtype(port.dtype, wanted.dtype):
            raise _wrong(
                place,
                f"reads {wanted.name!r} as {wanted.dtype}, but {writer} writes it as {port.dtype}",
                (),
            )
        axes: list[Axis] = list(wanted.axes)
        batch_axis = None
        if len(axes) == len(port.axes) + 1 and "B" in axes and "B" not in port.axes:
            batch_axis = axes.index("B")
            axes.pop(batch_axis)
        agree = len(axes) == len(port.axes) and all(
            self._same(ours, theirs) for ours, theirs in zip(axes, port.axes, strict=True)
        )
        if not agree:
            raise _wrong(
                place,
                f"reads {wanted.name!r} with axes {_axes(wanted)}, "
                f"but {writer} writes it with {_axes(port)}{self._known()}",
                (),
            )
        return replace(read, batch_axis=batch_axis)

    def _writer(self, written: _Written) -> str:
        if written.place is not None:
            return written.place.label
        offered = {port.name for port in self.offers if port not in MEDIA_PORTS}
        return "the processor" if written.port.name in offered else "the core"

    def _same(self, ours: Axis, theirs: Axis) -> bool:
        """Whether two axes agree; learns the number that a letter stands for."""
        if ours == theirs or 1 in (ours, theirs):
            return True
        if isinstance(ours, str) and isinstance(theirs, str):
            return not (ours in AXES and theirs in AXES)
        if isinstance(ours, str):
            return self._bind(ours, int(theirs))
        return isinstance(theirs, str) and self._bind(theirs, ours)

    def _bind(self, name: str, number: int) -> bool:
        """Whether the axis `name` may be `number` long; remembers it."""
        if name not in AXES:
            return True
        if name in _PER_RUN_AXES:
            return False
        return self.sizes.setdefault(name, number) == number

    def _known(self) -> str:
        if not self.sizes:
            return ""
        return " (" + ", ".join(f"{name} is {size}" for name, size in self.sizes.items()) + ")"


def _check_keep_tokens(port: Port, wired: Wired, place: Part) -> None:
    """`keep_tokens` is for what a SPAN stage drops from the stages behind it."""
    if wired.stage.when is When.INPUT:
        cause = "writes 'keep_tokens' on input, where a stage drops visual rows by 'keep_rows'"
        raise _wrong(place, cause, ())
    if (port.dtype, port.axes) not in [(form.dtype, form.axes) for form in KEEP_TOKENS]:
        raise _wrong(place, f"writes {port}; what the core reads is {KEEP_TOKENS[0]}", ())


def _apply(port: Port, place: Part) -> Port:
    change = place.ports.get(port.name)
    if change is None:
        return port
    return Port(
        change.port or port.name,
        change.dtype or port.dtype,
        change.axes if change.axes is not None else port.axes,
        change.absent if change.absent is not None else port.absent,
        port.on_demand,
    )


def _cast(port: Port, place: Part) -> str | None:
    """The stage's own dtype of a port that the item gives another; `float` takes any."""
    change = place.ports.get(port.name)
    given = change and change.dtype
    return port.dtype if given and port.dtype not in (given, "float") else None


def _axes(port: Port) -> str:
    return "[" + ", ".join(str(axis) for axis in port.axes) + "]"


def _wrong(
    part: Part,
    cause: str,
    known: Iterable[str],
    *,
    name: str = "",
    at: tuple[str, ...] = (),
    hint: str | None = None,
) -> ConfigError:
    """The error at a stage's place, or at its `ports` or `ignore`; what is `known` there."""
    names = list(known)
    return ConfigError(
        part.place(*at),
        cause,
        nearest=nearest(name, names) if name else None,
        known=names,
        hint=hint,
    )
