"""Two recordings, port by port, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from triptych.core.messages import guess
from triptych.core.ports import Array
from triptych.recording.index import Pass, RecordingError, Tensor
from triptych.recording.measures import Distance, distance
from triptych.recording.recording import Recording, source_of, tokens_of


@dataclass(frozen=True)
class Compared:
    """A port at one place of the run.

    step: 0 is the prompt, n the n-th new token. place: of the first token, among those given.
    dtypes: here and there.
    """

    step: int
    phase: str
    writer: str
    port: str
    place: int
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    distance: Distance

    @property
    def where(self) -> str:
        """As a person would say it."""
        what = "the prompt" if self.step == 0 else f"new token {self.step}"
        return f"{self.port} of {self.writer} at step {self.step} ({what})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "step": self.step,
            "phase": self.phase,
            "writer": self.writer,
            "port": self.port,
            "place": self.place,
            "shape": list(self.shape),
            "dtypes": list(self.dtypes),
            **self.distance.to_dict(),
        }


@dataclass(frozen=True)
class Parting:
    """Where two answers go different ways: from `step` on they are of different texts."""

    step: int
    place: int
    here: int
    there: int


@dataclass
class PortRow:
    """A port of one writer over all steps. first: the first place that differs, if one does."""

    writer: str
    port: str
    steps: int = 0
    differing: int = 0
    first: Compared | None = None
    worst: Compared | None = None
    cosine: float = 1.0
    kl: float | None = None
    top1: float | None = None

    def add(self, one: Compared, tolerance: float) -> None:
        """Count one place."""
        self.steps += 1
        far = one.distance
        if far.exceeds(tolerance):
            self.differing += 1
            self.first = self.first or one
        if self.worst is None or far.relative > self.worst.distance.relative:
            self.worst = one
        self.cosine = min(self.cosine, far.cosine)
        if far.kl is not None:
            self.kl = max(self.kl or 0.0, far.kl)
        if far.top1 is not None:
            known = 1.0 if self.top1 is None else self.top1
            self.top1 = known + (far.top1 - known) / self.steps

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        worst = self.worst
        said: dict[str, Any] = {
            "writer": self.writer,
            "port": self.port,
            "places": self.steps,
            "differing": self.differing,
            "first_step": None if self.first is None else self.first.step,
            "worst_step": None if worst is None else worst.step,
            "worst_relative": None if worst is None else worst.distance.to_dict()["relative"],
            "worst_cosine": self.cosine,
        }
        if self.kl is not None:
            said |= {"worst_kl": self.kl, "top1": self.top1}
        return said


@dataclass
class Difference:
    """What `compare` found.

    rows: of each port of each writer, in the order in which they were written first. first: the
    first place that differs. parting: where the tokens do. alone: ports that one of them lacks,
    with which (``here`` or ``there``). notes: what else a person should know.
    """

    tolerance: float
    rows: list[PortRow] = field(default_factory=list)
    first: Compared | None = None
    parting: Parting | None = None
    alone: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return self.first is None and self.parting is None and not self.alone

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "same": self.same,
            "tolerance": self.tolerance,
            "first": None if self.first is None else self.first.to_dict(),
            "tokens_part": None if self.parting is None else vars(self.parting),
            "ports": [row.to_dict() for row in self.rows],
            "only_here": [name for name, side in self.alone.items() if side == "here"],
            "only_there": [name for name, side in self.alone.items() if side == "there"],
            "notes": self.notes,
        }


def compare(
    here: Recording,
    there: Recording,
    *,
    tolerance: float = 0.0,
    ports: Sequence[str] | None = None,
) -> Difference:
    """Compare what two recordings have of the same tokens.

    tolerance: the relative error up to which arrays count as the same; 0: only equal ones do.
    ports: those to compare; None: all. Ports are the same by their names and by which of their
    writers wrote them, so stages may be called otherwise, and slices cut elsewhere.
    Raises RecordingError for a port that neither has.
    """
    return _Comparison(here, there, tolerance, ports).run()


class _Comparison:
    def __init__(
        self,
        here: Recording,
        there: Recording,
        tolerance: float,
        ports: Sequence[str] | None,
    ) -> None:
        self.here, self.there = here, there
        self.ports = None if ports is None else set(ports)
        self.found = Difference(tolerance)
        self._rows: dict[tuple[str, str], PortRow] = {}
        for name in sorted(self.ports or ()):
            known = dict.fromkeys([*here.port_names, *there.port_names])
            if name not in known:
                hint = guess(name, known)
                raise RecordingError(
                    f"neither recording has a port {name!r}{hint} (ports: {', '.join(known)})"
                )

    def run(self) -> Difference:
        found = self.found
        for one in (self.here, self.there):
            if not one.complete:
                found.notes.append(f"{one.folder} is partial: its run did not come to its end")
        self._find_alone()
        found.parting = self._parting()
        mine, theirs = ({item.digest for item in one.media} for one in (self.here, self.there))
        if mine != theirs:
            found.notes.append("the pictures, or how they were prepared, are not the same")
        self._walk()
        found.rows = list(self._rows.values())
        if not found.rows and found.parting is None:
            names = [", ".join(one.port_names) or "no port" for one in (self.here, self.there)]
            raise RecordingError(
                f"there is nothing to compare: {self.here.folder} has {names[0]}, and "
                f"{self.there.folder} has {names[1]}, of other tokens or ports"
            )
        return found

    def _walk(self) -> None:
        """Compare every tensor that has one beside it, up to where the tokens part."""
        passes = {walk.number: walk for walk in self.here.passes}
        common, parting = set(self.there.port_names), self.found.parting
        missing = 0
        for tensor in self.here.tensors:
            walk = passes[tensor.number]
            if not self._wanted(tensor.port) or tensor.port not in common:
                continue
            if parting is not None and _later(walk, parting):
                continue
            other = self._other(tensor, walk)
            if other is None:
                missing += 1
            else:
                self._add(tensor, walk, other)
        if missing:
            self.found.notes.append(
                f"{missing} tensors of {self.here.folder} have none beside them: the other run "
                "was cut into other slices, or ended earlier"
            )

    def _add(self, tensor: Tensor, walk: Pass, other: tuple[Array, str]) -> None:
        mine = self.here.array(tensor)
        source = source_of(tensor, walk)
        one = Compared(
            walk.step,
            walk.phase,
            tensor.writer,
            tensor.port,
            source[0] if source else 0,
            tensor.shape,
            (tensor.dtype, other[1]),
            distance(mine, other[0], tensor.port),
        )
        row = self._rows.setdefault(
            (tensor.writer, tensor.port), PortRow(tensor.writer, tensor.port)
        )
        row.add(one, self.found.tolerance)
        if self.found.first is None and one.distance.exceeds(self.found.tolerance):
            self.found.first = one

    def _other(self, tensor: Tensor, walk: Pass) -> tuple[Array, str] | None:
        """What the other recording has there, and its dtype."""
        writers = self.there.writers(tensor.port)
        writer = tensor.writer
        if writer not in writers:
            nth = self.here.writers(tensor.port).index(writer)
            if nth >= len(writers):
                return None
            writer = writers[nth]
        nth = self.here.passes_like(walk).index(walk)
        for one in self.there.passes_like(walk)[nth:]:
            theirs = self.there.of(one, writer).get(tensor.port)
            if theirs is not None:
                return self.there.array(theirs), theirs.dtype
        places = list(zip(source_of(tensor, walk), tokens_of(tensor, walk), strict=True))
        if tensor.rows is not None:
            places = [places[row] for row in tensor.rows]
        gathered = self.there.gathered(
            walk.phase, writer, tensor.port, places, sequence=walk.sequence
        )
        return None if gathered is None else (gathered, gathered.dtype.name)

    def _wanted(self, port: str) -> bool:
        return self.ports is None or port in self.ports

    def _find_alone(self) -> None:
        """Ports that one of them lacks: a difference, unless it was asked for others only."""
        sides = (("here", self.here, self.there), ("there", self.there, self.here))
        for side, one, other in sides:
            names = [
                name
                for name in one.port_names
                if self._wanted(name) and name not in other.port_names
            ]
            if other.ports is None:
                self.found.alone.update(dict.fromkeys(names, side))
            elif names:
                self.found.notes.append(f"{other.folder} was recorded without {', '.join(names)}")

    def _parting(self) -> Parting | None:
        """The first place where the tokens that were forwarded are not the same."""
        here, there = _text(self.here), _text(self.there)
        for place in sorted(here.keys() & there.keys()):
            (step, mine), (_, theirs) = here[place], there[place]
            if mine != theirs:
                return Parting(step, place, mine, theirs)
        return None


def _text(recording: Recording) -> dict[int, tuple[int, int]]:
    """By the place of each token: its step, and its id, the last one that was forwarded there."""
    found: dict[int, tuple[int, int]] = {}
    for walk in recording.passes:
        if walk.sequence or walk.phase != "span":
            continue
        for offset, (place, token) in enumerate(zip(walk.source, walk.tokens, strict=True)):
            found[place] = (walk.step + offset if walk.step else 0, token)
    return found


def _later(walk: Pass, parting: Parting) -> bool:
    """Whether a pass has tokens from where the answers part."""
    return any(place >= parting.place for place in walk.source)
