"""Which graphs a folder has, which part each can be, and which of several is taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from triptych.core.graphs.cache_pairs import CacheTensors
from triptych.core.graphs.header import GraphHeader, read_header
from triptych.core.graphs.host_inputs import BRANCH
from triptych.core.layouts.genai import GenAIConfig
from triptych.core.layouts.json_files import problem
from triptych.core.layouts.port_names import PARTS, PartName, usual_name
from triptych.core.messages import nearest
from triptych.core.paths import Paths

MOST_GRAPHS = 200
"""Graphs of a folder whose ports are read."""

FULL = "fp32"
"""What a file without a suffix is called where one is chosen, as in transformers.js."""
SUFFIXES = (FULL, "fp16", "quantized", "int8", "uint8", "q8", "q4", "q4f16", "bnb4")
"""How weights may be stored, in the order in which files are preferred."""
_SUFFIXED = re.compile(rf"(?P<stem>.+)_(?P<suffix>{'|'.join(SUFFIXES)})")
_SAME = {"q8": "quantized", "": FULL}
"""What transformers.js calls a suffix, and what a file has."""

_PART_NAMES: dict[str, PartName] = {
    "vision_encoder": "vision_encoder",
    "vision": "vision_encoder",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "embed_tokens": "embeddings",
    "decoder": "decoder",
    "decoder_model_merged": "decoder",
    "model": "decoder",
}
"""What people may call a part that they choose a suffix for."""


@dataclass(frozen=True)
class GraphFile:
    """One graph of a folder.

    file: its path from there. names: the usual name of each port, by its own, where a file beside
    it says so. others: the files of the same graph that were not taken.
    """

    file: str
    part: PartName
    header: GraphHeader
    names: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The file without what says how its weights are stored."""
        return _split(self.file)[0]

    @property
    def suffix(self) -> str:
        """How its weights are stored, by its name."""
        return _split(self.file)[1]


@dataclass(frozen=True)
class GraphFiles:
    """The graph of each part that a folder has. unused: files that are none of them."""

    by_part: Mapping[PartName, GraphFile]
    unused: tuple[str, ...] = ()


def graphs_in(folder: Path) -> list[Path]:
    """The ONNX files of a folder and its subfolders, one level deep."""
    try:
        found = [*folder.glob("*.onnx"), *folder.glob("*/*.onnx")]
        return sorted(path for path in found if path.is_file())[:MOST_GRAPHS]
    except OSError:
        return []


def graph_files(
    folder: Path, config: GenAIConfig | None, suffixes: Mapping[str, str]
) -> GraphFiles:
    """The graphs of a folder's model.

    suffixes: how weights are stored (one of `SUFFIXES`) by the name of a part; under ``""``, for
    all parts. Raises ConfigError, and GraphFileError for a file that is no graph.
    """
    chosen = _choices(folder, suffixes)
    if config is not None:
        if chosen:
            cause = f"{config.path.name} names its graphs, so there is no suffix to choose"
            raise problem(folder, cause)
        return GraphFiles(
            {
                part: GraphFile(file, part, _header(folder, file, config), config.names(part))
                for part, file in config.graphs.items()
            }
        )
    found = [
        (file, _header(folder, file))
        for file in (path.relative_to(folder).as_posix() for path in graphs_in(folder))
    ]
    candidates = [
        GraphFile(file, part, header) for file, header in found if (part := part_of(header))
    ]
    by_part: dict[PartName, GraphFile] = {}
    for part in PARTS:
        own = [graph for graph in candidates if graph.part == part]
        if own:
            by_part[part] = _taken(folder, own, chosen)
        elif part in chosen:
            raise problem(folder, f"there is no {part} here, whose suffix could be chosen")
    known = {graph.file for graph in candidates}
    return GraphFiles(by_part, tuple(file for file, _ in found if file not in known))


def part_of(header: GraphHeader) -> PartName | None:
    """The part that a graph can be, by the names of its ports."""
    read = {port.name for port in header.inputs}
    written = {port.name for port in header.outputs}
    if "logits" in {usual_name("decoder", "writes", name) for name in written}:
        return "decoder"
    if "pixel_values" in {usual_name("vision_encoder", "reads", name) for name in read}:
        return "vision_encoder"
    embeds = {usual_name("embeddings", "writes", name) for name in written}
    return "embeddings" if "input_ids" in read and "inputs_embeds" in embeds else None


def _taken(folder: Path, graphs: Sequence[GraphFile], chosen: Mapping[str, str]) -> GraphFile:
    """The one of several graphs for a part that is taken. Raises ConfigError."""
    part = graphs[0].part
    by_stem: dict[str, list[GraphFile]] = {}
    for graph in graphs:
        by_stem.setdefault(graph.stem, []).append(graph)
    stems = _preferred(by_stem)
    if len(stems) > 1:
        files = " and ".join(by_stem[stem][0].file for stem in stems[:3])
        raise problem(
            folder,
            f"has {len(stems)} graphs that can be the {part}: {files}",
            hint="move aside what is not to be used, or write a pipeline.yaml that names one",
        )
    same = sorted(by_stem[stems[0]], key=lambda graph: SUFFIXES.index(graph.suffix))
    suffix = chosen.get(part) or chosen.get("")
    wanted = [graph for graph in same if suffix in (None, graph.suffix)]
    if not wanted:
        raise problem(
            folder,
            f"has no {suffix} of the {part}",
            hint=f"there is {', '.join(graph.suffix for graph in same)}",
        )
    taken = wanted[0]
    others = tuple(graph.file for graph in same if graph is not taken)
    return GraphFile(taken.file, part, taken.header, taken.names, others)


def _preferred(by_stem: Mapping[str, Sequence[GraphFile]]) -> list[str]:
    """Of decoders: those with a cache, and of these the merged ones, which take every step."""
    stems = list(by_stem)
    for has in (_keeps_cache, _branches):
        fitting = [stem for stem in stems if has(by_stem[stem][0].header)]
        stems = fitting if len(stems) > 1 and fitting else stems
    return stems


def _keeps_cache(header: GraphHeader) -> bool:
    return bool(CacheTensors().pairs(header.inputs, header.outputs))


def _branches(header: GraphHeader) -> bool:
    return BRANCH in {port.name for port in header.inputs}


def _choices(folder: Path, suffixes: Mapping[str, str]) -> dict[str, str]:
    """The suffix as files have it, by part. Raises ConfigError."""
    chosen: dict[str, str] = {}
    for name, given in suffixes.items():
        suffix = given.removeprefix("_")
        suffix = _SAME.get(suffix, suffix)
        if suffix not in SUFFIXES:
            near = nearest(suffix, SUFFIXES)
            hint = f"did you mean {near!r}?" if near else None
            raise problem(folder, f"{given!r} is no suffix", hint=hint, known=SUFFIXES)
        if name and name not in _PART_NAMES:
            raise problem(folder, f"there is no part {name!r}", known=PARTS)
        chosen[_PART_NAMES[name] if name else ""] = suffix
    return chosen


def _split(file: str) -> tuple[str, str]:
    """A file's path without the suffix, and the suffix."""
    path = PurePosixPath(file)
    match = _SUFFIXED.fullmatch(path.stem)
    if match is None:
        return file, FULL
    suffix = _SAME.get(match["suffix"], match["suffix"])
    return str(path.with_name(f"{match['stem']}.onnx")), suffix


def _header(folder: Path, file: str, config: GenAIConfig | None = None) -> GraphHeader:
    """The ports of a graph in the folder. Raises ConfigError and GraphFileError."""
    try:
        path = Paths(root=folder, here=folder).resolve(file)
    except ValueError as error:
        place = config.path if config is not None else folder
        raise problem(
            place,
            f"names a graph that cannot be used: {error}",
            hint="copy the folder again, with all of its files",
        ) from None
    return read_header(path)
