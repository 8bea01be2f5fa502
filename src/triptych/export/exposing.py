"""`--expose`: outputs that a graph offers besides, for those who look inside a model.

A graph's builder says what it offers (`GraphBuilder.offer`) under `KIND.LAYER`: `hidden.3`,
`attention.0`, `early_logits.5`, `vision_attention.2`. What is exposed is an output that nobody has
to read: a pipeline cuts off what nobody reads when it opens the graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx_ir as ir

from triptych.core.errors import InputError
from triptych.core.graphs.header import ON_DEMAND
from triptych.export.builder import FLOAT, OFFERS, Offer

# What two dimensions say: "KIND:LAYERS,KIND:LAYERS", LAYERS being all, 3, 2-5 or 0+3+7-9.
_ITEM = re.compile(r"(?P<kind>[a-z_]+):(?P<layers>all|\d+(-\d+)?(\+\d+(-\d+)?)*)")
EXAMPLE = "hidden:all,attention:0+3,early_logits:2-5"


class ExposureError(InputError):
    """An output that is asked for, and that no graph offers."""


def expose_outputs(graphs: Mapping[str, ir.Model], wanted: str) -> list[str]:
    """Adds the outputs that `wanted` names to the graphs; returns their names.

    wanted: as EXAMPLE shows. Raises ExposureError for another form, and for what is not offered.
    """
    offered = {
        name: (model, offer)
        for model in graphs.values()
        for name, offer in model.meta.get(OFFERS, {}).items()
    }
    names = _names(wanted, list(offered))
    for name in names:
        model, offer = offered[name]
        _add(model, name, offer)
    return names


def reads_keys(wanted: str | None) -> bool:
    """Whether what is asked for is computed from a decoder's cache."""
    return any(item.strip().startswith("attention:") for item in (wanted or "").split(","))


def _add(model: ir.Model, name: str, offer: Offer) -> None:
    value = offer.make()
    if value.is_graph_output():
        return
    value.name, value.dtype, value.shape = name, FLOAT, ir.Shape(offer.axes)
    model.graph.outputs.append(value)
    known = model.metadata_props.get(ON_DEMAND)
    model.metadata_props[ON_DEMAND] = f"{known},{name}" if known else name


def _names(wanted: str, offered: list[str]) -> list[str]:
    """The names of outputs that are asked for, each once."""
    names: dict[str, None] = {}
    for item in wanted.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ExposureError(
                f"--expose {wanted}: {item.strip()!r} is not KIND:LAYERS; what is meant looks like "
                f"{EXAMPLE}"
            )
        kind = match["kind"]
        layers = {int(name.rpartition(".")[2]) for name in offered if name.startswith(f"{kind}.")}
        if not layers:
            kinds = sorted({name.rpartition(".")[0] for name in offered}) or ["nothing"]
            raise ExposureError(
                f"--expose {wanted}: this model has no {kind!r} to expose; it offers: "
                f"{', '.join(kinds)}"
            )
        asked = layers if match["layers"] == "all" else _numbers(match["layers"])
        for layer in sorted(asked):
            if layer not in layers:
                raise ExposureError(
                    f"--expose {wanted}: there is no {kind} of layer {layer}; there is one of: "
                    f"{', '.join(map(str, sorted(layers)))}"
                )
            names[f"{kind}.{layer}"] = None
    return list(names)


def _numbers(text: str) -> set[int]:
    """The layers of ``0+3+7-9``."""
    numbers: set[int] = set()
    for part in text.split("+"):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers
