"""Declared ports are those that the onnx package reads, and no file makes the reader stumble."""

import os
import resource
import time
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from triptych.core.graphs.header import DTYPES, ExternalTensor, GraphFileError, read_header
from triptych.core.ports import Port

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
DIMS = st.one_of(st.integers(0, 2**40), st.none(), st.sampled_from(["B", "S", "batch size"]))
TYPES = st.sampled_from(sorted(DTYPES))


def value(name, kind=TensorProto.FLOAT, shape=("B", "S")):
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name, *, location=None, keys=("location",)):
    made = helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0])
    if location is not None:
        made.ClearField("float_data")
        made.data_location = TensorProto.EXTERNAL
        for key in keys:
            entry = made.external_data.add()
            entry.key, entry.value = key, location
    return made


def graph(nodes=(), inputs=(), outputs=(), weights=(), name="g"):
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights))


def save(folder, model, name="m.onnx"):
    if not isinstance(model, onnx.ModelProto):
        model = helper.make_model(model)
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def by_onnx(model):
    """The same, read by the onnx package."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}

    def port(info):
        kind = info.type.tensor_type
        axes = []
        for index, dim in enumerate(kind.shape.dim):
            known = {"dim_value": dim.dim_value, "dim_param": dim.dim_param}
            axis = known.get(dim.WhichOneof("value"))
            axes.append(axis if axis not in {None, ""} else f"axis_{index}")
        dtype = DTYPES.get(kind.elem_type, f"onnx type {kind.elem_type}")
        if not info.type.HasField("tensor_type"):
            dtype = "unknown"
        return Port(info.name, dtype, tuple(axes))

    inputs = tuple(port(info) for info in model.graph.input if info.name not in weights)
    return inputs, tuple(map(port, model.graph.output))


ports = st.lists(st.tuples(NAMES, TYPES, st.lists(DIMS, max_size=5)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(ports, ports, st.lists(NAMES, max_size=4), st.data())
def test_ports_are_those_that_the_onnx_package_reads(tmp_path_factory, ins, outs, names, data):
    inputs = [value(*port) for port in ins]
    known = [*names, *(info.name for info in inputs)]
    weights = [tensor(name) for name in data.draw(st.lists(st.sampled_from(known or ["w"])))]
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor("c"))]
    model = helper.make_model(graph(nodes, inputs, [value(*port) for port in outs], weights))
    path = save(tmp_path_factory.mktemp("header"), model)
    header = read_header(path)
    assert (header.inputs, header.outputs) == by_onnx(model)
    assert header.external == frozenset()


def test_every_dtype_has_its_name(tmp_path):
    for kind, name in DTYPES.items():
        path = save(tmp_path, graph(inputs=[value("x", kind)]))
        assert read_header(path).inputs == (Port("x", name, ("B", "S")),)
    # A string is no tensor of numbers, and says so.
    path = save(tmp_path, graph(inputs=[value("x", TensorProto.STRING)]))
    assert read_header(path).inputs[0].dtype == "onnx type 8"


def test_what_is_no_tensor_is_of_unknown_type(tmp_path):
    info = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    assert read_header(save(tmp_path, graph(inputs=[info]))).inputs[0].dtype == "unknown"


def test_an_input_without_a_shape_has_no_axes(tmp_path):
    path = save(tmp_path, graph(inputs=[value("x", shape=None), value("y", shape=())]))
    assert [port.axes for port in read_header(path).inputs] == [(), ()]


def test_a_negative_length_is_an_unknown_one(tmp_path):
    path = save(tmp_path, graph(inputs=[value("x", shape=(-1, 3))]))
    assert read_header(path).inputs[0].axes == ("axis_0", 3)


def test_weights_that_are_listed_among_the_inputs_are_no_inputs(tmp_path):
    made = graph(inputs=[value("x"), value("w"), value("s")], weights=[tensor("w")])
    made.sparse_initializer.append(sparse(tensor("s"), indices()))
    assert [port.name for port in read_header(save(tmp_path, made)).inputs] == ["x"]


def test_the_graphs_of_an_export_are_read_like_by_onnx(tiny_pipeline):
    for path in sorted(tiny_pipeline.glob("*.onnx")):
        header = read_header(path)
        model = onnx.load(path, load_external_data=False)
        assert (header.inputs, header.outputs) == by_onnx(model)


# External data


def constant(external, name="value"):
    return helper.make_node("Constant", [], ["c"], **{name: external})


def custom(**attributes):
    return helper.make_node("Any", [], ["c"], domain="d", **attributes)


def sparse(values, indices):
    return helper.make_sparse_tensor(values, indices, [4])


def indices():
    return helper.make_tensor("i", TensorProto.INT64, [2], [0, 1])


def with_sparse(values, indices):
    made = graph()
    made.sparse_initializer.append(sparse(values, indices))
    return made


def with_function(nodes=(), defaults=()):
    model = helper.make_model(graph())
    function = helper.make_function("d", "F", [], ["c"], list(nodes), [])
    function.attribute_proto.extend(helper.make_attribute("a", default) for default in defaults)
    model.functions.append(function)
    return model


def loop(body):
    return helper.make_node("Loop", ["x"], ["y"], body=body)


def branch(external):
    return graph(weights=[external], name="branch")


PLACES = {
    "an initializer": lambda w: graph(weights=[w]),
    "a second initializer": lambda w: graph(weights=[tensor("p"), w]),
    "a constant": lambda w: graph([constant(w)]),
    "a list of tensors": lambda w: graph([custom(values=[tensor("p"), w])]),
    "a subgraph": lambda w: graph([loop(branch(w))]),
    "a subgraph of a subgraph": lambda w: graph([loop(graph([loop(branch(w))]))]),
    "a list of subgraphs": lambda w: graph([custom(bodies=[graph(), branch(w)])]),
    "sparse values": lambda w: with_sparse(w, indices()),
    "sparse indices": lambda w: with_sparse(tensor("p"), w),
    "a sparse constant": lambda w: graph([constant(sparse(w, indices()), "sparse_value")]),
    "a function": lambda w: with_function([constant(w)]),
    "the default of an attribute": lambda w: with_function(defaults=[w]),
}
"""Where a tensor may be, and a model with one there."""


def with_external(location, place="an initializer"):
    """A model whose only external tensor is at that place."""
    return PLACES[place](tensor("w", location=location))


@pytest.mark.parametrize("place", PLACES)
def test_external_data_are_found_wherever_a_tensor_may_be(tmp_path, place):
    (tmp_path / "data.bin").write_bytes(bytes(8))
    assert read_header(save(tmp_path, with_external("data.bin", place))).external == {"data.bin"}
    with pytest.raises(GraphFileError, match=r"outside of the graph's folder"):
        read_header(save(tmp_path, with_external("../data.bin", place)))


@pytest.mark.parametrize(
    "location",
    [
        "../data.bin",
        "a/../../data.bin",
        "/etc/passwd",
        "..\\data.bin",
        "C:\\data.bin",
        "C:data.bin",
        "file:///etc/passwd",
    ],
)
def test_external_data_stay_in_the_folder(tmp_path, location):
    (tmp_path / "a").mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(8))
    (tmp_path / "model").mkdir()
    path = save(tmp_path / "model", with_external(location))
    with pytest.raises(GraphFileError) as error:
        read_header(path)
    assert str(error.value) == (
        f"{path}: its weights name the file {location!r}, outside of the graph's folder; keep a "
        "graph and its data files in one folder"
    )


def test_external_data_may_lie_in_a_folder_below(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(8))
    path = save(tmp_path, with_external("data/w.bin"))
    assert read_header(path).external == {"data/w.bin"}


def test_external_data_that_are_missing_are_named(tmp_path):
    path = save(tmp_path, with_external("w.bin"))
    with pytest.raises(GraphFileError) as error:
        read_header(path)
    assert str(error.value) == f"{path}: its weights are in 'w.bin', which is missing beside it"
    (tmp_path / "w.bin").mkdir()
    with pytest.raises(GraphFileError, match="missing beside it"):
        read_header(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(8))
    (tmp_path / "model").mkdir()
    path = save(tmp_path / "model", with_external("w.bin"))
    (tmp_path / "model" / "w.bin").symlink_to(secret)
    with pytest.raises(GraphFileError, match="outside of the graph's folder"):
        read_header(path)


def test_a_linked_folder_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "w.bin").write_bytes(bytes(8))
    (tmp_path / "model").mkdir()
    path = save(tmp_path / "model", with_external("data/w.bin"))
    (tmp_path / "model" / "data").symlink_to(tmp_path / "secrets")
    with pytest.raises(GraphFileError, match="outside of the graph's folder"):
        read_header(path)


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "through a link inside"])
def test_a_hard_link_is_refused(tmp_path, linked):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(8))
    (tmp_path / "model").mkdir()
    path = save(tmp_path / "model", with_external("w.bin"))
    name = "inner.bin" if linked else "w.bin"
    (tmp_path / "model" / name).hardlink_to(secret)
    if linked:
        (tmp_path / "model" / "w.bin").symlink_to("inner.bin")
    with pytest.raises(GraphFileError, match="is a hard link to another file; copy it instead"):
        read_header(path)


def test_an_installer_may_link_all_files_out_of_its_cache(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "installed").mkdir()
    path = save(tmp_path / "cache", with_external("w.bin"))
    (tmp_path / "cache" / "w.bin").write_bytes(bytes(8))
    for file in path, tmp_path / "cache" / "w.bin":
        (tmp_path / "installed" / file.name).hardlink_to(file)
    assert read_header(tmp_path / "installed" / path.name).external == {"w.bin"}


def test_the_links_of_a_hugging_face_cache_lead_to_its_blobs(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc" / "onnx"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save(blobs, with_external("m.onnx_data"), "0123")
    (blobs / "4567").write_bytes(bytes(8))
    up = Path("../../../blobs")
    (snapshot / "m.onnx").symlink_to(up / "0123")
    (snapshot / "m.onnx_data").symlink_to(up / "4567")
    assert read_header(snapshot / "m.onnx").external == {"m.onnx_data"}
    (snapshot / "m.onnx_data").unlink()
    (tmp_path / "secret").write_bytes(bytes(8))
    (snapshot / "m.onnx_data").symlink_to(tmp_path / "secret")
    with pytest.raises(GraphFileError, match="outside of the graph's folder"):
        read_header(snapshot / "m.onnx")


@pytest.mark.parametrize("location", ["w\0.bin", "w" * 5000, ""])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, location):
    with pytest.raises(GraphFileError, match="its weights"):
        read_header(save(tmp_path, with_external(location)))


def test_what_external_data_say_beside_their_place_is_not_taken_for_it(tmp_path):
    made = graph(weights=[tensor("w", location="../x", keys=("offset", "length", "checksum"))])
    assert read_header(save(tmp_path, made)).external == frozenset()


# Weights are not read


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def test_gigabytes_of_weights_in_the_file_cost_nothing(tmp_path):
    size = 6 * 2**30
    info = value("x").SerializeToString()
    begin = field(8, b"w") + varint(9 << 3 | 2) + varint(size)  # a tensor's name and raw data
    weight = varint(5 << 3 | 2) + varint(len(begin) + size) + begin
    tail = field(11, info) + field(12, info)
    head = varint(7 << 3 | 2) + varint(len(weight) + size + len(tail)) + weight
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(head)
        file.seek(size, os.SEEK_CUR)
        file.write(tail)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    header = read_header(path)
    assert header.inputs == header.outputs == (Port("x", "float32", ("B", "S")),)
    assert time.perf_counter() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kilobytes"


def test_gigabytes_of_weights_beside_the_file_cost_nothing(tmp_path):
    path = save(tmp_path, with_external("w.bin"))
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(64 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_header(path).external == {"w.bin"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kilobytes"


# Files that are no graphs


def reads_or_refuses(path):
    """The header, or None for a file that was refused; no other error passes."""
    with suppress(GraphFileError):
        return read_header(path)
    return None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "x.onnx"
    path.write_bytes(content)
    reads_or_refuses(path)


def a_model():
    """All kinds of fields in one small file."""
    model = with_external("data.bin", "a function")
    model.graph.CopyFrom(with_external("data.bin", "a subgraph"))
    model.graph.input.append(value("x", shape=("B", 3, None)))
    model.graph.output.append(value("y"))
    model.graph.initializer.append(tensor("w"))
    return model.SerializeToString()


def test_a_file_that_is_cut_anywhere_is_refused_or_read(tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(8))
    content = a_model()
    path = tmp_path / "cut.onnx"
    refused = 0
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused += reads_or_refuses(path) is None
    assert refused > 0.9 * len(content)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_file_with_wrong_bytes_is_refused_or_read(tmp_path_factory, changes):
    content = bytearray(a_model())
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("changed") / "x.onnx"
    path.write_bytes(content)
    reads_or_refuses(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "cannot be read: cannot mmap an empty file"),
        (b"PK\x03\x04 a zip file, perhaps", "not an ONNX graph, or a damaged one"),
        (b"\x08\x07", "not an ONNX graph, or a damaged one (it holds no graphs)"),
        (field(7, b"") * 2, "not an ONNX graph, or a damaged one (it holds 2 graphs)"),
        (b"\xff" * 20, "not an ONNX graph, or a damaged one (a number is too long)"),
        (b"\x3a\xff", "not an ONNX graph, or a damaged one (mmap index out of range)"),
        (b"\x3a\x05ab", "not an ONNX graph, or a damaged one (a field reaches past the end"),
        (b"\x3b", "not an ONNX graph, or a damaged one (unknown wire type 3)"),
        (b"\x02\x00", "not an ONNX graph, or a damaged one (a field has no number)"),
        (field(7, field(11, field(1, b"\xff"))), "not an ONNX graph, or a damaged one ('utf-8'"),
    ],
)
def test_what_is_no_graph_is_refused_with_the_cause(tmp_path, content, cause):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphFileError) as error:
        read_header(path)
    assert str(error.value).startswith(f"{path}: {cause}")


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(GraphFileError, match="cannot be read"):
            read_header(path)


def test_subgraphs_without_end_are_refused(tmp_path):
    inner = field(1, b"")
    for _ in range(500):
        inner = field(1, field(5, field(6, inner)))  # a node's attribute that is a graph
    path = tmp_path / "deep.onnx"
    path.write_bytes(field(7, inner))
    with pytest.raises(GraphFileError, match="subgraphs are nested too deeply"):
        read_header(path)


def test_a_file_of_nothing_but_fields_is_refused_before_long(tmp_path, monkeypatch):
    monkeypatch.setattr("triptych.core.graphs.header._MAX_FIELDS", 1000)
    path = tmp_path / "busy.onnx"
    path.write_bytes(field(7, field(5, b"\x25\0\0\0\0" * 2000)))
    with pytest.raises(GraphFileError, match="it has more than 1,000 fields"):
        read_header(path)


def test_weights_in_data_files_are_told_with_their_places(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(64))
    inside, outside = tensor("inside"), tensor("outside", location="w.bin")
    entries = {"offset": "16", "length": "8"}
    for key, text in entries.items():
        entry = outside.external_data.add()
        entry.key, entry.value = key, text
    default = tensor("default", location="w.bin")
    branch = graph(outputs=[value("y")], weights=[tensor("deep", location="w.bin")], name="deep")
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    made = graph([node], [value("default")], [value("y")], [inside, outside, default])
    header = read_header(save(tmp_path, made))
    # A weight that may be given as an input is no constant.
    assert header.external_tensors == (
        ExternalTensor("outside", "float32", (2,), "w.bin", **entries),
    )


@pytest.mark.parametrize(
    ("entries", "fits"),
    [
        ({"offset": "56", "length": "8"}, True),
        ({"length": "64"}, True),
        ({"offset": "57", "length": "8"}, False),
        ({"offset": "65"}, False),
        ({"offset": "x", "length": "999"}, True),  # For ONNX Runtime to tell of.
        ({"offset": "9" * 5000}, True),
    ],
)
def test_a_data_file_that_was_cut_off_is_told_before_anything_is_read(tmp_path, entries, fits):
    (tmp_path / "w.bin").write_bytes(bytes(64))
    outside = tensor("w", location="w.bin")
    for key, text in entries.items():
        entry = outside.external_data.add()
        entry.key, entry.value = key, text
    path = save(tmp_path, graph(weights=[outside]))
    if fits:
        read_header(path)
        return
    with pytest.raises(GraphFileError, match=r"'w\.bin' has 64 bytes, of 65 at least; it was cut"):
        read_header(path)
