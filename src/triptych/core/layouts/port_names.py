"""The ports of a pipeline's three graphs, whoever made them: their names here, and their axes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from triptych.core.errors import TriptychError
from triptych.core.ports import AXES, Axis, Port

PartName = Literal["vision_encoder", "embeddings", "decoder"]
PARTS: tuple[PartName, ...] = ("vision_encoder", "embeddings", "decoder")
Way = Literal["reads", "writes"]

LAYER = "#"
FORMS: dict[str, tuple[tuple[Axis, ...], ...]] = {
    "pixel_values": (("patches", "features"),),
    "image_grid_thw": (("images", 3),),
    "image_features": (("N", "H"),),
    "deepstack_features": (("K", "N", "H"),),
    "deepstack_features_#": (("N", "H"),),
    "input_ids": (("B", "S"),),
    "inputs_embeds": (("B", "S", "H"),),
    "deepstack_embeds": (("K", "B", "S", "H"),),
    "deepstack_embeds_#": (("B", "S", "H"),),
    "attention_mask": (("B", "total"),),
    "position_ids": (("B", "S"), (3, "B", "S")),
    "logit_index": (("B", "R"),),
    "logits": (("B", "S", "V"),),
}
"""The forms that a port may have; ``#`` stands for the number of a DeepStack layer."""

KNOWN: dict[tuple[PartName, Way], tuple[str, ...]] = {
    ("vision_encoder", "reads"): ("pixel_values", "image_grid_thw"),
    ("vision_encoder", "writes"): ("image_features", "deepstack_features"),
    ("embeddings", "reads"): ("input_ids", "image_features", "deepstack_features"),
    ("embeddings", "writes"): ("inputs_embeds", "deepstack_embeds"),
    ("decoder", "reads"): (
        "input_ids",
        "inputs_embeds",
        "attention_mask",
        "position_ids",
        "deepstack_embeds",
        "logit_index",
    ),
    ("decoder", "writes"): ("logits",),
}
"""What each graph reads and writes in a pipeline."""

_ALIASES = {
    "grid_thw": "image_grid_thw",
    "input_embeds": "inputs_embeds",
    "image_embeds": "image_features",
    "visual_features": "image_features",
    "vision_features": "image_features",
}
_DEEPSTACK = re.compile(r"deepstack(_[a-z_]*?)?([._]?(?P<layer>\d+))?")
_PER_RUN = frozenset({"B", "S", "N", "R", "patches", "images", "total"})
"""Axes whose length may differ from run to run."""


class UnfitPort(TriptychError):
    """A port that is known, but not with these axes; the message says which it may have."""


@dataclass(frozen=True)
class Place:
    """Where a graph's port belongs. own: the graph's; name, axes: the pipeline's."""

    own: Port
    name: str
    axes: tuple[Axis, ...]


def usual_name(part: PartName, way: Way, name: str) -> str | None:
    """What a pipeline calls a port of a part's graph; None for one that is not known."""
    name = _ALIASES.get(name, name)
    if name in KNOWN[part, way]:
        return name
    match = _DEEPSTACK.fullmatch(name)
    known = [known for known in KNOWN[part, way] if known.startswith("deepstack")]
    if match is None or not known:
        return None
    return known[0] if match["layer"] is None else f"{known[0]}_{match['layer']}"


def place_of(part: PartName, way: Way, port: Port, names: Mapping[str, str]) -> Place | None:
    """The place of a graph's port; None for one that is not known.

    names: the usual name for the graph's own, where a file beside it says so.
    Raises UnfitPort.
    """
    name = usual_name(part, way, names.get(port.name, port.name))
    if name is None:
        return None
    forms = FORMS[name if name in FORMS else re.sub(r"\d+$", LAYER, name)]
    for form in forms:
        if _fits(form, port):
            return Place(port, name, _axes(form, port))
    wanted = " or ".join("[" + ", ".join(map(str, form)) + "]" for form in forms)
    raise UnfitPort(f"{way} {port}, where only the axes {wanted} are supported")


def linked(port: Port, letters: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes of a port that only two graphs know: `letters` first, then its own."""
    count = min(len(letters), len(port.axes))
    rest = (f"{port.name}_{axis}" if axis in AXES else axis for axis in port.axes[count:])
    return (*letters[:count], *rest)


def _fits(form: tuple[Axis, ...], port: Port) -> bool:
    """Whether the axes of a port can be those of a form: its numbers are no lengths of a run."""
    return len(form) == len(port.axes) and all(
        isinstance(own, str)
        or (own == axis if isinstance(axis, int) else axis not in _PER_RUN)
        or (own == 1 and axis in {"B", "images"})
        for axis, own in zip(form, port.axes, strict=True)
    )


def _axes(form: tuple[Axis, ...], port: Port) -> tuple[Axis, ...]:
    """The letters of a form, with the graph's numbers for sizes that do not change.

    Logits are of the wanted rows only (R) where the graph says so itself.
    """
    return tuple(
        own if own == "R" or (isinstance(own, int) and axis not in _PER_RUN) else axis
        for axis, own in zip(form, port.axes, strict=True)
    )
