"""A decoder is quantized by GPTQ, each layer on what the layers before it make of prompts.

Of all weights only those of one layer exist as floats at any time, beside the blocks that are done,
that layer's Hessians and what the prompts have become so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.gptq.layers import Layer, layers
from triptych.export.gptq.measuring import Linear
from triptych.export.gptq.solve import gptq
from triptych.export.precision import BlockSource
from triptych.export.precision.blocks import BlockFormat, Blocks
from triptych.export.precision.recipe import GPTQ

Values = dict[str, Array]

# What the names of past tensors begin with.
PAST = "past_key_values."


class CalibrationError(TriptychError):
    """Nothing to calibrate on."""


@dataclass(frozen=True)
class Calibrated:
    """The blocks of one weight, in memory as they are stored. columns: of the weight."""

    format: BlockFormat
    columns: int
    codes: Array
    scales: Array
    zeros: Array | None
    method: str = GPTQ

    @classmethod
    def of(cls, blocks: Blocks) -> Calibrated:
        """Two codes a byte, where they have four bits."""
        return cls(
            blocks.format, blocks.columns, blocks.packed(), blocks.scales, blocks.packed_zeros()
        )

    def pieces(self) -> Iterator[Blocks]:
        """All rows at once: they are in memory anyway."""
        yield Blocks.unpacked(self.format, self.columns, self.codes, self.scales, self.zeros)


def calibrated(
    decoder: ir.Model, linears: Mapping[str, Linear], prompts: Iterable[Values], folder: Path
) -> dict[str, BlockSource]:
    """The blocks of each of the linears, by the weight's name.

    decoder: built with a MeasuringPrecision, whose `linears` those are; it loses its weights.
    prompts: the decoder's inputs, past tensors left out, of batches of one. folder: where a layer
    lies while it runs. Raises CalibrationError without prompts, and HessianError.
    """
    live = [_complete(prompt) for prompt in prompts]
    if not live:
        raise CalibrationError(
            "GPTQ needs prompts to calibrate on, and there was none that this model takes. Give "
            "some: `calibration=` in Python, --calibration FOLDER on the command line."
        )
    found: dict[str, BlockSource] = {}
    todo = list(layers(decoder))
    for index, layer in enumerate(todo):
        own = [linears[name] for value in layer.reads if (name := value.name or "") in linears]
        with TemporaryDirectory(dir=folder) as place:
            found |= _quantized(layer, own, live, Path(place))
        needed = {value.name for later in todo[index + 1 :] for value in later.reads}
        for prompt in live:
            for name in prompt.keys() - needed:
                del prompt[name]
    return found


def _quantized(
    layer: Layer, linears: Sequence[Linear], live: Sequence[Values], folder: Path
) -> dict[str, BlockSource]:
    """Quantizes the linears of one layer, and takes each prompt through it."""
    weights = {each.weight.name: np.asarray(each.weight.read(), np.float32) for each in linears}
    inputs = list(dict.fromkeys(each.x for each in linears))
    wanted = list(dict.fromkeys([*layer.makes, *inputs]))
    if not wanted:
        return {}
    past = _empty_cache(layer)
    session = layer.session(folder, live[0] | past | weights, wanted)

    def run(prompt: Values, values: Sequence[ir.Value]) -> list[Array]:
        given = prompt | past | weights
        fed = {value.name: given[value.name or ""] for value in layer.reads}
        found: list[Any] = session.run([value.name for value in values], fed)
        return found

    found: dict[str, BlockSource] = {}
    if linears:
        hessians: dict[ir.Value, Array] = {}
        for prompt in live:
            for value, x in zip(inputs, run(prompt, inputs), strict=True):
                rows = x.reshape(-1, x.shape[-1])
                product = 2 * (rows.T @ rows)
                hessians[value] = hessians[value] + product if value in hessians else product
        for each in linears:
            name = each.weight.name
            blocks = gptq(weights[name], hessians[each.x], each.format)
            found[name] = Calibrated.of(blocks)
            weights[name] = blocks.dequantized()
    for prompt in live:
        made = run(prompt, layer.makes) if layer.makes else []
        prompt.update({value.name or "": x for value, x in zip(layer.makes, made, strict=True)})
    return found


def _complete(prompt: Values) -> Values:
    """The prompt, with all of its tokens wanted in the last layer, too."""
    tokens = prompt["inputs_embeds"].shape[1]
    return {**prompt, "logit_index": np.arange(tokens, dtype=np.int64)[None]}


def _empty_cache(layer: Layer) -> Values:
    """Past tensors of no tokens."""
    cache: Values = {}
    for value in layer.reads:
        if value.name and value.name.startswith(PAST) and value.shape is not None:
            sizes = [size if isinstance(size, int) else 0 for size in value.shape]
            cache[value.name] = np.zeros([1, *sizes[1:]], np.float32)
    return cache
