"""How far two computations of the same thing may be apart, relative to the largest value.

Against a checkpoint, the reference computes with the very weights that the export stores, so what
is left is arithmetic: the order of sums in float32, and for products at accuracy level 4 the left
side rounded to int8, layer after layer (see `RecipePrecision.tolerance`). What the rounding of
the weights itself changes is the choice of that precision, not an error of the export.

Between two exports the rounding shows, unless both have the same precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

EXACT = 1e-4
"""Where nothing is rounded: float32 sums in another order, and stages that only move rows."""
BETWEEN: Mapping[str, float] = {"fp32": EXACT, "fp16": 1e-2, "int8": 0.1, "int4": 0.6}
"""By the coarsest form of weights, where not all are the same. The largest errors measured on
`sketch` and on random weights of normal distributions were 1.4e-3, 0.04 and 0.39; logits that have
nothing to do with each other are 1 and more apart."""
UNKNOWN = 1e-2
"""Of a pipeline that was made elsewhere."""

ROUTED = 0.8
"""Of the logits of models with experts, where products are rounded to int8: a token for which two
experts score nearly the same then meets the other one. On random weights, whose experts have
nothing in common, 0.55 was measured; the weights themselves are compared one by one."""

CACHED: Mapping[str, float] = {"fp16": 5e-3, "int8": 0.1, "int4": 0.6}
"""Of logits, by how the key/value cache is stored: its rounding depends on what passes, so the
reference cannot share it, nor attention computed in float16. Measured on random decoders: 2e-3; on
`sketch`, scales from drawn scenes: 0.05 and 0.48."""


def of_logits(tolerance: float, *caches: str) -> float:
    """The tolerance of logits where keys and values are kept in these forms."""
    return max(tolerance, *(CACHED.get(form, 0.0) for form in caches))


def between(*stored: AbstractSet[str]) -> float:
    """The tolerance between exports; stored: the forms that the weights of each are kept in."""
    forms = set[str]().union(*stored)
    if len({frozenset(one) for one in stored}) == 1 and forms <= BETWEEN.keys():
        return EXACT
    return max((BETWEEN.get(form, UNKNOWN) for form in forms), default=UNKNOWN)
