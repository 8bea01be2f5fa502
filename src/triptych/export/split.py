"""`--split-decoder LAYER`: a decoder as two graphs, with room for a stage between them.

The first one has the layers before LAYER and writes `hidden_states` f32 [B, S, H]; the second one
reads that, has the other layers and the head, and keeps a cache of its own. A stage between them
may look at `attention.{LAYER - 1}`, which the first one writes on demand, and drop tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from triptych.core.errors import InputError
from triptych.core.graphs.header import ON_DEMAND
from triptych.export.builder import FLOAT, OFFERS

EARLY = "decoder_early.onnx"
STATES = "hidden_states"
_EMBEDS, _LOGITS, _PRESENT = "inputs_embeds", "logits", "present."
_NORM, _PLAIN_NORM = "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization"
_SCALE = 2
"""Where the former has the weight that both have."""


class SplitError(InputError):
    """A decoder that cannot be split there."""


def looks_at(layer: int) -> str:
    """What is exposed for a stage between the graphs, as `--expose` has it.

    Raises SplitError where there is no layer before.
    """
    if layer < 1:
        raise SplitError(f"--split-decoder {layer}: no layers stand before it; the first is 1")
    return f"attention:{layer - 1}"


def check_layer(decoder: ir.Model, layer: int) -> None:
    """Raises SplitError where the second graph of this decoder cannot begin with `layer`."""
    layers = sum((value.name or "").startswith(_PRESENT) for value in decoder.graph.outputs)
    layers //= len(("key", "value"))
    if f"hidden.{layer - 1}" not in decoder.meta.get(OFFERS, {}) or not 0 < layer < layers:
        raise SplitError(
            f"--split-decoder {layer}: the second graph begins with one of the layers 1 to "
            f"{layers - 1}, of a decoder that Triptych builds itself"
        )


def split_decoder(early: ir.Model, late: ir.Model, layer: int) -> tuple[ir.Model, ir.Model]:
    """The two graphs of a decoder; both are given whole, exposed outputs included.

    layer: the first one of the second graph. Raises SplitError.
    """
    check_layer(early, layer)
    states = _states(early, layer)
    if states.is_graph_output():
        copy = ir.Node("", "Identity", [states])
        early.graph.append(copy)
        states = copy.outputs[0]
    hidden = states.shape
    states.name, states.dtype = STATES, FLOAT
    states.shape = hidden if hidden is not None else _embeds(early).shape
    early.graph.outputs.insert(0, states)
    _keep(early, lambda value: value is states or -1 < _layer(value) < layer)
    _enter(late, _states(late, layer))
    _keep(late, lambda value: value.name == _LOGITS or _layer(value) >= layer)
    return early, late


def _states(model: ir.Model, layer: int) -> ir.Value:
    """What the last layer of the first graph leaves."""
    made: ir.Value = model.meta[OFFERS][f"hidden.{layer - 1}"].make()
    return made


def _enter(model: ir.Model, states: ir.Value) -> None:
    """Let the second graph begin with the hidden states as its input."""
    node = states.producer()
    if node is None or node.op_type != _NORM:
        raise SplitError("--split-decoder: the layers of this decoder cannot be taken apart")
    given = ir.Value(name=STATES, shape=_embeds(model).shape, type=ir.TensorType(FLOAT))
    norm = ir.Node(
        "",
        _PLAIN_NORM,
        [given, node.inputs[_SCALE]],
        attributes=[
            ir.AttrInt64("axis", -1),
            node.attributes["epsilon"],
            ir.AttrInt64("stash_type", 1),
        ],
    )
    norm.outputs[0].name = f"{STATES}/norm"
    model.graph.insert_before(node, norm)
    for old, new in [(_embeds(model), given), (states, given), (node.outputs[0], norm.outputs[0])]:
        for user, index in old.uses():
            if user is not norm:
                user.replace_input_with(index, new)
    model.graph.inputs.insert(0, given)


def _embeds(model: ir.Model) -> ir.Value:
    return next(value for value in model.graph.inputs if value.name == _EMBEDS)


def _keep(model: ir.Model, wanted: Callable[[ir.Value], bool]) -> None:
    """Keep some of the outputs, and what serves them."""
    graph = model.graph
    kept = [value for value in graph.outputs if wanted(value)]
    graph.outputs.clear()
    graph.outputs.extend(kept)
    for node in reversed(list(graph)):
        if not any(value.is_graph_output() or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
    for value in list(graph.initializers.values()):
        if not value.uses():
            del graph.initializers[value.name or ""]
    used = [value for value in graph.inputs if value.uses()]
    graph.inputs.clear()
    graph.inputs.extend(used)
    names = {value.name for value in kept}
    known = model.metadata_props.pop(ON_DEMAND, "").split(",")
    if exposed := ",".join(name for name in known if name in names):
        model.metadata_props[ON_DEMAND] = exposed


def _layer(value: ir.Value) -> int:
    """The layer in the name of an output, ``present.3.key`` or ``attention.3``; else -1."""
    numbers = [part for part in (value.name or "").split(".") if part.isdigit()]
    return int(numbers[0]) if numbers else -1
