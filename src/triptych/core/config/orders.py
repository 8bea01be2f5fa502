"""The sampling section of a pipeline file: a list in its own order, or settings in another's.

    sampler: {order: llamacpp, temperature: 0.8, top_k: 40, min_p: 0.05, repetition_penalty: 1.1}

The order of sampling steps changes what they do, so whoever ports settings from another program
needs that program's order, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from triptych.core.config.items import Item, parse_item, parse_items
from triptych.core.config.nodes import Node, shown
from triptych.core.config_error import ConfigError, unknown

ORDER = "order"

ORDERS: Mapping[str, tuple[str, ...]] = {
    # GenerationMixin._get_logits_processor of transformers 5.23.
    "huggingface": (
        "logit_bias",
        "repetition_penalty",
        "no_repeat_ngram",
        "bad_words",
        "min_new_tokens",
        "constrain",
        "exponential_decay_length",
        "temperature",
        "top_h",
        "top_k",
        "top_p",
        "min_p",
        "typical",
        "epsilon",
        "eta",
    ),
    # The default of `--samplers` in llama.cpp, after its biases and with the grammar first.
    "llamacpp": (
        "logit_bias",
        "constrain",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "dry",
        "top_n_sigma",
        "top_k",
        "typical",
        "top_p",
        "min_p",
        "xtc",
        "temperature",
        "dynamic_temperature",
        "mirostat",
    ),
}
"""The sampling steps of other programs by our names, in the order in which they run there."""

CHOOSERS = ("draw", "greedy")

OTHER_NAMES = {
    "sequence_bias": "logit_bias",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "bad_words_ids": "bad_words",
    "suppress_tokens": "bad_words",
    "exponential_decay_length_penalty": "exponential_decay_length",
    "typical_p": "typical",
    "typ_p": "typical",
    "epsilon_cutoff": "epsilon",
    "eta_cutoff": "eta",
    "repeat_penalty": "repetition_penalty",
    "temp": "temperature",
    "dynatemp_range": "dynamic_temperature",
    "grammar": "constrain",
}
"""What other programs call a step, for messages."""


def parse_chain(node: Node) -> tuple[Item, ...]:
    """The items of a sampling section.

    A list is taken in its own order. A mapping has the key `order`, one of ORDERS, and the steps
    with their values; it ends with `draw` unless it names `greedy`. Raises ConfigError.
    """
    if node.items is None:
        return parse_items(node, "samplers")
    if ORDER not in node.items:
        raise ConfigError(
            node.where,
            "a mapping of sampling steps has no order of its own",
            hint=f"write a list ('- name: value'), or add 'order: {' | '.join(ORDERS)}'",
        )
    order = node.child(ORDER)
    if order.value not in ORDERS:
        raise unknown(
            order.where, f"there is no order {shown(order.value)}", str(order.value), ORDERS
        )
    names = (*ORDERS[order.value], *CHOOSERS)
    for name in node.items:
        if name not in (*names, ORDER):
            raise _misplaced(node, name, order.value, names)
    chosen = [name for name in names if name in node.items]
    items = [parse_item(_alone(node, name), "samplers", node.where) for name in chosen]
    if not any(name in CHOOSERS for name in chosen):
        draw = Node(CHOOSERS[0], order.where)
        items.append(parse_item(draw, "samplers", node.where))
    return tuple(items)


def _alone(node: Node, name: str) -> Node:
    """The one item that a key and its value are in a list."""
    value = node.child(name)
    if value.value is None:
        return Node(name, node.key(name))
    return Node({name: value}, node.where, {name: node.key(name)})


def _misplaced(node: Node, name: str, order: str, names: tuple[str, ...]) -> ConfigError:
    here = OTHER_NAMES.get(name)
    if here in names:
        return ConfigError(node.key(name), f"{name!r} is called {here!r} here")
    if any(name in others for others in ORDERS.values()) or "/" in name:
        return ConfigError(
            node.key(name),
            f"the order {order!r} has no place for {name!r}",
            hint="write the steps as a list, in the order that you want",
        )
    return unknown(node.key(name), f"the order {order!r} has no {name!r}", name, names)
