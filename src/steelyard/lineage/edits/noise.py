"""What rounding leaves: how far stored numbers lie from those that were meant.

A float is rounded to its type, a quantized number to the grid of its block; either way the error is
uniform over a step, with variance `step^2 / 12`, and white.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Pair
from steelyard.lineage.edits.floats import (
    Doubles,
    finite,
    float_type,
    is_packed,
    mantissa,
    rms,
    ulps,
)
from steelyard.lineage.edits.grids import Grid, Grids
from steelyard.lineage.matrix import Floats, Matrix

_FAR: Final = 0.5
"""Least share of the base's own rounding that a difference must have to contain it."""
_BY_BITS: Final = 1.3
"""Error of b bits in blocks of 32 normal numbers, as a multiple of `2^-b` of their deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What rounding may have done to one pair."""

    steps: Doubles
    """Steps over which errors are uniform, for each element; those of base and child joined."""
    exact: bool
    """Whether the child's type holds the base's numbers, or they may be rounded to it: then any
    other number was edited."""
    quantized: bool
    """Whether either is quantized."""
    known: bool = True
    """Whether the steps are seen in the numbers; else they are estimated from the scheme's bits."""

    @property
    def variance(self) -> float:
        """Return the mean square of the error."""
        return float(np.mean(self.steps**2)) / 12 if self.steps.size else 0.0


def expected_variance(pair: Pair) -> float:
    """Return the mean square of what rounding alone does to `pair.delta`."""
    return noise_of(pair).variance


def noise_of(
    pair: Pair,
    *,
    relative: float | None = None,
    of_base: bool = True,
    grids: Grids | None = None,
) -> Noise:
    """Tell what rounding does to a pair: of the child, and of a quantized base.

    A base that is a quantized copy of the true one differs from the child by its own rounding, too;
    a child that was made from the copy itself does not, and then lies nearer than that rounding.

    Args:
        pair: Rows of child and base; what is not finite counts as zero.
        relative: Error of schemes whose grid the numbers do not show, relative to the weights.
        of_base: Whether the base's own rounding may be part of the difference.
        grids: What was found in other pairs of the same models.
    """
    grids = grids or Grids()
    child, base = finite(pair.child), finite(pair.base)
    grid = grids.find(child, pair.child_matrix, of_base=False)
    ours = _steps(child, pair.child_matrix, relative, grid)
    packed = is_packed(pair.child_matrix) or grid is not None
    known = _is_seen(pair.child_matrix, grid)
    coarse = mantissa(child, pair.child_matrix) < 7
    alone = Noise(ours, exact=not packed and not coarse, quantized=packed, known=known)
    if not of_base or grids.is_nearer(pair.base_matrix):
        return alone
    base_grid = grids.find(base, pair.base_matrix, of_base=True)
    theirs = _steps(base, pair.base_matrix, None, base_grid)
    if not is_packed(pair.base_matrix) and base_grid is None:
        return alone
    nearer = rms(finite(pair.delta)) ** 2 < _FAR * float(np.mean(theirs**2)) / 12
    grids.count_nearer(pair.base_matrix, nearer=nearer)
    if nearer:
        return alone
    known = known and _is_seen(pair.base_matrix, base_grid)
    return Noise(np.sqrt(ours**2 + theirs**2), exact=False, quantized=True, known=known)


def _is_seen(matrix: Matrix, grid: Grid | None) -> bool:
    return grid is not None or not is_packed(matrix)


def _steps(values: Floats, matrix: Matrix, relative: float | None, grid: Grid | None) -> Doubles:
    if grid is not None:
        return grid.steps(values)
    if is_packed(matrix) and values.ndim == 2:
        part = relative if relative is not None else _BY_BITS * 2.0 ** -_bits(matrix.scheme)
        return np.full(values.shape, sqrt(12) * part * rms(values))
    return ulps(values, float_type(values, matrix))


def _bits(scheme: str) -> int:
    digits = [int(char) for char in scheme if char in "12345678"]
    return digits[0] if digits else 4
