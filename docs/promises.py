"""Fills in what each kind of component promises, and the orders of sampling steps."""

from __future__ import annotations

from inspect import getdoc
from typing import Any

from triptych.core.config.orders import ORDERS
from triptych.testing.check import HOMES, checks_of

CHECKS, STEPS = "<!-- checks -->", "<!-- orders -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this with every page."""
    if CHECKS in markdown:
        markdown = markdown.replace(CHECKS, promises())
    return markdown.replace(STEPS, orders()) if STEPS in markdown else markdown


def promises() -> str:
    """Every check of every kind, with its promise."""
    parts = []
    for kind in HOMES:
        rows = [f"### The promises of a {kind}", "", "| check | promise |", "|---|---|"]
        for check in checks_of(kind):
            said = " ".join((getdoc(check.run) or "").split())
            rows.append(f"| `{check.name}` | {said} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def orders() -> str:
    """The sampling steps of other programs, in the order in which they run there."""
    rows = ["| order | steps |", "|---|---|"]
    for name, steps in ORDERS.items():
        rows.append(f"| `{name}` | {', '.join(f'`{step}`' for step in steps)} |")
    return "\n".join(rows)
