"""The base of every component's settings: an explicit model, unknown keys refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from triptych.core.components.component import Kind
from triptych.core.config.part import Part
from triptych.core.dataclass import dataclass


class Settings(BaseModel):
    """Subclass inside a component as ``class Settings(triptych.Settings)``.

    Values come from YAML, flags or Python keywords. Types are not coerced across kinds
    (``"3"`` is not 3, ``true`` is not 1); an int is a valid float, and a list a valid tuple
    where the setting is annotated so. Choices are ``Literal["a", "b"]``.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, defer_build=True
    )


@dataclass(frozen=True)
class Nested:
    """Marks a setting whose value is an item: ``name``, ``name: value`` or ``name: {settings}``.

    The setting's type is `Part`; its ``make()`` gives the component::

        cache: Annotated[Part, Nested("caches")] = Field(default="full", validate_default=True)

    kind: the kind of the components that it may name.
    """

    kind: Kind

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A `Part` passes; anything else is looked up in the catalog of the validation."""
        return core_schema.with_info_plain_validator_function(self._part)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A mark that `triptych.core.config.schema` replaces by the kind's items."""
        return {ITEM_OF: self.kind}

    def _part(self, value: Any, info: ValidationInfo) -> Part:
        if isinstance(value, Part):
            return value
        build = (info.context or {}).get("part")
        if build is None:
            # A test, or Python code, that makes the settings by hand.
            from triptych.core.config.build import part_of

            build = part_of
        part: Part = build(self.kind, value, info.field_name or self.kind)
        return part


ITEM_OF = "x-triptych-item"
"""The JSON Schema keyword that marks an item of a kind."""

CacheItem = Annotated[Part, Nested("caches")]
"""The type of a setting that names a cache policy: ``cache: {window: {size: 1024}}``."""
