"""A figure of matplotlib as SVG for the inside of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLORS = {
    "ink": "#1b1c1e",
    "muted": "#62656a",
    "rule": "#dcdee1",
    "better": "#1668a8",
    "worse": "#b3541e",
    "unsure": "#868b92",
    "base": "#4d5158",
    "accent": "#6b4fa0",
    "ground": "#fdfdfe",
}
"""By the names of the page's CSS variables, which take their place."""
WIDTH = 10.0
"""Inches of 72 points; the page shows a point as a pixel where there is room."""
NAME = 34
"""Letters of an arm's name that a drawing has room for."""

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": COLORS["rule"],
    "axes.labelcolor": COLORS["muted"],
    "axes.labelpad": 8,
    "axes.titlesize": 10,
    "axes.titlecolor": COLORS["ink"],
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLORS["rule"],
    "grid.linewidth": 0.6,
    "text.color": COLORS["ink"],
    "text.parse_math": False,
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["ink"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.unicode_minus": True,
}
IDS = re.compile(r'(\bid="|href="#|url\(#)')
FONT = re.compile(r"font: ([\d.]+)px [^;\"]*")


@contextmanager
def settings(name: str) -> Iterator[None]:
    """matplotlib's, while a figure is drawn: what it writes depends on nothing else."""
    with mpl.rc_context(SETTINGS | {"svg.hashsalt": name}):
        yield


def svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure as an SVG element. name: of ids, unique on the page. label: read aloud."""
    text = io.StringIO()
    unsaid = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(text, format="svg", transparent=True, metadata=unsaid)
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"<style[^>]*>.*?</style>", "", drawn, flags=re.DOTALL)
    drawn = IDS.sub(rf"\g<1>{name}-", drawn)
    drawn = FONT.sub(r"font-size: \1px", drawn)
    for variable, color in COLORS.items():
        drawn = drawn.replace(color, f"var(--{variable})")
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def short(name: str, letters: int = NAME) -> str:
    """A name with its middle left out where it is too long."""
    if len(name) <= letters:
        return name
    head = letters * 3 // 5
    return f"{name[:head]}…{name[head + 1 - letters :]}"
