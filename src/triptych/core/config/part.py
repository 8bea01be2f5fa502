"""One component of a pipeline, chosen and set: what an item of the pipeline file becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from triptych.core.components.entry import Entry
    from triptych.core.ports import Axis


@dataclass(frozen=True)
class PortChange:
    """What ``ports`` says about one port of a component.

    port: its name in the pipeline. axes, absent and dtype: None where the component's own stay;
    values of another dtype are cast between the pipeline's and the component's.
    """

    port: str
    axes: tuple[Axis, ...] | None = None
    absent: float | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Part:
    """A component with validated settings, and where the user wrote it.

    label: its name in this pipeline, unique among its siblings.
    entry: what the catalog knows of the component.
    settings: an instance of the component's ``Settings``; None where it has none.
    ports: changes by the component's own port name. ignore: outputs that may go unread, by
        their name in the pipeline.
    where: the place of the item's name.
    """

    label: str
    entry: Entry = field(repr=False)
    settings: BaseModel | None
    where: Where
    ports: Mapping[str, PortChange] = field(default_factory=dict, hash=False)
    ignore: tuple[str, ...] = ()
    _places: Mapping[str, Where] = field(
        default_factory=dict, repr=False, compare=False, hash=False
    )

    @property
    def name(self) -> str:
        """The component's full name, ``top_p`` or ``acme/min_p``."""
        return self.entry.full_name

    def place(self, *keys: str) -> Where:
        """Where a setting stands, or ``place("ports", "past")``; else where the item does."""
        while keys:
            found = self._places.get(".".join(keys))
            if found is not None:
                return found
            keys = keys[:-1]
        return self.where

    def make(self) -> Any:
        """A new instance of the component.

        Raises ConfigError, at the item's place, when its class cannot be imported or called.
        """
        try:
            target = self.entry.load()
            return target() if self.settings is None else target(self.settings)
        except ConfigError:
            raise
        except TriptychError as error:
            raise ConfigError(self.where, str(error), exit_code=error.exit_code) from error
        except Exception as error:
            cause = f"{self.name} failed with {type(error).__name__}: {error}"
            raise ConfigError(self.where, cause, exit_code=1) from error
