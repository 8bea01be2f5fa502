"""A verification as one HTML page that needs nothing beside it: no script, no network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from triptych.export.verification.comparison import Check
from triptych.export.verification.result import Verification
from triptych.export.verification.words import in_words

# The plot, in pixels of its own: labels on the left, then decades from left to right.
LABELS, WIDTH, ROW, HEAD = 330, 560, 26, 34
BAR, GHOST = 10, 4
LEAST, MOST = -9, 1
"""Decades of relative error that are drawn; what is smaller or larger stands at the edge."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #e3e6ea;
  --page: #fbfbf9; --card: #ffffff; --good: #2b7a5d; --bad: #c2412d; --ghost: #b9c2cc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #98a2b0; --line: #2c323b;
  --page: #14171c; --card: #1b1f26; --good: #5bbd96; --bad: #f0785f; --ghost: #4b5563; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .35rem; text-wrap: balance; }
h2 { font-size: 1rem; margin: 2.25rem 0 .6rem; }
h1.good { color: var(--good); } h1.bad { color: var(--bad); }
p { margin: .2rem 0; } .soft, small { color: var(--soft); }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 44rem; height: auto;
  font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); }
.grid { stroke: var(--line); } .bound { stroke: var(--soft); stroke-width: 2; }
.bar.good { fill: var(--good); } .bar.bad { fill: var(--bad); } .ghost { fill: var(--ghost); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td.wide { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
td.bad { color: var(--bad); font-weight: 600; } td.good { color: var(--good); }
figcaption { color: var(--soft); margin-top: .6rem; } figure { margin: 0; }
"""

CAPTION = (
    "Relative error, each stage by itself on the right inputs. The upright line is the tolerance; "
    "the thin bar is the error when the pipeline runs on its own outputs."
)
COLUMNS = ("stage", "port", "largest error", "relative", "cosine", "tolerance", "", "worst case")


def page(found: Verification) -> str:
    """The page, a whole document."""
    failure = found.first_failure
    kind = "good" if failure is None else "bad"
    verdict = (
        "All stages agree" if failure is None else f"First stage that differs: {failure.stage}"
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(verdict)}</title><style>{STYLE}</style></head><body><main>",
            f'<h1 class="{kind}">{escape(verdict)}</h1>',
            _sides(found),
            *(f'<p class="soft">{escape(note)}</p>' for note in found.notes),
            "<h2>Error of each stage</h2>",
            '<figure class="card">',
            *_plot(found.checks),
            f"<figcaption>{CAPTION}</figcaption></figure>",
            *_logits(found.checks),
            "<h2>Numbers</h2>",
            f'<div class="card">{_table(found.checks)}</div>',
            "</main></body></html>\n",
        ]
    )


def _sides(found: Verification) -> str:
    export, against = escape(str(found.export)), escape(str(found.against))
    what = escape(f"{found.precision}, {found.family}")
    return f"<p><code>{export}</code> ({what}) against <code>{against}</code></p>"


def _plot(checks: Sequence[Check]) -> Iterator[str]:
    height = HEAD + ROW * len(checks) + 6
    yield (
        f'<svg viewBox="0 0 {LABELS + WIDTH + 80} {height}" role="img" '
        'aria-label="Relative error of each stage, in decades">'
    )
    for decade in range(LEAST, MOST + 1):
        x = _x(10.0**decade)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 8}" y2="{height}"/>'
        label = {0: "1", 1: "10"}.get(decade, f"1e{decade}")
        yield f'<text class="soft" x="{x:.1f}" y="{HEAD - 14}" text-anchor="middle">{label}</text>'
    stage = ""
    for row, check in enumerate(checks):
        yield from _row(check, HEAD + ROW * row, named=check.stage != stage)
        stage = check.stage
    yield "</svg>"


def _row(check: Check, top: int, *, named: bool) -> Iterator[str]:
    middle = top + ROW / 2
    if named:
        yield f'<text x="0" y="{middle + 4:.1f}" font-weight="600">{escape(check.stage)}</text>'
        yield f'<line class="grid" x1="0" x2="{LABELS + WIDTH}" y1="{top}" y2="{top}"/>'
    yield f'<text class="soft" x="130" y="{middle + 4:.1f}">{escape(check.port)}</text>'
    kind = "good" if check.passed else "bad"
    width = max(2.0, _x(check.relative) - LABELS)
    said = f"{check.stage} {check.port}: {_number(check.relative)}, {check.case}"
    yield (
        f'<rect class="bar {kind}" data-stage="{escape(check.stage)}" x="{LABELS}" '
        f'y="{middle - BAR / 2:.1f}" width="{width:.1f}" height="{BAR}" rx="2">'
        f"<title>{escape(said)}</title></rect>"
    )
    if check.carried is not None:
        yield (
            f'<rect class="ghost" x="{LABELS}" y="{middle + BAR / 2 + 1:.1f}" '
            f'width="{max(2.0, _x(check.carried) - LABELS):.1f}" height="{GHOST}" rx="2"/>'
        )
    if check.tolerance > 0:
        x = _x(check.tolerance)
        yield f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 3}" y2="{top + ROW - 3}"/>'
    yield (f'<text x="{LABELS + WIDTH + 14}" y="{middle + 4:.1f}">{_number(check.relative)}</text>')


def _x(error: float) -> float:
    """Where an error stands in the plot."""
    decade = math.log10(error) if 0 < error < math.inf else (LEAST if error == 0 else MOST)
    place = (min(max(decade, LEAST), MOST) - LEAST) / (MOST - LEAST)
    return LABELS + WIDTH * place


def _logits(checks: Sequence[Check]) -> Iterator[str]:
    said = [sentence for check in checks for sentence in in_words(check)]
    if said:
        yield "<h2>What that changes</h2>"
        yield from (f"<p>{escape(sentence)}</p>" for sentence in said)


def _table(checks: Sequence[Check]) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(f"<tr>{''.join(_cells(check))}</tr>" for check in checks)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(check: Check) -> Iterator[str]:
    kind, verdict = ("good", "ok") if check.passed else ("bad", "differs")
    note = f"<br><small>{escape(check.note)}</small>" if check.note else ""
    yield f"<td>{escape(check.stage)}</td><td>{escape(check.port)}</td>"
    yield f"<td>{_number(check.absolute)}</td><td>{_number(check.relative)}</td>"
    yield f"<td>{'' if check.cosine is None else f'{check.cosine:.6f}'}</td>"
    yield f"<td>{_number(check.tolerance)}</td>"
    yield f'<td class="{kind}">{verdict}</td><td class="wide">{escape(check.case)}{note}</td>'


def _number(value: float) -> str:
    return "0" if value == 0 else "∞" if math.isinf(value) else f"{value:.1e}"
