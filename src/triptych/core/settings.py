"""The base of every component's settings: an explicit model, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Subclass inside a component as ``class Settings(triptych.Settings)``.

    Values come from YAML, flags or Python keywords. Types are not coerced across kinds
    (``"3"`` is not 3, ``true`` is not 1); an int is a valid float.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
