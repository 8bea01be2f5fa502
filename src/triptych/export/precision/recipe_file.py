"""Reads a recipe, with the place of everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.core.config.form import check_form, read_form
from triptych.core.config.nodes import Node, node_of
from triptych.core.config.validate import validate
from triptych.core.config_error import ConfigError, Where
from triptych.core.messages import nearest
from triptych.export.precision.recipe import FORMAT, Recipe

WHAT = "a recipe"
"""What such a file says."""
WEIGHTS = "weights"
PROMPTS = ("int8",)
"""What weights of prompts may be stored as."""


@dataclass(frozen=True)
class RecipeFile:
    """A recipe and where each of its keys stands. name: what its exports are said to be."""

    name: str
    recipe: Recipe
    _node: Node

    def check(self, names: Iterable[str]) -> None:
        """Raises ConfigError for a pattern that matches none of a checkpoint's weights."""
        known = list(names)
        for pattern in self.recipe.unmatched(known):
            raise ConfigError(
                self._node.child(WEIGHTS).key(pattern),
                "no weight of the checkpoint has a name of this form",
                nearest=nearest(pattern, known),
                hint="patterns match whole names; * stands for any text, dots included",
            )

    def for_prompts(self, precision: str) -> RecipeFile:
        """The same recipe with weights of their own for prompts. Raises ConfigError."""
        if precision not in PROMPTS:
            cause = f"{precision!r} is none of: {', '.join(PROMPTS)}"
            raise ConfigError(Where("prompts"), cause)
        return replace(self, recipe=self.recipe.model_copy(update={"prompts": precision}))


def read_recipe(path: Path) -> RecipeFile:
    """The recipe in a YAML file; its name is the file's, without the suffix.

    Raises ConfigError with file, line and column.
    """
    document = read_form(path, WHAT, FORMAT)
    return RecipeFile(path.stem, _recipe(document), document)


def recorded_recipe(record: Mapping[str, Any], source: str, *, name: str) -> RecipeFile:
    """The recipe that the mapping holds, as `Recipe.plain` gives it. Raises ConfigError."""
    node = check_form(node_of(record, Where(source)), source, WHAT, FORMAT)
    return RecipeFile(name, _recipe(node), node)


def _recipe(document: Node) -> Recipe:
    values = {key: value for key, value in document.plain().items() if key != "format"}
    return validate(Recipe, document, values, {})
