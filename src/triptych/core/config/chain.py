"""The sampling chain: its rules, and what sampling flags make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from triptych.core.config.build import Builder
from triptych.core.config.items import Item, check_labels
from triptych.core.config.nodes import Node, node_of
from triptych.core.config.part import Part
from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass

DEFAULT_ORDER = ("temperature", "top_k", "top_p")
"""The order of the shipped warps, which is that of Hugging Face; then `draw`."""

GREEDY = "greedy"
DRAW = "draw"

Spoken = Literal["flags", "keywords"]
"""How the user gave something, for messages: ``--top-p 0.9`` or ``top_p=0.9``."""


@dataclass(frozen=True)
class SamplingFlags:
    """Changes of a sampling chain, as the command line's flags or Python's keywords give them.

    temperature, top_k, top_p: set the item of that name, or insert it and turn `greedy` into
    `draw`; None leaves the chain as it is. A temperature of 0 is `no_sample`.
    no_sample: greedy, without the warps that cannot matter then; excludes the others.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    no_sample: bool = False
    spoken: Spoken = "keywords"

    def where(self, name: str) -> Where:
        """What messages call the flag."""
        value = getattr(self, name)
        if self.spoken == "keywords":
            return Where(f"{name}={value!r}")
        flag = f"--{name.replace('_', '-')}"
        return Where(flag if value is True else f"{flag} {value}")


def chain_of(items: Sequence[Item], section: Where, builder: Builder) -> tuple[Part, ...]:
    """The parts of a chain.

    section: the place of the whole chain. Raises ConfigError for what `check_chain` refuses.
    """
    check_labels(items)
    parts = tuple(builder.part(item, "samplers") for item in items)
    check_chain(parts, section)
    return parts


def check_chain(parts: Sequence[Part], section: Where) -> None:
    """Zero or more warps, then exactly one chooser.

    Raises ConfigError at the place of the item that breaks the rule; also for a warp that
    never changes the most likely token in front of `greedy`.
    """
    choosers = [part for part in parts if part.entry.role == "choose"]
    if not choosers:
        raise ConfigError(
            parts[-1].where if parts else section,
            "the chain has no chooser: its last item picks the token",
            hint="add '- draw' (random) or '- greedy' (the most likely token) at its end",
        )
    chooser, last = choosers[0], parts[-1]
    if len(choosers) > 1:
        raise ConfigError(
            choosers[1].where,
            f"a second chooser: {chooser.label!r} already picks the token",
            hint="keep one of them, as the last item" + _perhaps_a_warp(choosers[0]),
        )
    if last is not chooser:
        raise ConfigError(
            chooser.where,
            f"a chooser comes last, and {last.label!r} stands after it",
            hint=f"move {chooser.label!r} to the end of the chain",
        )
    if chooser.name == GREEDY:
        for part in parts[:-1]:
            if keeps_winner(part):
                raise ConfigError(
                    part.where,
                    f"{part.label!r} has no effect: it never changes the most likely token, "
                    "which greedy picks",
                    hint=f"remove it, or pick with {DRAW!r}",
                )


def _perhaps_a_warp(part: Part) -> str:
    """What to say of a sampler that is a chooser only for want of a word."""
    if part.entry.component.role is not None:
        return ""
    return f"; if {part.name!r} is a warp, give its class `keeps_winner`"


def keeps_winner(part: Part) -> bool:
    """Whether a warp never changes the most likely token."""
    return getattr(part.entry.load(), "keeps_winner", False) is True


def apply_flags(items: Sequence[Item], flags: SamplingFlags, builder: Builder) -> tuple[Item, ...]:
    """The items of a chain once the flags are heard.

    Raises ConfigError for flags that exclude each other.
    """
    given = [name for name in DEFAULT_ORDER if getattr(flags, name) is not None]
    zero = flags.temperature is not None and flags.temperature == 0
    greedy = "no_sample" if flags.no_sample else "temperature" if zero else None
    if greedy is not None:
        others = [name for name in given if name != greedy]
        if others:
            raise ConfigError(
                flags.where(others[0]),
                f"cannot be combined with {flags.where(greedy)}, which takes the most likely token",
            )
        return _greedy(items, flags.where(greedy), builder)
    for name in given:
        where = flags.where(name)
        items = set_warp(items, name, node_of(getattr(flags, name), where), builder)
    return tuple(items)


def set_warp(items: Sequence[Item], name: str, value: Node, builder: Builder) -> tuple[Item, ...]:
    """Set the main setting of the item `name`, or insert it in the default order.

    An inserted warp turns `greedy` into `draw`.
    """
    for index, item in enumerate(items):
        if item.name == name:
            changed = builder.with_main(item, "samplers", value)
            return (*items[:index], changed, *items[index + 1 :])
    return insert_warp(items, name, value)


def insert_warp(items: Sequence[Item], name: str, value: Node) -> tuple[Item, ...]:
    """Insert a shipped warp where the default order has it, and turn `greedy` into `draw`.

    That is behind the last of its predecessors, else before the first of its followers, else
    at the chain's end, before the chooser.
    """
    result = list(items)
    where = replace(value.where, path=f"sampler.{name}")
    if result and result[-1].name == GREEDY:
        result[-1] = Item(DRAW, DRAW, replace(value.where, path=f"sampler.{DRAW}"))
    names = [item.name for item in result]
    rank = DEFAULT_ORDER.index(name)
    before = [names.index(other) for other in DEFAULT_ORDER[:rank] if other in names]
    after = [names.index(other) for other in DEFAULT_ORDER[rank + 1 :] if other in names]
    if before:
        index = max(before) + 1
    elif after:
        index = min(after)
    else:
        index = max(len(result) - 1, 0)
    result.insert(index, Item(name, name, where, value.at(where)))
    return tuple(result)


def _greedy(items: Sequence[Item], where: Where, builder: Builder) -> tuple[Item, ...]:
    kept = []
    for item in items:
        part = builder.part(item, "samplers")
        if part.entry.role == "warp" and not keeps_winner(part):
            kept.append(item)
    if items and items[-1].name == GREEDY:
        return (*kept, items[-1])
    return (*kept, Item(GREEDY, GREEDY, where.under("sampler", GREEDY)))
