"""One component in full: what it does, its settings, and how a pipeline file calls it."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any

from triptych import __version__

if TYPE_CHECKING:
    from triptych.core.components.entry import Entry

INDENT = "  "

LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}
"""How JSON Schema's limits are said."""

TYPES = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
    "array": "list",
    "object": "mapping",
}
"""How JSON's types are said."""

Form = Mapping[str, Any]


def page(entry: Entry) -> str:
    """The component as text."""
    found = details(entry)
    role = f", {entry.role}" if entry.role else ""
    origin = f"triptych {__version__}" if entry.owner is None else str(entry.origin)
    blocks = [entry.component.summary, found["description"]]
    if found["settings"]:
        blocks.append("\n".join(["settings:", *_rows(found["settings"])]))
        blocks.append(found["about_settings"])
    else:
        blocks.append("no settings")
    if found["example"]:
        blocks.append(f"as in:\n{INDENT}{found['example']}")
    head = f"{entry.full_name} ({found['kind']}{role}), from {origin}"
    return "\n\n".join([head, *(indent(block, INDENT) for block in blocks if block)])


def details(entry: Entry) -> dict[str, Any]:
    """The component's description, its settings and an example. Raises PluginFault."""
    from triptych.core.components.catalog import SINGULAR

    target = entry.load()
    schema = _schema(target)
    return {
        "kind": SINGULAR[entry.kind],
        "role": entry.role,
        "description": inspect.getdoc(target) or "",
        "about_settings": schema.get("description", ""),
        "settings": settings(entry),
        "example": _example(entry, schema),
    }


def settings(entry: Entry) -> dict[str, dict[str, Any]]:
    """Its settings by name: type, default, whether it is required. Raises PluginFault."""
    target = entry.load()
    schema = _schema(target)
    return {
        name: {
            "type": _type(form),
            "required": name in schema.get("required", []),
            "main": name == entry.component.main,
            "default": form.get("default", _made_default(target, name)),
        }
        for name, form in schema.get("properties", {}).items()
    }


def _made_default(target: Any, name: str) -> Any:
    """The empty list or mapping that a schema leaves out."""
    made = target.Settings.model_fields[name].default_factory
    return made() if made in (list, dict) else None


def _schema(target: type) -> dict[str, Any]:
    """The JSON Schema of a component's settings; empty where it has none."""
    from pydantic import BaseModel

    model = getattr(target, "Settings", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    with warnings.catch_warnings():
        # A default that JSON has no form for is left out.
        warnings.simplefilter("ignore")
        return model.model_json_schema()


def _rows(settings: Mapping[str, Form]) -> Iterator[str]:
    width = max(map(len, settings))
    for name, setting in settings.items():
        default = "required" if setting["required"] else f"default {json.dumps(setting['default'])}"
        main = "; a bare value fills it" if setting["main"] else ""
        yield f"{INDENT}{name:<{width}}  {setting['type']}; {default}{main}"


def _type(form: Form) -> str:
    """A setting's type and limits in words."""
    from triptych.core.components.catalog import SINGULAR
    from triptych.core.config.settings import ITEM_OF

    if ITEM_OF in form:
        kind: str = SINGULAR[form[ITEM_OF]]
        return f"a {kind}"
    if "anyOf" in form:
        return " or ".join(_type(one) for one in form["anyOf"])
    if "enum" in form:
        return "one of " + ", ".join(json.dumps(choice) for choice in form["enum"])
    if "const" in form:
        return json.dumps(form["const"])
    said = TYPES.get(form.get("type", ""), "value")
    limits = [text.format(form[key]) for key, text in LIMITS.items() if key in form]
    return ", ".join([said, *limits])


def _example(entry: Entry, schema: Form) -> str:
    """A line that names the component with everything it requires; empty for other kinds."""
    forms, main = schema.get("properties", {}), entry.component.main
    shown = [name for name in forms if name in schema.get("required", [])]
    if not shown and main is not None:
        shown = [main]
    values = {name: _value(name, forms[name], entry) for name in shown}
    if schema.get("examples"):
        values = {name: json.dumps(value) for name, value in schema["examples"][0].items()}
        shown = list(values)
    if shown == [main]:
        item = f"{entry.full_name}: {values[shown[0]]}"
    elif shown:
        said = ", ".join(f"{name}: {value}" for name, value in values.items())
        item = f"{entry.full_name}: {{{said}}}"
    else:
        item = entry.full_name
    flow = f"{{{item}}}" if shown else item
    lines = {
        "processors": f"processor: {flow}",
        "stages": f"- {item}",
        "samplers": f"- {item}",
        "strategies": f"strategy: {flow}",
        "caches": f"- decoder: {{graph: decoder.onnx, cache: {flow}}}",
        "exporters": f"triptych export CHECKPOINT OUT --family {entry.full_name}",
        "datasets": f"data: {flow}",
        "metrics": f"metrics: [{flow}]",
    }
    return lines.get(entry.kind, "")


def _value(name: str, form: Form, entry: Entry) -> str:
    """A value that the setting takes: its own example, its default, else one within its limits."""
    if form.get("examples"):
        return json.dumps(form["examples"][0])
    if form.get("default") is not None:
        return json.dumps(form["default"])
    if "enum" in form:
        return str(form["enum"][0])
    if "anyOf" in form:
        return _value(name, form["anyOf"][0], entry)
    if form.get("type") in ("integer", "number"):
        return _number(form)
    files = {"graph": f"{entry.component.name}.onnx", "folder": ".", "checkpoint": "."}
    return files.get(name, "true" if form.get("type") == "boolean" else "...")


def _number(form: Form) -> str:
    """A number between the limits, with room on both sides where there is."""
    low = form.get("minimum", form.get("exclusiveMinimum"))
    high = form.get("maximum", form.get("exclusiveMaximum"))
    if low is not None and high is not None:
        middle = (low + high) / 2
        return str(round(middle) if form["type"] == "integer" else middle)
    if high is not None:
        return str(high - 1)
    return str((low or 0) + 1)
