"""The declared ports of an ONNX file, read without its weights.

ONNX files are protocol buffers. This walks the wire format (protobuf.dev, "Encoding") over a
memory map and follows only the few fields it needs, so tensor bytes are never touched: the
ports of an 8 GB graph cost as little as those of a small one, and no `onnx` package is needed
to run a pipeline. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError
from triptych.core.ports import Axis, Port

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""onnx.TensorProto.DataType, as numpy names (bfloat16 is ml_dtypes')."""

# Wire types, and the numbers of the fields that are followed.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_GRAPH_SPARSE_INITIALIZER, _SPARSE_VALUES, _SPARSE_INDICES = 15, 1, 2
_FUNCTION_NODE, _FUNCTION_ATTRIBUTE, _NODE_ATTRIBUTE = 7, 11, 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
_ATTRIBUTE_SPARSE_TENSORS = (22, 23)
_TENSOR_DIMS, _TENSOR_ELEMENT, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 2, 8, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR = 1, 2, 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE, _SHAPE_DIM = 1, 2, 1
_DIM_VALUE, _DIM_PARAM = 1, 2
_VARINT_BITS, _MORE, _FIRST_KEY = 64, 0x80, 1 << 3
_NEGATIVE = 1 << 63  # of a 64-bit number in two's complement
_MAX_DEPTH = 16
_MAX_FIELDS = 5_000_000  # a file of many more is made to keep its reader busy


ON_DEMAND = "triptych.on_demand"
"""The metadata of a graph that names its outputs which nobody has to read, with commas."""

PROMPT_TOKENS = "triptych.prompt_tokens"
"""The metadata of a decoder that says from how many tokens on the end of a prompt, of which one
row of logits is wanted, is attended by the kernel that attends longer slices."""


class GraphFileError(TriptychError):
    """A file that is no ONNX graph, or one that reaches outside of its folder."""


@dataclass(frozen=True)
class ExternalTensor:
    """A weight and where it is: `location` is a data file beside the graph, or "" for the graph.

    offset, length: bytes in that file, as they are written; "" where they are not.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str = ""
    offset: str = ""
    length: str = ""


@dataclass(frozen=True)
class GraphHeader:
    """What a graph declares: its inputs (without weights), its outputs, its data files.

    on_demand: the names of outputs that nobody has to read. prompt_tokens: from how many tokens on
    the end of a prompt is attended as longer ones are; None where the graph does not say.
    external_tensors: the weights in data files, but for those of subgraphs and those that may be
    given as inputs.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    external: frozenset[str]
    on_demand: frozenset[str] = frozenset()
    prompt_tokens: int | None = None
    external_tensors: tuple[ExternalTensor, ...] = ()


def read_header(path: Path) -> GraphHeader:
    """Read the declarations of the ONNX file at `path`.

    Raises GraphFileError when it is not one, when external data would be read from anywhere but
    the file's own folder, and when there is less of it than the graph says.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = Reader(data).model()
    except (_WireError, IndexError, UnicodeDecodeError) as cause:
        raise GraphFileError(
            f"{path}: not an ONNX graph, or a damaged one ({cause}); export or copy it again"
        ) from cause
    except (OSError, ValueError) as cause:
        raise GraphFileError(f"{path}: cannot be read: {cause}") from cause
    for location in sorted(header.external):
        try:
            _check_external(path, location)
        except (OSError, ValueError) as cause:
            raise GraphFileError(
                f"{path}: its weights name the file {location!r}, which cannot be: {cause}"
            ) from cause
    _check_sizes(path, header.external_tensors)
    return header


def _check_external(graph: Path, location: str) -> None:
    """External data stays in the graph's folder; links may lead to its Hugging Face blobs.

    A hard link may have come from anywhere, unless the graph is one, too.
    """
    pure = PurePosixPath(location.replace("\\", "/"))
    inside = not pure.is_absolute() and ".." not in pure.parts and ":" not in location
    target = graph.parent / location
    blobs = target.is_symlink() and graph.is_symlink()
    if inside and blobs:
        inside = target.resolve().parent == graph.resolve().parent
    elif inside:
        inside = target.resolve().is_relative_to(graph.parent.resolve())
    if not inside:
        raise GraphFileError(
            f"{graph}: its weights name the file {location!r}, outside of the graph's folder; "
            "keep a graph and its data files in one folder"
        )
    if not target.is_file():
        raise GraphFileError(
            f"{graph}: its weights are in {location!r}, which is missing beside it"
        )
    # Installers that link out of a cache link every file, the graph as well.
    alone = target.stat().st_nlink > 1 and graph.stat().st_nlink == 1
    if not blobs and alone:
        raise GraphFileError(
            f"{graph}: its data file {location!r} is a hard link to another file; copy it instead"
        )


def _check_sizes(graph: Path, tensors: Iterable[ExternalTensor]) -> None:
    """Data files are as long as their tensors need, so far as these say what they need."""
    ends: dict[str, int] = {}
    for tensor in tensors:
        with suppress(ValueError):  # ONNX Runtime tells of what is no number.
            end = int(tensor.offset or "0") + int(tensor.length or "0")
            ends[tensor.location] = max(ends.get(tensor.location, 0), end)
    for location, end in ends.items():
        size = (graph.parent / location).stat().st_size
        if size < end:
            raise GraphFileError(
                f"{graph}: its data file {location!r} has {size:,} bytes, of {end:,} at least; "
                "it was cut off: copy or export it again"
            )


class _WireError(Exception):
    """The bytes do not follow the protocol buffer wire format."""


class Reader:
    """A walk over the messages of one ONNX file."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data = data
        self.external: set[str] = set()
        self.external_tensors: list[ExternalTensor] = []
        self.seen = 0

    def model(self) -> GraphHeader:
        """What the model declares."""
        graphs: list[tuple[int, int]] = []
        metadata: dict[str, str] = {}
        for field, start, end in self.fields(0, len(self.data)):
            if field == _MODEL_GRAPH:
                graphs.append((start, end))
            elif field == _MODEL_METADATA:
                entry = {key: self.text(a, b) for key, a, b in self.fields(start, end)}
                metadata[entry.get(_ENTRY_KEY, "")] = entry.get(_ENTRY_VALUE, "")
            elif field == _MODEL_FUNCTIONS:
                for inner, value, value_end in self.fields(start, end):
                    if inner == _FUNCTION_NODE:
                        self.node(value, value_end, depth=0)
                    elif inner == _FUNCTION_ATTRIBUTE:
                        self.attribute(value, value_end, depth=0)
        if len(graphs) != 1:
            # Of several, other readers would make one.
            raise _WireError(f"it holds {len(graphs) or 'no'} graphs")
        inputs, outputs, weights = self.graph(*graphs[0], depth=0)
        given = {port.name for port in inputs}
        return GraphHeader(
            inputs=tuple(port for port in inputs if port.name not in weights),
            outputs=tuple(outputs),
            external=frozenset(self.external),
            external_tensors=tuple(
                found for found in self.external_tensors if found.name not in given
            ),
            on_demand=frozenset(filter(None, metadata.get(ON_DEMAND, "").split(","))),
            prompt_tokens=int(said)
            if (said := metadata.get(PROMPT_TOKENS, "")).isdigit()
            else None,
        )

    def graph(self, start: int, end: int, *, depth: int) -> tuple[list[Port], list[Port], set[str]]:
        """Its inputs, its outputs, the names of its weights."""
        if depth > _MAX_DEPTH:
            raise _WireError("subgraphs are nested too deeply")
        inputs: list[Port] = []
        outputs: list[Port] = []
        weights: set[str] = set()
        for field, inner, stop in self.fields(start, end):
            if field == _GRAPH_NODE:
                self.node(inner, stop, depth=depth)
            elif field == _GRAPH_INITIALIZER:
                weight = self.tensor(inner, stop)
                weights.add(weight.name)
                if weight.location and depth == 0:
                    self.external_tensors.append(weight)
            elif field == _GRAPH_SPARSE_INITIALIZER:
                weights.add(self.sparse_tensor(inner, stop))
            elif field == _GRAPH_INPUT and depth == 0:
                inputs.append(self.port(inner, stop))
            elif field == _GRAPH_OUTPUT and depth == 0:
                outputs.append(self.port(inner, stop))
        return inputs, outputs, weights

    def node(self, start: int, end: int, *, depth: int) -> None:
        """Follows a node's attributes."""
        for field, inner, stop in self.fields(start, end):
            if field == _NODE_ATTRIBUTE:
                self.attribute(inner, stop, depth=depth)

    def attribute(self, start: int, end: int, *, depth: int) -> None:
        """Follows the tensors and the graphs in an attribute."""
        for field, inner, stop in self.fields(start, end):
            if field in _ATTRIBUTE_TENSORS:
                self.tensor(inner, stop)
            elif field in _ATTRIBUTE_SPARSE_TENSORS:
                self.sparse_tensor(inner, stop)
            elif field in _ATTRIBUTE_GRAPHS:
                self.graph(inner, stop, depth=depth + 1)

    def sparse_tensor(self, start: int, end: int) -> str:
        """The name of its values, which is its own."""
        name = ""
        for field, inner, stop in self.fields(start, end):
            if field == _SPARSE_VALUES:
                name = self.tensor(inner, stop).name
            elif field == _SPARSE_INDICES:
                self.tensor(inner, stop)
        return name

    def tensor(self, start: int, end: int) -> ExternalTensor:
        """A tensor without its values; notes the files that these are in."""
        name, dtype, shape, place = "", "unknown", list[int](), dict[str, str]()
        for field, inner, stop in self.fields(start, end):
            if field == _TENSOR_NAME:
                name = self.text(inner, stop)
            elif field == _TENSOR_ELEMENT:
                dtype = DTYPES.get(self.varint(inner)[0], dtype)
            elif field == _TENSOR_DIMS:
                shape += self.varints(inner, stop)
            elif field == _TENSOR_EXTERNAL:
                entry = {key: self.text(a, b) for key, a, b in self.fields(inner, stop)}
                place[entry.get(_ENTRY_KEY, "")] = entry.get(_ENTRY_VALUE, "")
                if entry.get(_ENTRY_KEY) == "location":
                    self.external.add(entry.get(_ENTRY_VALUE, ""))
        where = (place.get(key, "") for key in ("location", "offset", "length"))
        return ExternalTensor(name, dtype, tuple(shape), *where)

    def port(self, start: int, end: int) -> Port:
        """The port that a ValueInfoProto declares."""
        name, dtype, axes = "", "unknown", list[Axis]()
        for field, inner, stop in self.fields(start, end):
            if field == _VALUE_NAME:
                name = self.text(inner, stop)
            elif field == _VALUE_TYPE:
                for kind, type_start, type_end in self.fields(inner, stop):
                    if kind == _TYPE_TENSOR:
                        dtype, axes = self.tensor_type(type_start, type_end)
        return Port(name, dtype, tuple(axes))

    def tensor_type(self, start: int, end: int) -> tuple[str, list[Axis]]:
        """The dtype and the axes of a tensor."""
        dtype, axes = "unknown", list[Axis]()
        for field, inner, stop in self.fields(start, end):
            if field == _TENSOR_TYPE_ELEMENT:
                code = self.varint(inner)[0]
                dtype = DTYPES.get(code, f"onnx type {code}")
            elif field == _TENSOR_TYPE_SHAPE:
                for kind, dim_start, dim_end in self.fields(inner, stop):
                    if kind == _SHAPE_DIM:
                        axes.append(self.axis(dim_start, dim_end, len(axes)))
        return dtype, axes

    def axis(self, start: int, end: int, index: int) -> Axis:
        """The number or the name of an axis."""
        for field, inner, stop in self.fields(start, end):
            if field == _DIM_VALUE and (value := self.varint(inner)[0]) < _NEGATIVE:
                return value
            if field == _DIM_PARAM and (name := self.text(inner, stop)):
                return name
        return f"axis_{index}"

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (field number, start, end) of each field's value between `start` and `end`."""
        if end > len(self.data):
            raise _WireError("it ends too early")
        position = start
        while position < end:
            self.seen += 1
            if self.seen > _MAX_FIELDS:
                raise _WireError(f"it has more than {_MAX_FIELDS:,} fields")
            key, position = self.varint(position)
            wire = key & 7
            if key < _FIRST_KEY:
                raise _WireError("a field has no number")
            if wire == _VARINT:
                stop = self.varint(position)[1]
            elif wire == _BYTES:
                length, position = self.varint(position)
                stop = position + length
            elif wire in (_FIXED32, _FIXED64):
                stop = position + (4 if wire == _FIXED32 else 8)
            else:
                raise _WireError(f"unknown wire type {wire}")
            if stop > end:
                raise _WireError("a field reaches past the end of its message")
            yield key >> 3, position, stop
            position = stop

    def varint(self, position: int) -> tuple[int, int]:
        """The number at `position`, and where it ends."""
        value = shift = 0
        while shift < _VARINT_BITS:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < _MORE:
                return value, position
            shift += 7
        raise _WireError("a number is too long")

    def varints(self, start: int, end: int) -> Iterator[int]:
        """The numbers of a repeated field: one, or all of them."""
        while start < end:
            value, start = self.varint(start)
            yield value

    def text(self, start: int, end: int) -> str:
        """A string."""
        return self.data[start:end].decode()
