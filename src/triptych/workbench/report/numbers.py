"""How numbers are spelled: as many digits as their score's size asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
FIGURES = 3
NOTHING = "\N{EN DASH}"
"""Where there is no number."""
TINY = 0.0001


def decimals_for(values: Iterable[float]) -> int:
    """Digits after the point: three figures of the largest value, four where it is above 1."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest == 0:
        return FIGURES
    figures = FIGURES + (largest > 1)
    return max(0, figures - math.ceil(math.log10(largest)))


def plain(value: float | None, decimals: int) -> str:
    """``0.842``; an en dash for None."""
    if value is None:
        return NOTHING
    text = f"{value:,.{decimals}f}".replace("-", MINUS)
    return text if text.strip(f"{MINUS}0.,") else text.removeprefix(MINUS)


def signed(value: float | None, decimals: int) -> str:
    """``+0.031``; nothing has no sign."""
    text = plain(value, decimals)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.,") else text


def span(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """``0.790 to 0.880``; an en dash where there is none."""
    if low is None or high is None:
        return NOTHING
    spell = signed if sign else plain
    return f"{spell(low, decimals)} to {spell(high, decimals)}"


def chance(p: float | None) -> str:
    """A p value: three decimals, or that it is tiny."""
    if p is None:
        return NOTHING
    if p < TINY:
        return f"< {TINY}"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"  # noqa: PLR2004 - small ones by two figures


def percent(share: float) -> str:
    """``95 %``."""
    return f"{100 * share:g} %"
