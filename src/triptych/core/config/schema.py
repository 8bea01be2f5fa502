"""A JSON Schema (draft 7) of the pipeline file, for editors, with all that is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from triptych.core.components.catalog import Catalog
from triptych.core.components.component import Kind
from triptych.core.components.entry import Entry, PluginFault
from triptych.core.config.build import PortSettings
from triptych.core.config.items import LABEL, SIBLINGS
from triptych.core.config.orders import CHOOSERS, ORDER, ORDERS
from triptych.core.config.sections import SessionSettings, StopSettings
from triptych.core.config.settings import ITEM_OF

KINDS: tuple[Kind, ...] = ("processors", "stages", "samplers", "strategies", "caches")
"""The kinds that a pipeline file names."""

DRAFT = "http://json-schema.org/draft-07/schema#"

Schema = dict[str, Any]


def json_schema(catalog: Catalog) -> Schema:
    """The schema over all components that are installed and can be imported."""
    return _Writer(catalog).document()


def definitions(catalog: Catalog, kinds: Iterable[Kind]) -> Schema:
    """What a schema's `definitions` hold so that it can speak of items of these kinds."""
    return _Writer(catalog).define(kinds)


class _Writer:
    """Collects the definitions that the document refers to."""

    def __init__(self, catalog: Catalog) -> None:
        self._entries, _ = catalog.everything()
        self._definitions: dict[str, Schema] = {}

    def document(self) -> Schema:
        self.define(KINDS)
        properties: Schema = {
            "format": {"const": 1},
            "root": {
                "type": "string",
                "minLength": 1,
                "description": "where relative paths start; default: the file's folder",
            },
            "processor": _reference("processors"),
            "stages": {"type": "array", "minItems": 1, "items": _reference("stages")},
            "sampler": {
                "anyOf": [
                    {"type": "array", "minItems": 1, "items": _reference("samplers")},
                    {
                        "type": "object",
                        "required": [ORDER],
                        "properties": {
                            ORDER: {"enum": list(ORDERS)},
                            **{name: {} for names in ORDERS.values() for name in names},
                            **{name: {} for name in CHOOSERS},
                        },
                        "additionalProperties": False,
                    },
                ]
            },
            "strategy": _reference("strategies"),
            "stop": self._settings(StopSettings, "stop"),
            "session": self._settings(SessionSettings, "session"),
            "approximate": {
                "type": "boolean",
                "description": "accept results that depend on how tokens were split",
            },
            "digests": {"type": "object", "additionalProperties": {"type": "string"}},
        }
        return {
            "$schema": DRAFT,
            "title": "Triptych pipeline",
            "type": "object",
            "required": ["format", "processor", "stages"],
            "properties": properties,
            "additionalProperties": False,
            "definitions": self._definitions,
        }

    def define(self, kinds: Iterable[Kind]) -> Schema:
        for kind in kinds:
            self._definitions[kind] = self._item(kind)
        return self._definitions

    def _item(self, kind: Kind) -> Schema:
        """``name``, ``name: main value`` or ``name: {settings}``, with the sibling keys."""
        bare: list[Schema] = []
        named: Schema = {}
        for entry, model in self._offered(kind):
            settings = self._settings(model, f"{kind}.{entry.full_name}") if model else _NO_SETTINGS
            if not settings.get("required"):
                bare.append({"const": entry.full_name, "description": entry.component.summary})
            named[entry.full_name] = _value(settings, entry)
        item: Schema = {
            "type": "object",
            "properties": {**named, **self._siblings(kind)},
            "additionalProperties": False,
            # Exactly one of the names.
            "oneOf": [{"required": [name]} for name in named],
        }
        return {"anyOf": [{"type": "string", "anyOf": bare}, item] if bare else [item]}

    def _offered(self, kind: Kind) -> Iterable[tuple[Entry, type[BaseModel] | None]]:
        for entry in self._entries:
            if entry.kind != kind:
                continue
            try:
                model = getattr(entry.load(), "Settings", None)
            except PluginFault:
                continue  # `triptych plugins` tells of it
            if model is None or (isinstance(model, type) and issubclass(model, BaseModel)):
                yield entry, model

    def _siblings(self, kind: Kind) -> Schema:
        change = self._settings(PortSettings, "port")
        siblings: Schema = {
            "as": {"type": "string", "pattern": f"^{LABEL.pattern}$", "description": "a label"},
            "ports": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string", "minLength": 1}, change]},
                "description": "other names, axes or absent values for the graph's ports",
            },
            "ignore": {
                "type": "array",
                "items": {"type": "string"},
                "description": "outputs that nobody needs to read",
            },
        }
        return {key: siblings[key] for key in SIBLINGS.get(kind, ())}

    def _settings(self, model: type[BaseModel], prefix: str) -> Schema:
        """A model's schema in draft 7; its inner models become definitions under `prefix`."""
        schema: Schema = model.model_json_schema(
            ref_template=f"#/definitions/{_pointer(prefix)}.{{model}}",
            schema_generator=_Generator,
        )
        for name, inner in schema.pop("$defs", {}).items():
            self._definitions[f"{prefix}.{name}"] = _draft_7(inner)
        found: Schema = _draft_7(schema)
        found.pop("title", None)
        return found


class _Generator(GenerateJsonSchema):
    """Keeps quiet about defaults that JSON has no form for."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Nothing: a schema for editors may leave a default out."""


_NO_SETTINGS: Schema = {"type": "object", "maxProperties": 0}


def _value(settings: Schema, entry: Entry) -> Schema:
    """What may stand after a component's name."""
    forms = [settings]
    main = entry.component.main
    if main is not None and main in settings.get("properties", {}):
        others = set(settings.get("required", [])) - {main}
        if not others:
            forms.insert(0, settings["properties"][main])
    if not settings.get("required"):
        forms.append({"type": "null"})
    return {"anyOf": forms, "description": entry.component.summary}


def _draft_7(schema: Any) -> Any:
    """Pydantic's schema (2020-12) with the words of draft 7, and with references to items."""
    if isinstance(schema, list):
        return [_draft_7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if ITEM_OF in schema:
        described = {key: value for key, value in schema.items() if key == "description"}
        return {"allOf": [_reference(schema[ITEM_OF])], **described}
    found = {key: _draft_7(value) for key, value in schema.items()}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
        found["additionalItems"] = False
    return found


def _reference(kind: str) -> Schema:
    return {"$ref": f"#/definitions/{kind}"}


def _pointer(name: str) -> str:
    """A name inside a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
