"""A JSON Schema (draft 7) of the sweep file, for editors, with all that is installed."""

from __future__ import annotations

from triptych.core.components.catalog import Catalog
from triptych.core.config.schema import DRAFT, KINDS, Schema, definitions

_TEXT: Schema = {"type": "string", "minLength": 1}


def sweep_schema(catalog: Catalog) -> Schema:
    """The schema over all components that are installed and can be imported.

    Paths of a matrix depend on the pipeline, so any is allowed, with any values.
    """
    item: Schema = {"anyOf": [{"$ref": "#/definitions/stages"}, {"$ref": "#/definitions/samplers"}]}
    values: Schema = {"type": "object", "additionalProperties": {}}
    edits: Schema = {"type": "object", "additionalProperties": item}
    arm: Schema = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": _TEXT,
            "base": {**_TEXT, "description": "another pipeline than the sweep's"},
            "set": {**values, "description": "dotted path: value"},
            "insert": {**edits, "description": "'after LABEL' or 'before LABEL': item"},
            "replace": {"type": "object", "description": "label: item"},
            "remove": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        },
        "additionalProperties": False,
    }
    whole: Schema = {"type": "integer", "minimum": 1}
    return {
        "$schema": DRAFT,
        "title": "Triptych sweep",
        "type": "object",
        "required": ["format", "data", "metrics"],
        "properties": {
            "format": {"const": 1},
            "base": {**_TEXT, "description": "the pipeline that others are compared with"},
            "data": {"$ref": "#/definitions/datasets"},
            "metrics": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/definitions/metrics"},
            },
            "matrix": {
                "type": "object",
                "description": "dotted path: list of values; an arm for each combination",
                "additionalProperties": {"type": "array", "minItems": 1},
            },
            "exclude": {"type": "array", "items": {**values, "minProperties": 1}},
            "include": {"type": "array", "items": arm},
            "seeds": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "integer", "minimum": 0},
            },
            "repeats": whole,
            "limit": whole,
        },
        "additionalProperties": False,
        "definitions": definitions(catalog, (*KINDS, "datasets", "metrics")),
    }
