"""Past and present tensors of a graph: which output extends which input, and in which form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

from triptych.core.dataclass import dataclass
from triptych.core.ports import CachePair, Port

CacheForm = Literal["auto", "shared", "growing"]
"""How a graph extends its past tensors.

shared: one buffer, as long as the longest context, is past and present at once, and the graph
writes new rows into it. growing: past tensors are as long as what was seen, and present ones
are new and longer. auto: shared where the graph gives both the same named length.
"""

_NAME = re.compile(r"(?P<kind>past|present)(_key_values?)?(?P<rest>.*)", re.IGNORECASE)
_NUMBER, _WORD = re.compile(r"\d+"), re.compile(r"[a-z]+")
_PARTS = {"key": "key", "k": "key", "keys": "key", "value": "value", "v": "value"} | {
    "values": "value"
}
_LENGTH = 2
"""The axis of a past tensor that grows: [B, heads, length, head_size]."""
_RANK = 4


@dataclass(frozen=True)
class CacheTensors:
    """What a person knows of a graph's past and present tensors and the graph does not say.

    heads, head_size: where the graph has a name in the place of a number. names: the name of
    the present tensor for that of the past one, with ``%d`` for the layer, where they have none
    of the usual names (``past_key_values.0.key``, ``past_key_0``, ``past.0.key``, ...).
    """

    form: CacheForm = "auto"
    heads: int | None = None
    head_size: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def pairs(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> tuple[CachePair, ...]:
        """The past inputs that an output extends, with the numbers filled in."""
        presents = {port.name: port for port in outputs}
        usual = {_place(port.name, "present"): port for port in outputs}
        pairs = []
        for port in inputs:
            place = _place(port.name, "past")
            if place is not None and place in usual:
                pairs.append(CachePair(self._filled(port), usual[place], *place))
                continue
            for layer, part, present in self._named(port.name):
                if present in presents:
                    pairs.append(CachePair(self._filled(port), presents[present], layer, part))
        return tuple(pairs)

    def grow(self, pairs: Sequence[CachePair]) -> bool:
        """Whether past tensors are fed as long as they are."""
        if self.form != "auto":
            return self.form == "growing"
        return any(not _same_length(pair) for pair in pairs)

    def _named(self, past: str) -> Iterator[tuple[int, str, str]]:
        """The layer, part and present tensor of a past one, by `names`."""
        for template, present in self.names.items():
            pattern = re.escape(template).replace("%d", r"(\d+)", 1)
            match = re.fullmatch(pattern, past)
            if match and match.groups():
                yield int(match[1]), template, present.replace("%d", match[1], 1)

    def _filled(self, past: Port) -> Port:
        if len(past.axes) != _RANK:
            return past
        batch, heads, length, size = past.axes
        if isinstance(heads, str) and self.heads:
            heads = self.heads
        if isinstance(size, str) and self.head_size:
            size = self.head_size
        return replace(past, axes=(batch, heads, length, size))


def _place(name: str, kind: str) -> tuple[int, str] | None:
    """The layer and the part (``key`` or ``value``) that a name of this kind speaks of."""
    match = _NAME.fullmatch(name)
    if match is None or match["kind"].lower() != kind:
        return None
    numbers, words = _NUMBER.findall(match["rest"]), _WORD.findall(match["rest"].lower())
    if len(numbers) != 1 or len(words) != 1 or words[0] not in _PARTS:
        return None
    return int(numbers[0]), _PARTS[words[0]]


def _same_length(pair: CachePair) -> bool:
    """Whether past and present have one length by name. An unnamed one says nothing."""
    past, present = pair.past.axes, pair.present.axes
    if len(past) != _RANK or len(present) != _RANK:
        return True
    return past[_LENGTH] == present[_LENGTH] != f"axis_{_LENGTH}"
