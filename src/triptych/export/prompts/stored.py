"""Gives a decoder that is written already a second form of its weights, for prompts.

Products of blocks are the fastest for a token or a few; of many tokens, ONNX Runtime multiplies
rows in 8 bits up to four times as fast. The graph that this leaves chooses between the two once, in
one If around all layers: one for each product would take 6 % of a step's time (0.6B, two cores).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.graph_files import GraphFiles
from triptych.export.output import require_room
from triptych.export.precision.block_storage import CODES
from triptych.export.precision.row_storage import (
    Tokens,
    rounded_tokens,
    rows_product,
    stored_rows,
)
from triptych.export.precision.stored import PROMPT, product_values
from triptych.export.prompts.body import body_of
from triptych.export.prompts.branch import Branch
from triptych.export.prompts.choice import choose_once, other_weights

PROMPTS_CACHE = "int8"
"""The form of a cache over which attention tells prompts from single tokens."""
DATA = ".prompts.data"
"""What the file of the rows has after the name of its graph."""
TOKEN_AXES = 3
"""Of what passes between layers, [B, S, H]."""


class PromptsError(TriptychError):
    """A decoder that cannot have weights of their own for prompts."""


def store_prompts(graph: Path, *, limit: int | None = None) -> None:
    """Rewrites the decoder at `graph`, whose cache is int8; the rows lie in a file beside it.

    The rows are those of the values that the blocks stand for. limit: see `GraphFiles`. Data files
    that are there stay as they are. Raises PromptsError for a graph without an int8 cache, and for
    one that has other weights than blocks between its attentions.
    """
    model = ir.load(graph)
    body = body_of(model.graph)
    if body is None:
        raise PromptsError(
            f"{graph.name}: prompts: int8 goes with a cache of keys and values in int8, which "
            f"tells prompts from single tokens; say --kv-cache int8"
        )
    if others := other_weights(body):
        raise PromptsError(
            f"{graph.name}: prompts: int8 is for decoders whose attention and MLPs are stored in "
            f"blocks of int8 or int4; {', '.join(others)} is not"
        )
    tokens: dict[ir.Value, Tokens] = {}
    choose_once(model.graph, body, partial(_rows, tokens=tokens))
    files = GraphFiles({graph.name: model}, limit=limit, data=DATA)
    require_room(graph.parent, files.expected_bytes)
    files.write(graph.parent)


def _rows(branch: Branch, node: ir.Node, kept: ir.Node, tokens: dict[ir.Value, Tokens]) -> ir.Value:
    """The product with rows of what the blocks of a node stand for.

    kept: the same node as the other branch has it. tokens: the left sides that are known.
    """
    x, codes = node.inputs[0], node.inputs[1]
    if x is None or codes is None:
        raise ValueError(f"{node.name} has no codes")
    name = (codes.name or "").removesuffix(CODES) + PROMPT
    shape = node.attributes["N"].as_int(), node.attributes["K"].as_int()

    def opened() -> Callable[[slice], Array]:
        return partial(product_values, kept)

    with branch.scope(node):
        if x not in tokens:
            tokens[x] = rounded_tokens(branch.builder, branch.value(x), shape[1], axes=TOKEN_AXES)
        rows = stored_rows(branch.builder, name, shape, opened)
        return rows_product(branch.builder, tokens[x], rows)
