"""Whether a database belongs to the sweep that is to go on in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.core.config.digests import sha256
from triptych.core.config.nodes import shown
from triptych.core.config.reader import read_yaml
from triptych.workbench.results import Arm
from triptych.workbench.runs.store import Store, StoreError
from triptych.workbench.sweep.sweep import Sweep

KEPT = "_sweep"
"""The name in `about` under which the sweep is kept."""

_SHOWN = 5
"""Differences that a message names."""

_LONGEST = 80
"""Characters of a value in one."""


def identity_of(
    sweep: Sweep,
    limit: int | None,
    plugins: Sequence[Path],
) -> dict[str, Any]:
    """What makes a sweep this one, beside its arms: all that the file says, and its plugins."""
    said = {**sweep.plain, "limit": limit}
    return {
        "sweep": {key: value for key, value in said.items() if value is not None},
        "plugins": {plugin.name: sha256(plugin) for plugin in plugins},
    }


def check_same(store: Store, identity: Mapping[str, Any], arms: Sequence[Arm]) -> None:
    """Begin a new database, or see that the one there is of the same sweep and the same files.

    Raises StoreError, which says what is different.
    """
    kept = store.about.get(KEPT)
    text = json.dumps(identity, ensure_ascii=False, sort_keys=True)
    if kept is None:
        store.begin(arms, {KEPT: text})
        return
    found = [*_differences("", json.loads(kept), json.loads(text)), *_in_arms(store.arms, arms)]
    if found:
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise StoreError(
            f"{store.path} is of another sweep than this one:\n  "
            + "\n  ".join(found[:_SHOWN])
            + more
            + "\n  put that back to go on with it, or name another --out"
        )


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(below, old.get(key), new.get(key))
    elif old != new:
        yield f"{path.removeprefix('sweep.')}: was {_text(old)}, is {_text(new)}"


def _in_arms(old: Sequence[Arm], new: Sequence[Arm]) -> Iterator[str]:
    known = {arm.name: arm for arm in old}
    for arm in new:
        before = known.pop(arm.name, None)
        if before is None:
            yield f"arm {arm.name}: is new"
            continue
        files = [
            name
            for name in dict.fromkeys([*before.digests, *arm.digests])
            if before.digests.get(name) != arm.digests.get(name)
        ]
        for name in files:
            yield f"arm {arm.name}: the file {name} has changed"
        for difference in _differences("", _document(before), _document(arm)):
            yield f"arm {arm.name}: {difference}"
    for name in known:
        yield f"arm {name}: is gone"


def _document(arm: Arm) -> dict[str, Any]:
    """What an arm's pipeline is; where its folder stands is not part of that."""
    node = read_yaml(arm.config, arm.name)
    found: dict[str, Any] = {} if node is None else node.plain()
    return {key: value for key, value in found.items() if key != "root"}


def _text(value: Any) -> str:
    if value is None:
        return "not there"
    if not isinstance(value, list | dict):
        return shown(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
