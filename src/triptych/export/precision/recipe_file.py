"""Reads a recipe, with the place of everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.core.config.errors import ConfigError, Where, nearest
from triptych.core.config.nodes import Node, node_of, shown
from triptych.core.config.reader import LARGEST, read_yaml
from triptych.core.config.validate import validate
from triptych.export.precision.recipe import FORMAT, Recipe

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
    try:
        with path.open("rb") as stream:
            # One byte more than allowed shows that there is too much.
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(Where(str(path)), f"cannot be read: {error.strerror}") from None
    document = read_yaml(content, str(path))
    if document is None or document.value is None:
        hint = f"a recipe begins with 'format: {FORMAT}'"
        raise ConfigError(Where(str(path), 1, 1), "the file is empty", hint=hint)
    return RecipeFile(path.stem, _recipe(document), document)


def recorded_recipe(record: Mapping[str, Any], source: str, *, name: str) -> RecipeFile:
    """The recipe that the mapping holds, as `Recipe.plain` gives it. Raises ConfigError."""
    node = node_of(record, Where(source))
    return RecipeFile(name, _recipe(node), node)


def _recipe(document: Node) -> Recipe:
    items = document.items
    begin = f"a recipe begins with 'format: {FORMAT}'"
    if items is None:
        cause = f"{shown(document.value)} is not a mapping: {begin}"
        raise ConfigError(document.where, cause)
    if "format" not in items:
        where = document.where.under("format")
        raise ConfigError(where, "this key must be given", hint=begin)
    form = document.child("format")
    if form.value != FORMAT or isinstance(form.value, bool):
        newer = isinstance(form.value, int) and form.value > FORMAT
        raise ConfigError(
            form.where,
            f"{shown(form.value)} is not a format that this Triptych reads",
            hint="upgrade triptych" if newer else f"write 'format: {FORMAT}'",
        )
    values = {key: value for key, value in document.plain().items() if key != "format"}
    return validate(Recipe, document, values, {})
