"""Ways to break an export: small edits of its graphs and files, each a mistake that people make."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir


@contextmanager
def editing(path):
    """The graph in a file, written back when the block is done."""
    model = ir.load(path)
    yield model.graph
    model.graph.sort()
    ir.external_data.load_to_model(model)
    path.unlink()
    ir.save(model, path)


def constant(graph, values):
    """A new initializer."""
    tensor = ir.tensor(np.asarray(values), name=f"added_{len(graph.initializers)}")
    value = ir.Value(
        name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def put_after(graph, value, *steps):
    """Passes a value through nodes, (operator, constants, attributes) each, before it is read."""
    readers = list(value.uses())
    last = value
    for operator, constants, attributes in steps:
        inputs = [last, *(constant(graph, one) for one in constants)]
        node = ir.node(operator, inputs, attributes)
        graph.append(node)
        last = node.outputs[0]
        last.name = f"added/{operator}_{len(graph)}"
    for node, index in readers:
        node.replace_input_with(index, last)


def reading(graph, name):
    """The node that reads the input or weight of that name."""
    named = {value.name: value for value in [*graph.inputs, *graph.initializers.values()]}
    node, _ = next(iter(named[name].uses()))
    return node


def replace_weight(graph, name, change):
    """Another tensor of the same shape under a weight's name."""
    value = graph.initializers[name]
    values = value.const_value.numpy()
    changed = np.ascontiguousarray(change(values)).reshape(values.shape)
    value.const_value = ir.tensor(changed, name=name)


def drop_deepstack(folder):
    """The decoder takes DeepStack's layers and adds zeros."""
    with editing(folder / "decoder.onnx") as graph:
        spread = reading(graph, "deepstack_embeds").outputs[0]
        put_after(graph, spread, ("Mul", [np.float32(0)], {}))


def swap_deepstack_layers(folder):
    """The vision encoder gives DeepStack's layers in another order."""
    with editing(folder / "vision_encoder.onnx") as graph:
        joined = graph.outputs[1].producer()
        first, second = joined.inputs
        joined.replace_input_with(0, second)
        joined.replace_input_with(1, first)


def swap_rotary_sections(folder):
    """Frequencies that turn by the height turn by the width, and the other way round."""
    with editing(folder / "decoder.onnx") as graph:
        cast = reading(graph, "position_ids")
        gather, _ = next(iter(cast.outputs[0].uses()))
        axes = gather.inputs[1].const_value.numpy()
        gather.replace_input_with(1, constant(graph, np.array([0, 2, 1])[axes]))


def merge_patches_in_columns(folder):
    """The four patches of a merged row come column by column instead of row by row."""
    with editing(folder / "vision_encoder.onnx") as graph:
        project = reading(graph, "model.visual.merger.linear_fc1.weight")
        rows = project.inputs[0].producer().inputs[0]
        width = graph.initializers["model.visual.merger.norm.weight"].shape[0]
        put_after(
            graph,
            rows,
            ("Reshape", [np.array([-1, 4, width])], {}),
            ("Gather", [np.array([0, 2, 1, 3])], {"axis": 1}),
            ("Reshape", [np.array([-1, width])], {}),
        )


def transpose_head(folder):
    """The head's values lie column by column."""
    with editing(folder / "decoder.onnx") as graph:
        replace_weight(graph, "model.language_model.embed_tokens.weight", lambda table: table.T)


def skip_query_norm(folder):
    """The queries of one layer are not normalised."""
    with editing(folder / "decoder.onnx") as graph:
        norm = reading(graph, "model.language_model.layers.1.self_attn.q_norm.weight")
        for node, index in list(norm.outputs[0].uses()):
            node.replace_input_with(index, norm.inputs[0])


def turn_queries_the_other_way(folder):
    """The angles of the rotary embedding have the wrong sign."""
    with editing(folder / "decoder.onnx") as graph:
        sine = next(node for node in graph if node.op_type == "Sin").outputs[0]
        put_after(graph, sine, ("Neg", [], {}))


def rewrite(path, old, new):
    """Another text in place of the first one in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def copied(folder, target):
    """A copy that may be broken."""
    shutil.copytree(folder, target)
    return target
