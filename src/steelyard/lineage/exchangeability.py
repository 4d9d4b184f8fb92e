"""Ask a model's own weights whether the numbers of its units mean something.

The fixed-point test holds where the units of one of two models could be renumbered without a
difference. Sorting units, training nested prefixes and structured initialization make the number
mean something. Where both models show that, units are compared only with near neighbors, or not
at all.
"""

from __future__ import annotations

from enum import StrEnum
from math import sqrt
from typing import Final

import numpy as np

from steelyard.lineage.matching import unit
from steelyard.lineage.matrix import Floats

BLOCK: Final = 16
"""Units that are compared with each other where larger moves would show."""
_SORTED: Final = 5.0
_SMOOTH: Final = 8.0
"""Standard deviations from what chance gives."""


class Order(StrEnum):
    """What the numbers of units show of themselves."""

    FREE = "free"
    """Nothing: they could be renumbered."""
    SORTED = "sorted"
    """Units are larger or smaller from first to last."""
    SMOOTH = "smooth"
    """Units resemble their neighbors: nothing can be said of numbers at all."""


def order_of(rows: Floats) -> Order:
    """Tell whether the order of m units, given as m x n profiles, means something.

    Two tests, each by its distance from chance in standard deviations: Spearman's correlation of
    a unit's size with its number, and the |cosine| of neighbors against that of all pairs.
    """
    clean = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    count = len(clean)
    if count < BLOCK or clean.shape[1] < 2:
        return Order.FREE
    directions = unit(clean)
    alike = np.abs(directions @ directions.T)
    upper = alike[np.triu_indices(count, 1)]
    near = alike[np.arange(count - 1), np.arange(1, count)]
    spread = float(upper.std())
    if spread > 1e-6 and (near.mean() - upper.mean()) / spread * sqrt(count - 1) > _SMOOTH:
        return Order.SMOOTH
    size = np.linalg.norm(clean / max(float(np.abs(clean).max(initial=0)), 1e-30), axis=1)
    if float(size.std()) <= 1e-6 * float(size.mean() + 1e-30):
        return Order.FREE
    ranks = np.argsort(np.argsort(size, kind="stable"), kind="stable")
    rho = float(np.corrcoef(ranks, np.arange(count))[0, 1])
    return Order.SORTED if abs(rho) * sqrt(count - 1) > _SORTED else Order.FREE


def joint_order(ours: Floats, theirs: Floats) -> Order:
    """Return what both models show: if either could be renumbered, the test holds for both."""
    first, second = order_of(ours), order_of(theirs)
    if Order.FREE in (first, second):
        return Order.FREE
    return Order.SORTED if Order.SORTED in (first, second) else Order.SMOOTH
