"""Port names of one pipeline as another one spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from triptych.core.ports import Array


def spelled(
    values: Mapping[str, Sequence[Array]], known: AbstractSet[str]
) -> dict[str, Sequence[Array]]:
    """Ports by the names that are known to a pipeline, where it has them in another form.

    Some have a port for each DeepStack layer, `deepstack_features_0` and so on, where others have
    one for all of them, whose first axis is K.
    """
    found: dict[str, Sequence[Array]] = {}
    for port, held in values.items():
        layers = [name for name in known if re.fullmatch(rf"{re.escape(port)}_\d+", name)]
        whole, _, number = port.rpartition("_")
        if port not in known and layers:
            for name in sorted(layers):
                layer = int(name.rpartition("_")[2])
                found[name] = [one[layer] for one in held if layer < len(one)]
        elif port not in known and number.isdecimal() and whole in known:
            found[whole] = [np.stack([values[name][-1] for name in _layers(values, whole)])]
        else:
            found[port] = held
    return found


def _layers(values: Mapping[str, Sequence[Array]], whole: str) -> list[str]:
    """The ports of single layers, in order."""
    named = [name for name in values if re.fullmatch(rf"{re.escape(whole)}_\d+", name)]
    return sorted(named, key=lambda name: int(name.rpartition("_")[2]))
