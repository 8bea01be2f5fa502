"""From the graphs of a folder to the stages of a pipeline, with what `ports` must say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.core.config_error import ConfigError
from triptych.core.graphs.cache_pairs import CacheTensors
from triptych.core.graphs.header import DTYPES
from triptych.core.graphs.host_inputs import HOST_INPUTS
from triptych.core.layouts.graph_files import GraphFile, GraphFiles
from triptych.core.layouts.json_files import problem
from triptych.core.layouts.model_facts import MERGE_SIZE, ModelFacts
from triptych.core.layouts.port_names import (
    KNOWN,
    PARTS,
    PartName,
    Place,
    UnfitPort,
    Way,
    linked,
    place_of,
)
from triptych.core.ports import Axis, CachePair, Port

INTEGERS = frozenset({"int8", "int16", "int32", "uint8", "bool"})
HALF, SINGLE = "float16", "float32"

WITHOUT_DEEPSTACK = (
    "this export of the model leaves DeepStack out, which the model was trained with: its answers "
    "about images differ from the model's own, mostly in detail (text, counts, places). An export "
    "by `triptych export` keeps it"
)

GROWING = (
    "Its past is copied at every step. If its attention is GroupQueryAttention, `cache_form: "
    "shared` spares that."
)


@dataclass
class StageItem:
    """One stage of a pipeline file. comments: lines above it."""

    name: str
    value: Any = None
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    ignore: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StageItems:
    """The stages, in their order, and what a person should know before they rely on them."""

    items: tuple[StageItem, ...]
    warnings: tuple[str, ...]


def stage_items(folder: Path, files: GraphFiles, facts: ModelFacts) -> StageItems:
    """The stages that the graphs of a folder make.

    Raises ConfigError for graphs that do not fit together, or have ports that no stage knows.
    """
    return _Stages(folder, files, facts).made()


class _Stages:
    def __init__(self, folder: Path, files: GraphFiles, facts: ModelFacts) -> None:
        self.folder = folder
        self.files = dict(files.by_part)
        self.unused = list(files.unused)
        self.facts = facts
        self.warnings: list[str] = []
        self.pairs: tuple[CachePair, ...] = ()
        self.past_names: Mapping[str, str] = {}
        self.places: dict[tuple[PartName, Way], dict[str, Place]] = {}

    def made(self) -> StageItems:
        self._check_parts()
        self._find_pasts()
        for part, graph in self.files.items():
            for way in ("reads", "writes"):
                self.places[part, way] = self._places(graph, way)
        self._drop_unused_vision()
        items = [
            *self._of("vision_encoder"),
            *self._positions(),
            *self._of("embeddings"),
            *self._merge(),
            self._decoder(),
        ]
        if self.unused:
            self.warnings.append(f"not used: {', '.join(self.unused)}")
        if self._sees() and self.facts.has_deepstack and not self._deepstack_arrives():
            self.warnings.append(WITHOUT_DEEPSTACK)
        return StageItems(tuple(items), tuple(self.warnings))

    # What there is

    def _check_parts(self) -> None:
        if "decoder" not in self.files:
            files = [graph.file for graph in self.files.values()] + self.unused
            raise problem(
                self.folder, "has no decoder: no graph here writes 'logits'", known=sorted(files)
            )
        decoder = self.files["decoder"]
        reads = {self._usual(decoder, "reads", port) for port in decoder.header.inputs}
        if "inputs_embeds" in reads and "embeddings" not in self.files:
            raise problem(
                self.folder,
                f"{decoder.file} reads 'inputs_embeds', and no graph here makes them of ids",
                hint="copy the embedding graph beside it (GenAI's builder leaves it out with "
                "exclude_embeds=true)",
            )

    def _find_pasts(self) -> None:
        decoder = self.files["decoder"]
        header = decoder.header
        self.pairs = CacheTensors().pairs(header.inputs, header.outputs)
        genai = self.facts.genai
        if not self.pairs and genai is not None:
            self.past_names = genai.past_names
            names = CacheTensors(names=self.past_names)
            self.pairs = names.pairs(header.inputs, header.outputs)

    def _places(self, graph: GraphFile, way: Way) -> dict[str, Place]:
        """The place of each port of a graph, by its own name; unknown ones as they are linked."""
        found: dict[str, Place] = {}
        for port in graph.header.inputs if way == "reads" else graph.header.outputs:
            if graph.part == "decoder" and port.name in self._handled():
                continue
            try:
                place = place_of(graph.part, way, port, graph.names)
            except UnfitPort as error:
                raise problem(self.folder, f"{graph.file} {error}") from None
            place = place or self._linked(graph, way, port)
            if place is not None:
                found[port.name] = place
            elif way == "reads":
                raise self._unknown(graph, port)
        return found

    def _handled(self) -> set[str]:
        """Ports of the decoder that the cache or the host has."""
        pasts = {port.name for pair in self.pairs for port in (pair.past, pair.present)}
        return pasts | HOST_INPUTS

    def _linked(self, graph: GraphFile, way: Way, port: Port) -> Place | None:
        """The place of a port that two neighbouring graphs call by one name, whatever it is."""
        at = PARTS.index(graph.part) + (1 if way == "writes" else -1)
        other = self.files.get(PARTS[at]) if 0 <= at < len(PARTS) else None
        if other is None:
            return None
        theirs = other.header.inputs if way == "writes" else other.header.outputs
        if port.name not in {port.name for port in theirs}:
            return None
        visual = "vision_encoder" in (graph.part, other.part)
        return Place(port, port.name, linked(port, ("N",) if visual else ("B", "S")))

    def _unknown(self, graph: GraphFile, port: Port) -> ConfigError:
        return problem(
            self.folder,
            f"{graph.file} reads {port}, which nothing here writes",
            hint="write a pipeline.yaml with a stage that does, or say `absent: zeros` of it there",
            known=KNOWN[graph.part, "reads"],
        )

    def _usual(self, graph: GraphFile, way: Way, port: Port) -> str | None:
        try:
            place = place_of(graph.part, way, port, graph.names)
        except UnfitPort:
            return None
        return place.name if place is not None else None

    # How they fit together

    def _names(self, part: PartName, way: Way) -> set[str]:
        return {place.name for place in self.places.get((part, way), {}).values()}

    def _sees(self) -> bool:
        return "vision_encoder" in self.files

    def _fuses(self) -> bool:
        """Whether the embedding graph puts the image's rows in their places."""
        return "image_features" in self._names("embeddings", "reads")

    def _drop_unused_vision(self) -> None:
        """Leave out a vision encoder whose features nothing could take."""
        if self._sees() and "embeddings" not in self.files:
            self.unused.append(self.files.pop("vision_encoder").file)

    def _host_layers(self) -> list[str]:
        """The decoder's DeepStack ports that `merge` has to write, sorted."""
        wanted = self._names("decoder", "reads") - self._names("embeddings", "writes")
        return sorted(name for name in wanted if name.startswith("deepstack_embeds"))

    def _deepstack_arrives(self) -> bool:
        """Whether every DeepStack port that the decoder reads is fed from the images."""
        given = {name for name in self._names("vision_encoder", "writes") if "deepstack" in name}
        host = self._host_layers()
        if host:
            return self._merged_layers() is not False
        fused = given & self._names("embeddings", "reads")
        linked = self._names("embeddings", "writes") - {"inputs_embeds"}
        return bool(given) and fused == given and bool(linked & self._names("decoder", "reads"))

    def _merged_layers(self) -> bool | int:
        """The setting of `merge`. Raises ConfigError where no merge could serve both graphs."""
        host = self._host_layers()
        given = {name for name in self._names("vision_encoder", "writes") if "deepstack" in name}
        if not host or not given:
            return False
        wanted = {name.replace("embeds", "features") for name in host}
        if wanted != given or (len(host) > 1 and "deepstack_embeds" in host):
            raise problem(
                self.folder,
                f"{self.files['vision_encoder'].file} writes {', '.join(sorted(given))}, and "
                f"{self.files['decoder'].file} reads {', '.join(host)}: they do not match",
                hint="take both graphs from one export",
            )
        return True if host == ["deepstack_embeds"] else len(host)

    # The items

    def _of(self, part: PartName) -> list[StageItem]:
        graph = self.files.get(part)
        if graph is None:
            return []
        item = StageItem(part, graph.file, comments=_others(graph))
        for place in self.places[part, "reads"].values():
            absent = part == "embeddings" and "N" in place.axes
            self._note(item, place, absent=absent)
        for place in self.places[part, "writes"].values():
            self._note(item, place)
        self._ignore(item, graph)
        return [item]

    def _positions(self) -> list[StageItem]:
        for places in self.places.values():
            for place in places.values():
                if place.name == "position_ids":
                    if len(place.axes) == len(("B", "S")):
                        return [StageItem("positions")]
                    size = self.facts.merge_size
                    return [StageItem("mrope", None if size == MERGE_SIZE else size)]
        return []

    def _merge(self) -> list[StageItem]:
        if not self._sees():
            return []
        layers = self._merged_layers()
        if self._fuses() and layers is False:
            return []
        item = StageItem("merge", None if layers is True else layers)
        if self._fuses():
            item.comments = ["The embedding graph places the image's rows; this, their DeepStack."]
        return [item]

    def _decoder(self) -> StageItem:
        graph = self.files["decoder"]
        settings: dict[str, Any] = {"graph": graph.file}
        item = StageItem("decoder", settings, comments=_others(graph))
        if self.pairs:
            tensors = CacheTensors(heads=self.facts.heads, head_size=self.facts.head_size)
            settings["cache_form"] = self._form(tensors)
            settings.update(self._past_sizes())
            if settings["cache_form"] == "growing":
                item.comments.append(GROWING)
        if self.past_names:
            settings["past_names"] = dict(self.past_names)
        written = self._names("embeddings", "writes")
        for place in self.places["decoder", "reads"].values():
            absent = "deepstack" in place.name and place.name not in written
            self._note(item, place, absent=absent and place.own.name != "deepstack_embeds")
        for place in self.places["decoder", "writes"].values():
            self._note(item, place)
        self._ignore(item, graph)
        if set(settings) == {"graph"}:
            item.value = graph.file
        return item

    def _form(self, tensors: CacheTensors) -> str:
        shares = self.facts.genai and self.facts.genai.shares_buffer
        if shares is None:
            shares = not tensors.grow(self.pairs)
        return "shared" if shares else "growing"

    def _past_sizes(self) -> dict[str, int]:
        """Numbers of heads and their size, where the graph has names in their places."""
        axes: Iterable[tuple[Axis, ...]] = {pair.past.axes for pair in self.pairs}
        sizes: dict[str, int] = {}
        for _, heads, _, size in (one for one in axes if len(one) == len("BhlS")):
            if isinstance(heads, str) and self.facts.heads:
                sizes["kv_heads"] = self.facts.heads
            if isinstance(size, str) and self.facts.head_size:
                sizes["head_size"] = self.facts.head_size
        return sizes

    def _note(self, item: StageItem, place: Place, *, absent: bool = False) -> None:
        """What `ports` must say of a port, if anything."""
        own, change = place.own, dict[str, Any]()
        if place.name != own.name:
            change["port"] = place.name
        if place.axes != own.axes:
            change["axes"] = list(place.axes)
        dtype = self._dtype(place)
        if dtype != own.dtype:
            change["dtype"] = dtype
        if absent:
            change["absent"] = "zeros"
        if change:
            item.ports[own.name] = change

    def _dtype(self, place: Place) -> str:
        """What a port holds in the pipeline: its floats are those of the decoder's embeddings."""
        own = place.own.dtype
        if own not in DTYPES.values() or own == "bfloat16":
            raise problem(
                self.folder,
                f"a graph's port {place.own} holds what numpy has no type for",
                hint="export it with float32 or float16 ports",
            )
        if place.name in ("logits", "pixel_values"):
            return SINGLE
        if own in INTEGERS or place.name == "attention_mask":
            return "int64"
        if own not in (HALF, SINGLE):
            return own
        embeds = [
            read.own.dtype
            for read in self.places["decoder", "reads"].values()
            if read.name == "inputs_embeds"
        ]
        return embeds[0] if embeds else SINGLE

    def _ignore(self, item: StageItem, graph: GraphFile) -> None:
        """Outputs that nobody reads are lost on purpose, and said to be."""
        taken = {"logits", "inputs_embeds", "image_features"}
        if graph.part == "vision_encoder":
            taken |= self._names("embeddings", "reads")
            if self._merged_layers() is not False:
                taken |= {name for name in self._names(graph.part, "writes") if "deep" in name}
        elif graph.part == "embeddings":
            taken |= self._names("decoder", "reads")
        handled = self._handled() if graph.part == "decoder" else set()
        places = self.places[graph.part, "writes"]
        for port in graph.header.outputs:
            name = places[port.name].name if port.name in places else port.name
            if name not in taken and port.name not in handled:
                item.ignore.append(name)
                self.warnings.append(f"{graph.file} writes {name!r}, which nothing here reads")


def _others(graph: GraphFile) -> list[str]:
    """What else a person could take."""
    return [f"There are also {', '.join(graph.others)}."] if graph.others else []
