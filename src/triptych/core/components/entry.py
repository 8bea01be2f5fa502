"""One component that a pipeline may use, and the fault of one that it may not."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

from triptych.core.components.component import INTERFACE_VERSION, Component, Kind
from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError

LOCAL = "local"
"""The owner of what ``--plugin`` files offer."""


@dataclass(frozen=True)
class Origin:
    """Where components come from.

    owner: the part of a name before the slash; None for what is built in.
    distribution, version: the installed package; both None for a file of ``--plugin``.
    file: the file of ``--plugin``; its module is where a target ``:Class`` lives.
    """

    owner: str | None = None
    distribution: str | None = None
    version: str | None = None
    file: Path | None = None
    module: ModuleType | None = None

    def __str__(self) -> str:
        if self.file is not None:
            return f"plugin file {self.file}"
        package = " ".join(part for part in (self.distribution, self.version) if part)
        if self.owner is None:
            return f"distribution {package}" if package else "Triptych itself"
        return f"plugin {self.owner!r}" + (f" ({package})" if package else "")


class PluginFault(TriptychError):
    """A plugin, or one component of it, that cannot be used; it harms nothing else.

    The message names the component (where it is one), the owner, the distribution and the
    cause; the exception behind it, if any, is ``__cause__``.
    """

    def __init__(self, problem: str, *, origin: Origin, component: str | None = None) -> None:
        self.origin = origin
        self.component = component
        self.problem = problem
        what = f"{component}, from {origin}," if component else str(origin)
        super().__init__(f"{what} {problem}")

    @property
    def owner(self) -> str | None:
        """The owner of the plugin at fault."""
        return self.origin.owner

    @property
    def distribution(self) -> str | None:
        """The installed package at fault."""
        return self.origin.distribution


@dataclass(frozen=True)
class Entry:
    """A component under the name that a pipeline file calls it by."""

    component: Component
    kind: Kind
    origin: Origin

    @property
    def owner(self) -> str | None:
        """The plugin's owner; None for what is built in."""
        return self.origin.owner

    @property
    def distribution(self) -> str | None:
        """The installed package that offers it; None for a local file and the built-in ones."""
        return self.origin.distribution

    @property
    def version(self) -> str | None:
        """The version of that package."""
        return self.origin.version

    @property
    def full_name(self) -> str:
        """``owner/name``, or the bare name of a built-in component."""
        return f"{self.owner}/{self.component.name}" if self.owner else self.component.name

    @property
    def role(self) -> Literal["warp", "choose"] | None:
        """A sampler's role: as its manifest says, else a warp if it has ``keeps_winner``.

        None for other kinds. Raises PluginFault when the class is needed and cannot be loaded.
        """
        if self.kind != "samplers" or self.component.role is not None:
            return self.component.role
        return "warp" if hasattr(self.load(), "keeps_winner") else "choose"

    def load(self) -> type:
        """Import the component's class.

        Raises PluginFault when the interface is a later one, or the import or the name fails.
        """
        target = self.component.target
        if self.component.api > INTERFACE_VERSION:
            raise self._fault(
                f"was written for interface {self.component.api} and this Triptych has interface "
                f"{INTERFACE_VERSION}: upgrade triptych"
            )
        module_name, _, class_name = target.partition(":")
        try:
            module = self._module(module_name)
        except (Exception, SystemExit) as error:
            raise self._fault(
                f"cannot be used: importing {module_name} raised {cause_of(error)}"
                + self._remedy(error)
            ) from error
        try:
            found = getattr(module, class_name)
        except (Exception, SystemExit) as error:
            where = str(self.origin.file) if not module_name else module.__name__
            raise self._fault(f"cannot be used: {where} has no {class_name}") from error
        if not isinstance(found, type):
            raise self._fault(
                f"cannot be used: its target {target} is of type {type(found).__name__}, "
                "not a class"
            )
        return found

    def _remedy(self, error: BaseException) -> str:
        """Exporting needs packages that running does not."""
        missing = isinstance(error, ModuleNotFoundError) and self.owner is None
        return "; pip install 'triptych[export]'" if missing and self.kind == "exporters" else ""

    def _module(self, name: str) -> ModuleType:
        if not name and self.origin.module is not None:
            return self.origin.module
        return import_module(name)

    def _fault(self, problem: str) -> PluginFault:
        return PluginFault(problem, origin=self.origin, component=self.full_name)


def cause_of(error: BaseException) -> str:
    """One line for a foreign exception: its type and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
