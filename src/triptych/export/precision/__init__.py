"""How weights are stored: the one place where a tensor of a checkpoint becomes graph constants.

A graph asks the storage of the part it builds for "multiply by this weight" or "look these rows
up", so that another precision changes no graph code.
"""

from triptych.export.precision.presets import (
    PRECISIONS,
    PrecisionError,
    precision_named,
    preset,
    recipe_of,
)
from triptych.export.precision.recipe import Recipe
from triptych.export.precision.recipe_file import RecipeFile, read_recipe
from triptych.export.precision.recipe_precision import RecipePrecision
from triptych.export.precision.sources import BlockSource
from triptych.export.precision.storage import Part, Precision, Rows, Storage
from triptych.export.precision.stored import fitted, stored_weights

__all__ = [
    "PRECISIONS",
    "BlockSource",
    "Part",
    "Precision",
    "PrecisionError",
    "Recipe",
    "RecipeFile",
    "RecipePrecision",
    "Rows",
    "Storage",
    "fitted",
    "precision_named",
    "preset",
    "read_recipe",
    "recipe_of",
    "stored_weights",
]
