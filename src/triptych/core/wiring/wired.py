"""Stages in their places: what a wiring says once it holds, and the ports that the core knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any

from triptych.core.dataclass import dataclass
from triptych.core.ports import Port
from triptych.core.stages import Stage

INPUT_PORTS = (
    Port("input_ids", "int64", ("S",)),
    Port("visual_index", "int64", ("S",)),
    Port("start_position", "int64", (1,)),
)
"""What the core writes when tokens enter a sequence."""

SPAN_PORTS = (Port("logit_index", "int64", ("R",)),)
"""What the core adds for each slice that is forwarded."""

CACHE_PORTS = (Port("attention_mask", "int64", ("B", "total")),)
"""What a cache writes for its own stage, beside the past tensors."""

MEDIA_PORTS = (
    Port("media_digest", "uint8", ("N", 16)),
    Port("source_row", "int64", ("N",)),
)
"""What the core says of each visual row: the digest of its medium's content, and which of the
medium's rows it was, before any was dropped. Offered like the processor's ports, per medium."""

MEDIA_INDEX = Port("media_index", "int64", ("N",))
"""The core's own: which of the media that enter together each visual row belongs to."""

SOURCE = Port("source", "int64", ("S",))
"""The core's own column: where a token stood in the prompt, before any was pruned."""

TABLE_PORTS = (Port("next_position", "int64", ("S",)), SOURCE)
"""Columns of a sequence's table that the core fills where no stage does."""

CORE_READS = {
    "next_position": (Port("next_position", "int64", ("S",)),),
    "logits": (Port("logits", "float", ("B", "R", "V")), Port("logits", "float", ("B", "S", "V"))),
}
"""Ports that the core reads itself, in the forms that it takes."""

REDUCTIONS = {
    "keep_rows": Port("keep_rows", "bool", ("N",)),
    "merge_rows": Port("merge_rows", "int64", ("N",)),
    "merge_weights": Port("merge_weights", "float32", ("N",)),
}
"""What a visual-token reducer writes; the scheduler applies it to every port at once."""

KEEP_TOKENS = (
    Port("keep_tokens", "bool", ("S",)),
    Port("keep_tokens", "bool", ("B", "S")),
)
"""What a SPAN stage writes, in either form, to drop tokens from the stages behind it."""

MEDIA_AXES = frozenset({"N", "patches", "images", "tiles"})
"""A port with one of these axes can be split into those of single media items."""


@dataclass(frozen=True)
class Read:
    """One input of a stage. name: the stage's own; port: the pipeline's, as the stage wants it.

    batch_axis: where B is inserted, for a port that was written without it.
    cast: the stage's own dtype, where the item's `ports` give the port another.
    """

    name: str
    port: Port
    batch_axis: int | None = None
    cast: str | None = None


@dataclass(frozen=True)
class Write:
    """One output of a stage. name: the stage's own; port: the pipeline's; cast as in `Read`."""

    name: str
    port: Port
    cast: str | None = None


@dataclass(frozen=True, eq=False)
class Wired:
    """A stage in its place.

    per_media: it reads nothing but ports of media, so its results belong to each item.
    per_item: a reducer that looks at visual rows and their media alone, so it is called for each
        item by itself.
    wanted: the ports that it writes on demand, and that are read.
    """

    label: str
    stage: Stage
    reads: tuple[Read, ...]
    writes: tuple[Write, ...]
    per_media: bool = False
    per_item: bool = False
    wanted: set[str] = field(default_factory=set, init=False, repr=False)

    @cached_property
    def drops(self) -> bool:
        """Whether it drops tokens from the stages behind it."""
        return any(write.port.name == KEEP_TOKENS[0].name for write in self.writes)

    @cached_property
    def declared(self) -> frozenset[str]:
        """The names of its outputs."""
        return frozenset(write.name for write in self.writes)

    @cached_property
    def required(self) -> frozenset[str]:
        """Those that it always writes."""
        return frozenset(write.name for write in self.writes if not write.port.on_demand)

    @cached_property
    def casts(self) -> Mapping[str, str]:
        """The stage's own dtype of each input where the pipeline has another."""
        return {read.name: read.cast for read in self.reads if read.cast is not None}


@dataclass(frozen=True)
class Wiring:
    """The checked list. sizes: the number that each axis letter stands for, where one is known."""

    input: tuple[Wired, ...]
    span: tuple[Wired, ...]
    sizes: Mapping[str, int]
    kept: Mapping[str, Port]
    """INPUT ports that stay with the sequence, by name."""

    @property
    def stages(self) -> tuple[Wired, ...]:
        """All stages, in the order they run."""
        return self.input + self.span

    def want(self, ports: Collection[str]) -> None:
        """Have the stages compute those of `ports` that they write on demand.

        Raises what a stage raises that cannot any more.
        """
        for wired in self.stages:
            names = {
                write.port.name: write.name
                for write in wired.writes
                if write.port.on_demand and write.port.name in ports
            }
            if names.keys() - wired.wanted:
                stage: Any = wired.stage
                stage.want(names.values())
                wired.wanted.update(names)

    @property
    def whole(self) -> bool:
        """Whether a stage must see the whole prompt."""
        return any(wired.stage.whole for wired in self.stages)

    @property
    def logits_from(self) -> str:
        """The label of the stage whose `logits` are sampled from."""
        writers = [
            wired.label
            for wired in self.span
            if "logits" in {write.port.name for write in wired.writes}
        ]
        return writers[-1]


def port_names(wiring: Wiring, offers: Iterable[Port]) -> set[str]:
    """Every port of a pipeline, whoever writes it. offers: the processor's."""
    names = {port.name for port in (*INPUT_PORTS, SOURCE, *SPAN_PORTS, *offers)}
    return names.union(write.port.name for wired in wiring.stages for write in wired.writes)
