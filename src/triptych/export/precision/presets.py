"""The precisions that have a name: recipes that come with Triptych."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.core.errors import TriptychError
from triptych.export.precision.recipe_file import RecipeFile, read_recipe, recorded_recipe
from triptych.export.precision.recipe_precision import RecipePrecision

PRECISIONS = ("fp32", "fp16", "int8", "int4")

RECIPES = Path(__file__).parent / "recipes"


class PrecisionError(TriptychError):
    """A precision that is not known."""


def preset(name: str) -> RecipeFile:
    """The recipe of that name. Raises PrecisionError, which lists the known ones."""
    if name not in PRECISIONS:
        raise PrecisionError(f"No precision {name!r}; there is {', '.join(PRECISIONS)}.")
    return read_recipe(RECIPES / f"{name}.yaml")


def recipe_of(record: Mapping[str, Any], place: str) -> RecipeFile:
    """The recipe that an export was made by, from its record; `place` names that in messages."""
    name = str(record.get("precision"))
    recipe = record.get("recipe")
    return preset(name) if recipe is None else recorded_recipe(recipe, place, name=name)


def precision_named(name: str) -> RecipePrecision:
    """The precision of that name. Raises PrecisionError."""
    file = preset(name)
    return RecipePrecision(file.name, file.recipe)
