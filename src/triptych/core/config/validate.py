"""Settings checked against their models, and pydantic's errors in words with places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from triptych.core.config.nodes import Node, shown
from triptych.core.config.size import SIZE
from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError
from triptych.core.messages import nearest

M = TypeVar("M", bound=BaseModel)

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping of settings",
    "model_attributes_type": "a mapping of settings",
    "none_required": "null",
    "path_type": "a path",
    "is_instance_of": "a path",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "multiple_of": "a multiple of {multiple_of:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What was expected, by the type of pydantic's error: the value is not that."""

NUMERIC = ("int_type", "float_type")


def validate(
    model: type[M], node: Node, values: Mapping[str, Any], context: Mapping[str, Any]
) -> M:
    """An instance of `model`.

    node: the mapping that `values` was read from, for the places of errors.
    Raises ConfigError for the first thing that is wrong.
    """
    try:
        return model.model_validate(dict(values), context=dict(context))
    except ValidationError as error:
        raise _first(error, model, node) from None
    except TriptychError:
        raise
    except Exception as error:
        cause = f"its settings could not be checked: {type(error).__name__}: {error}"
        raise ConfigError(node.where, cause, exit_code=1) from error


@dataclass
class _Problem:
    """What pydantic says about one place: several errors where the type is a union."""

    where: Where
    errors: list[Any]


def _first(error: ValidationError, model: type[BaseModel], node: Node) -> ConfigError:
    """The first error in the file; one of a missing setting last, which another may explain."""
    problems: dict[str, _Problem] = {}
    errors = error.errors(include_url=False)
    for one in errors:
        if one["type"] == "too_short" and any(_within(other, one) for other in errors):
            continue  # Wrong items are not counted: they are what there is to mend.
        where = _place(node, one["loc"], one["type"])
        problems.setdefault(where.path, _Problem(where, [])).errors.append(one)

    def order(problem: _Problem) -> tuple[bool, int, int]:
        where = problem.where
        return problem.errors[0]["type"] == "missing", where.line or 0, where.column or 0

    return _translated(min(problems.values(), key=order), model)


def _within(other: Any, one: Any) -> bool:
    """Whether an error is of something inside of that which another error is of."""
    loc = one["loc"]
    return len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc


def _place(node: Node, loc: tuple[int | str, ...], kind: str) -> Where:
    """The place of an error; the steps of `loc` that are pydantic's own are left out."""
    for index, step in enumerate(loc):
        last = index == len(loc) - 1
        if kind == "missing" and last:
            return node.where.under(step)
        if (node.items is not None and step in node.items) or (
            node.list is not None and isinstance(step, int) and step < len(node.list)
        ):
            if kind == "extra_forbidden" and last:
                return node.key(str(step))
            node = node.child(step)
    return node.where


def _translated(problem: _Problem, model: type[BaseModel]) -> ConfigError:
    first, where = problem.errors[0], problem.where
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        name, known = str(first["loc"][-1]), _settings_at(model, first["loc"][:-1])
        if not known:
            return ConfigError(where, f"there is no setting {name!r}: it takes none")
        cause = f"there is no setting {name!r}"
        return ConfigError(where, cause, nearest=nearest(name, known), known=known)
    if kind == "missing":
        return ConfigError(where, "this setting must be given")
    if kind in ("value_error", "assertion_error"):
        return ConfigError(where, str(context.get("error") or first["msg"]))
    expected = [_expectation(one) for one in problem.errors]
    if None in expected:
        other = next(one for one in problem.errors if _expectation(one) is None)
        return _foreign(where, other)
    value = first["input"]
    hint = None
    if isinstance(value, str) and any(one["type"] in NUMERIC for one in problem.errors):
        hint = "write it without quotes" if re.fullmatch(r"[-+]?[\d.]+", value) else None
    choices = [
        choice
        for one in problem.errors
        if one["type"] in ("literal_error", "enum")
        for choice in re.findall(r"'([^']*)'", one["ctx"]["expected"])
    ]
    return ConfigError(
        where,
        f"{shown(value)} is not {' or '.join(dict.fromkeys(map(str, expected)))}",
        nearest=nearest(value, choices) if isinstance(value, str) else None,
        hint=hint,
    )


def _expectation(error: Any) -> str | None:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("too_short", "too_long"):
        bound = "at least" if kind == "too_short" else "at most"
        length = context["min_length" if kind == "too_short" else "max_length"]
        return f"a list of {bound} {length} {'item' if length == 1 else 'items'}"
    if kind == "string_pattern_mismatch" and context["pattern"] == SIZE:
        return "a number of bytes with a unit, such as 4GB or 512MiB"
    template = EXPECTED.get(kind)
    return template.format(**context) if template else None


def _foreign(where: Where, error: Any) -> ConfigError:
    """An error in the words of whoever raised it: our paths, a plugin, or pydantic itself."""
    context = error.get("ctx", {})
    message = error["msg"]
    if message[:1].isupper() and message[1:2].islower():
        message = message[0].lower() + message[1:]
    return ConfigError(where, message, nearest=context.get("nearest"), hint=context.get("hint"))


def _settings_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The names of the settings that the innermost model on the way to `loc` has."""
    annotation: Any = model
    for step in loc:
        inner = _model_in(annotation)
        if inner is not None and step in inner.model_fields:
            annotation = inner.model_fields[str(step)].annotation
    innermost = _model_in(annotation)
    return [] if innermost is None else list(innermost.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: in a list, a mapping, or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)
