"""One plugin's manifest: its hooks, read through pluggy, and what they list, checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pluggy

from triptych.core.components import hookspecs
from triptych.core.components.component import KINDS, Component, Kind
from triptych.core.components.entry import Entry, Origin, PluginFault, cause_of
from triptych.core.messages import nearest

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
"""A component's name and an owner: no dot, slash or space, which paths and YAML give a meaning."""

TARGET = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?:[A-Za-z_]\w*")
"""``package.module:Class``, or ``:Class`` in a ``--plugin`` file."""


class Manifest:
    """The hooks of one plugin.

    plugin: what the entry point loads, as a rule a module with functions under ``@hookimpl``.
    Raises PluginFault when it has no hook, or one that Triptych does not know.
    """

    def __init__(self, plugin: object, origin: Origin) -> None:
        self._origin = origin
        self._check_hooks(plugin)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        try:
            self._manager.register(plugin)
        except (pluggy.PluginValidationError, ValueError) as error:
            why = "; ".join(str(error).splitlines())
            raise self._fault(f"has a bad manifest: {why}") from error

    def entries(self, kind: Kind) -> list[Entry]:
        """What the plugin offers of one kind, in its own order.

        Raises PluginFault when the hook raises or returns anything but a list of components
        with names of their own and proper targets.
        """
        hook = getattr(self._manager.hook, kind)
        if not hook.get_hookimpls():
            return []
        try:
            # pluggy drops a result of None.
            (offered,) = hook() or [None]
            components = list(offered) if isinstance(offered, Iterable) else None
        except (Exception, SystemExit) as error:
            later = "unexpected keyword argument" in str(error) and Component.__name__ in str(error)
            remedy = "; if it was written for a later Triptych, upgrade triptych" if later else ""
            raise self._fault(
                f"cannot be used: its {kind}() raised {cause_of(error)}{remedy}"
            ) from error
        if components is None or isinstance(offered, str):
            raise self._fault(
                f"has a bad manifest: {kind}() returned {_kind_of(offered)}, "
                "not a list of Component"
            )
        for component in components:
            self._check(kind, component)
        for name, count in Counter(component.name for component in components).items():
            if count > 1:
                raise self._fault(f"has a bad manifest: {kind}() lists {name!r} {count} times")
        return [Entry(component, kind, self._origin) for component in components]

    def _check_hooks(self, plugin: object) -> None:
        hooks = [name for name in dir(plugin) if _is_hook(plugin, name)]
        for name in hooks:
            if name not in KINDS:
                near = nearest(name, KINDS)
                hint = f"did you mean {near}? " if near else ""
                raise self._fault(
                    f"has a bad manifest: there is no hook {name}; {hint}"
                    f"known hooks: {', '.join(sorted(KINDS))}"
                )
        if not hooks:
            raise self._fault(
                "has a bad manifest: it has no hook; "
                "put @triptych.hookimpl on a function that is named for its kind, such as samplers"
            )

    def _check(self, kind: Kind, component: object) -> None:
        if not isinstance(component, Component):
            raise self._fault(
                f"has a bad manifest: {kind}() lists {_kind_of(component)}, not a Component"
            )
        problem = _problem_of(component, kind, local=self._origin.file is not None)
        if problem:
            raise self._fault(f"has a bad manifest: in {kind}(), {problem}")

    def _fault(self, problem: str) -> PluginFault:
        return PluginFault(problem, origin=self._origin)


def _is_hook(plugin: object, name: str) -> bool:
    try:
        return bool(getattr(getattr(plugin, name), f"{hookspecs.PROJECT}_impl", None))
    except Exception:  # noqa: BLE001 - a foreign attribute may raise anything; it is no hook then
        return False


def _kind_of(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _problem_of(component: Component, kind: Kind, *, local: bool) -> str | None:
    """The first thing wrong with a component's fields, which nothing else has checked."""
    fields: dict[str, Any] = vars(component)
    name, target, main, api = (fields[key] for key in ("name", "target", "main", "api"))
    match = TARGET.fullmatch(target) if isinstance(target, str) else None
    roles = ("warp", "choose", None) if kind == "samplers" else (None,)
    wanted = "'warp' or 'choose'" if kind == "samplers" else "for its kind, only for samplers"
    problems = {
        f"the name {name!r} is not made of letters, digits, _ and -": (
            not isinstance(name, str) or not NAME.fullmatch(name)
        ),
        f"the target {target!r} of {name!r} is not written package.module:Class": (
            not match or not (match["module"] or local)
        ),
        f"the summary of {name!r} is not text": not isinstance(fields["summary"], str),
        f"main of {name!r} is not the name of a setting": (
            main is not None and not isinstance(main, str)
        ),
        f"api of {name!r} is not a number from 1": type(api) is not int or api < 1,
        f"the role of {name!r} is not {wanted}": fields["role"] not in roles,
    }
    return next((problem for problem, holds in problems.items() if holds), None)
