"""Fills the reference's lists of components from the catalog when the documentation is built."""

from __future__ import annotations

import inspect
import re
from typing import Any, cast

from triptych.core.components.catalog import Catalog
from triptych.core.components.component import Kind
from triptych.core.components.entry import Entry

MARK = re.compile(r"<!-- components: (\w+) -->")
SUMMARY = re.compile(r"<!-- summary: (\w+) -->")
PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this with every page; ``<!-- components: samplers -->`` becomes their list."""
    markdown = MARK.sub(lambda match: listing(cast("Kind", match[1])), markdown)
    return SUMMARY.sub(lambda match: summary(cast("Kind", match[1])), markdown)


def listing(kind: Kind) -> str:
    """What Triptych ships of one kind, as Markdown: names, summaries, descriptions, settings."""
    catalog = Catalog()
    found = [_section(catalog.find(kind, name)) for name in catalog.names(kind)]
    return "\n\n".join(found) or f"Triptych ships no {kind} yet; the hook is open to plugins."


def summary(kind: Kind) -> str:
    """What Triptych ships of one kind, a line each: settings with defaults, summary, source."""
    catalog = Catalog()
    rows = ["| name | settings | | source |", "|---|---|---|---|"]
    for name in catalog.names(kind):
        entry = catalog.find(kind, name)
        target = entry.load()
        fields = getattr(getattr(target, "Settings", None), "model_fields", {})
        settings = ", ".join(
            f"`{key}`"
            if field.is_required()
            else f"`{key}={field.get_default(call_default_factory=True)!r}`"
            for key, field in fields.items()
        )
        papers = [
            f"[arXiv {one}](https://arxiv.org/abs/{one})"
            for one in PAPER.findall(target.__doc__ or "")
        ]
        cells = [f"`{name}`", settings, entry.component.summary, ", ".join(dict.fromkeys(papers))]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _section(entry: Entry) -> str:
    target = entry.load()
    heading = f"#### `{entry.full_name}`"
    role = {"warp": " A warp.", "choose": " A chooser.", None: ""}[entry.role]
    parts = [heading, entry.component.summary + role, inspect.getdoc(target) or ""]
    settings = getattr(target, "Settings", None)
    if settings is not None:
        parts.append(_settings(settings, entry.component.main))
    return "\n\n".join(part for part in parts if part)


def _settings(settings: Any, main: str | None) -> str:
    """A table of settings; a bare value fills the one in bold."""
    rows = ["| setting | type | default |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        shown = f"**`{name}`**" if name == main else f"`{name}`"
        kind = inspect.formatannotation(field.annotation).replace("|", "or")
        kind = re.sub(r"[\w.]+\.(\w+)", r"\1", kind)
        limits = ", ".join(str(limit) for limit in field.metadata if _is_limit(limit))
        default = "required" if field.is_required() else f"`{field.get_default()!r}`"
        rows.append(f"| {shown} | {kind}{' ' if limits else ''}{_plain(limits)} | {default} |")
    return "\n".join([inspect.getdoc(settings) or "", "", *rows])


def _is_limit(limit: object) -> bool:
    return type(limit).__name__ in {"Gt", "Ge", "Lt", "Le"}


def _plain(limits: str) -> str:
    """``Gt(gt=0), Le(le=1)`` as ``> 0, <= 1``."""
    for name, sign in {"Gt": ">", "Ge": "≥", "Lt": "<", "Le": "≤"}.items():
        limits = re.sub(rf"{name}\(\w+=([^)]*)\)", rf"{sign} \1", limits)
    return limits
