"""Ask a model's own weights whether the numbers of its units mean something.

The fixed-point test holds where the units of one of two models could be renumbered without a
difference. That holds for random initialization of any kind (normal, uniform, orthogonal; zeros
and ones, too, which treat all units alike). Three things break it, and each shows in the weights
of a single model: training of nested prefixes and sorting make units larger or smaller from first
to last; smooth tables (positions, filter banks) make neighbors alike; and formulas (identity,
Hadamard, cosines) write the number of a unit into its weights. Where both models show one of them,
units are compared only with near neighbors, or not at all.

What does not show in one model alone is the choice of an order after another model's weights;
`is_attainable` tells of a pair whether so weak an agreement could be made that way.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from math import log, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.floats import finite, median
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.fixed_points import SURE, corrected, counted

BLOCK: Final = 16
"""Units that are compared with each other where larger moves would show."""
_SORTED: Final = 5.0
_SMOOTH: Final = 8.0
"""Standard deviations from what chance gives."""
_LAGS: Final = (1, 2, 4)
"""Tables that interleave two smooth ones (sines and cosines) are smooth at the second neighbor."""
_MOST: Final = 64
"""Units that are held against formulas; those that are made by one all follow it."""
_HARMONIC: Final = 0.3
"""Most that pure waves leave over of what their two neighbors foretell; random numbers leave 1."""


class Order(StrEnum):
    """What the numbers of units show of themselves."""

    FREE = "free"
    """Nothing: they could be renumbered."""
    SORTED = "sorted"
    """Units are larger or smaller from first to last."""
    SMOOTH = "smooth"
    """Units resemble their neighbors: nothing can be said of numbers at all."""
    FORMULA = "formula"
    """Units are what a formula makes of their numbers: whoever uses it has the same."""


_GRAVEST: Final = (Order.FORMULA, Order.SMOOTH, Order.SORTED)


def order_of(rows: Floats) -> Order:
    """Tell whether the order of m units, given as m x n profiles, means something.

    Three tests. Formulas: the fixed-point test against identity, Hadamard and cosine matrices in
    place of another model, and whether profiles are waves of whatever frequency. Neighbors: their
    |cosine| against that of all pairs; size: Spearman's correlation with the number; both by their
    distance from chance in standard deviations.
    """
    clean = finite(rows)
    count = len(clean)
    if count < BLOCK or clean.ndim != 2 or clean.shape[1] < 2:
        return Order.FREE
    directions = unit(clean)
    if _follows_formula(directions[:_MOST]):
        return Order.FORMULA
    if _is_smooth(directions):
        return Order.SMOOTH
    if _is_harmonic(directions):
        return Order.FORMULA
    size = np.linalg.norm(clean / max(float(np.abs(clean).max(initial=0)), 1e-30), axis=1)
    if float(size.std()) <= 1e-6 * float(size.mean() + 1e-30):
        return Order.FREE
    return Order.SORTED if abs(_rank_correlation(size)) * sqrt(count - 1) > _SORTED else Order.FREE


def _rank_correlation(values: Floats) -> float:
    """Return Spearman's correlation of numbers with their place; of equal ones the first is less.

    Source: Spearman, "The Proof and Measurement of Association between Two Things" (1904).
    """
    count = len(values)
    apart = np.argsort(values, kind="stable") - np.arange(count)
    return 1 - 6 * float(apart @ apart) / (count * (count * count - 1))


def _is_smooth(directions: Floats) -> bool:
    count = len(directions)
    alike = np.abs(directions @ directions.T)
    upper = alike.ravel()[_above_diagonal(count)]
    spread, common = float(upper.std()), float(upper.mean())
    if spread <= 1e-6 * max(1.0, common):
        # No more than rounding alone may spread.
        return False
    near = (np.diagonal(alike, lag) for lag in _LAGS)
    return any((each.mean() - common) / spread * sqrt(len(each)) > _SMOOTH for each in near)


@lru_cache(maxsize=8)
def _above_diagonal(count: int) -> NDArray[np.intp]:
    """Return where the elements above the diagonal of a square matrix lie, row by row."""
    row, column = np.triu_indices(count, 1)
    places: NDArray[np.intp] = row * count + column
    places.setflags(write=False)
    return places


def _follows_formula(directions: Floats) -> bool:
    count = len(directions)
    alike = np.abs(_formulas(*directions.shape) @ directions.T)
    found = min(counted(alike[at : at + count].T).log10_p for at in range(0, len(alike), count))
    return corrected(found, len(alike) // count) <= SURE


def _is_harmonic(directions: Floats) -> bool:
    """Tell whether most profiles are waves: `x[t-1] + x[t+1] = 2 cos(w) x[t] + c`, w their own.

    So are hidden dimensions of sinusoidal positions, whose frequencies and phases a sample of
    places does not tell.
    """
    if directions.shape[1] < BLOCK:
        return False
    middle, around = directions[:, 1:-1], directions[:, 2:] + directions[:, :-2]
    middle, around = (each - each.mean(axis=1, keepdims=True) for each in (middle, around))
    squares = np.einsum("ij,ij->i", middle, middle)
    varied = squares > 1e-6
    if np.count_nonzero(varied) * 2 < len(directions):
        return False
    middle, around, squares = middle[varied], around[varied], squares[varied]
    factor = np.einsum("ij,ij->i", middle, around) / squares
    over = np.linalg.norm(around - factor[:, None] * middle, axis=1)
    return median(over) < _HARMONIC * median(np.linalg.norm(around, axis=1))


@lru_cache(maxsize=8)
def _formulas(count: int, width: int) -> Floats:
    """Return rows of length one that people initialize with, or transform signals by.

    Of each formula there are `count`, of `width` numbers; one formula follows another.

    Identity and Sylvester's Hadamard matrix (ZerO initialization: Zhao, Schaefer, Anandkumar,
    "ZerO Initialization", 2022), cosines and sines of the Fourier transform, the discrete cosine
    transform.
    """
    row, column = np.arange(count)[:, None], np.arange(width)[None]
    common = row & column
    parity = np.zeros((count, width), np.int64)
    for bit in range(int(common.max(initial=0)).bit_length()):
        parity ^= (common >> bit) & 1
    made = (
        np.eye(count, width),
        1 - 2 * parity,
        np.cos(2 * pi * row * column / width),
        np.sin(2 * pi * row * column / width),
        np.cos(pi * row * (column + 0.5) / width),
    )
    rows = np.concatenate([unit(np.asarray(each, np.float32)) for each in made])
    rows.setflags(write=False)
    return rows


def joined(first: Order, second: Order) -> Order:
    """Return what both models show: if either could be renumbered, the test holds for both."""
    if Order.FREE in (first, second):
        return Order.FREE
    return next(order for order in _GRAVEST if order in (first, second))


def joint_order(ours: Floats, theirs: Floats) -> Order:
    """Return what the units of both models show of their numbers; see `joined`."""
    return joined(order_of(ours), order_of(theirs))


def is_constant_basis(rows: Floats) -> bool:
    """Tell whether rows are a fixed table rather than learned weights in an order of their own.

    Fourier bases, filter banks, positions and other tables that a formula makes, or whose rows
    resemble their neighbors, are the same in models that have nothing to do with each other:
    that two models share one is no evidence of descent.
    """
    return order_of(rows) in (Order.SMOOTH, Order.FORMULA)


def is_attainable(ours: Floats, theirs: Floats, *, choices: int) -> bool:
    """Tell whether agreement is so weak that choosing an order could have made it.

    Sorting the units of an independent model after another's weights makes labels agree, though
    units stay no more alike than the best of `choices` independent ones. Weak descent looks the
    same; so this takes the evidence away, and does not prove that anything was sorted.

    Args:
        ours: m x n profiles of the child's units.
        theirs: m x n profiles of the base's units of the same numbers.
        choices: Units among which an order could choose: all of the layer.

    Returns:
        Whether the median |cosine| of units of the same number is within what the best of so many
        independent ones would reach, `sqrt(2 log(choices) / n)` at the effective dimension n.
    """
    size = min(len(ours), len(theirs))
    if size < 2 or ours.shape[1:] != theirs.shape[1:]:
        return False
    mine, other = unit(ours[:size]), unit(theirs[:size])
    alike = np.abs(mine @ other.T)
    apart = alike[~np.eye(size, dtype=bool)]
    # The mean square of the cosine of independent directions is one over their dimension.
    chance = float(np.mean(np.square(apart, dtype=np.float64)))
    best = sqrt(2 * log(max(choices, 2)) * chance)
    return median(np.diagonal(alike)) <= best
