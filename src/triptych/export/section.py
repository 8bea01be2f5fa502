"""One object of a config.json, with errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NoReturn

from triptych.core.errors import TriptychError


class ModelConfigError(TriptychError):
    """A config.json that lacks a value or asks for something that the exporter cannot build."""


class Section:
    """The values of one object: `name` of the config, or the config itself.

    place: the file, for messages. Raises ModelConfigError when there is no such object.
    """

    def __init__(self, config: Mapping[str, Any], place: str, *, name: str | None = None) -> None:
        values = config if name is None else config.get(name)
        if not isinstance(values, Mapping):
            raise ModelConfigError(
                f"{place}: no `{name}`; is this the config of another family? "
                f"`triptych plugins` lists the exporters."
            )
        self.values: Mapping[str, Any] = values
        self._prefix, self._place = "" if name is None else f"{name}.", place

    def with_defaults(self, **values: Any) -> Section:
        """The same object with values for the keys that it lacks."""
        filled = copy(self)
        given = {key: value for key, value in self.values.items() if value is not None}
        filled.values = {**values, **given}
        return filled

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number above zero. A square given as two equal sides counts as one."""
        value = self.values.get(key)
        value = default if value is None else value
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.refuse(key, "a whole number above zero")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Whether a key is true."""
        value = self.values.get(key)
        return default if value is None else bool(value)

    @property
    def rope_key(self) -> str:
        """Where the rotary settings are: `rope_parameters`, or as transformers 4 had them."""
        return "rope_parameters" if self.values.get("rope_parameters") else "rope_scaling"

    def rope(self) -> Mapping[str, Any]:
        """The rotary settings: `rope_parameters`, or `rope_scaling` beside `rope_theta`."""
        rope = self.values.get(self.rope_key) or {}
        if not isinstance(rope, dict):
            self.refuse(self.rope_key, "an object")
        theta = self.values.get("rope_theta")
        return rope if theta is None else {"rope_theta": theta, **rope}

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Raises the ModelConfigError for a value, with what would be right."""
        value: Any = self.values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        raise ModelConfigError(
            f"{self._place}: {self._prefix}{key} is {value!r}, which cannot be exported: {wanted}."
        )
