"""What is checked: one component's class, with settings, and examples to try it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from triptych.core.components.catalog import SINGULAR
from triptych.core.components.component import Kind
from triptych.core.config.settings import Settings
from triptych.testing.require import require

KINDS: dict[str, Kind] = {name: kind for kind, name in SINGULAR.items()}
"""The kinds by what one component of each is called: ``sampler``, ``stage``, ..."""


@dataclass(frozen=True)
class Subject:
    """A component to check: ``Subject("sampler", MinP, {"p": 0.1})``.

    kind: ``sampler``, ``stage``, ``strategy``, ``processor``, ``exporter``, ``cache``,
        ``dataset`` or ``metric``.
    target: its class. settings: values as a pipeline file has them.
    examples: what to try it on besides what is made up; each kind's ``check_...`` says of what.
    """

    kind: str
    target: type
    settings: Mapping[str, Any] = field(default_factory=dict)
    examples: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind {self.kind!r}; there is {', '.join(KINDS)}")

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self.name}({values})"

    @property
    def name(self) -> str:
        """The class's name."""
        return self.target.__name__

    @property
    def model(self) -> type[Settings] | None:
        """The class of its settings; None where it has none."""
        model = getattr(self.target, "Settings", None)
        if model is None:
            return None
        require(
            isinstance(model, type) and issubclass(model, Settings),
            f"{self.name}.Settings must be a subclass of triptych.Settings.",
        )
        found: type[Settings] = model
        return found

    @cached_property
    def made_settings(self) -> Settings | None:
        """Its settings, validated."""
        return self._settings(self.settings)

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        """The settings with which it says that it changes nothing; None where it says nothing."""
        found: Mapping[str, Any] | None = getattr(self.target, "neutral", None)
        return found

    def make(self) -> Any:
        """The component, made anew."""
        return self._make(self.made_settings)

    def make_neutral(self) -> Any:
        """The component with the settings that it calls neutral."""
        return self._make(self._settings({**self.settings, **(self.neutral or {})}))

    def _settings(self, values: Mapping[str, Any]) -> Settings | None:
        model = self.model
        if model is None:
            require(not values, f"{self.name} has no Settings, so it takes none of {values}.")
            return None
        return model(**values)

    def _make(self, settings: Settings | None) -> Any:
        return self.target() if settings is None else self.target(settings)
