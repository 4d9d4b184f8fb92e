"""What rounding leaves: how far stored numbers lie from those that were meant.

A float is rounded to its type, a quantized number to the grid of its block; either way the error is
uniform over a step, with variance `step^2 / 12`, and white.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Pair, Stored
from steelyard.lineage.edits.grids import Grid, Grids
from steelyard.lineage.floats import Doubles, rms, ulps

_FAR: Final = 0.5
"""Least share of the base's own rounding that a difference must have to contain it."""
_FINE: Final = 7
"""Bits after the leading one of the coarsest type that is called no quantization."""
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


def noise_of(pair: Pair, *, grids: Grids | None = None, of_base: bool = True) -> Noise:
    """Tell what rounding does to a pair: of the child, and of a quantized base.

    A base that is a quantized copy of the true one differs from the child by its own rounding, too;
    a child that was made from the copy itself does not, and then lies nearer than that rounding.

    Args:
        pair: Rows of child and base.
        grids: What was found in other pairs of the same models.
        of_base: Whether the base's own rounding may be part of the difference.
    """
    grids = grids or Grids()
    child, base = pair.ours, pair.theirs
    grid = grids.find(child, of_base=False)
    ours = _steps(child, grid)
    packed = child.is_packed or grid is not None
    exact = not packed and child.mantissa >= _FINE
    alone = Noise(ours, exact=exact, quantized=packed, known=_is_seen(child, grid))
    if not of_base or grids.is_nearer(base.matrix):
        return alone
    base_grid = grids.find(base, of_base=True)
    if not base.is_packed and base_grid is None:
        return alone
    theirs = _steps(base, base_grid)
    nearer = pair.moved < _FAR / 12 * float((theirs**2).sum())
    grids.count_nearer(base.matrix, nearer=nearer)
    if nearer:
        return alone
    known = alone.known and _is_seen(base, base_grid)
    return Noise(np.sqrt(ours**2 + theirs**2), exact=False, quantized=True, known=known)


def _is_seen(stored: Stored, grid: Grid | None) -> bool:
    return grid is not None or not stored.is_packed


def _steps(stored: Stored, grid: Grid | None) -> Doubles:
    values = stored.numbers
    if grid is not None:
        return grid.steps(values)
    if stored.is_packed and values.ndim == 2:
        error = _BY_BITS * 2.0 ** -_bits(stored.matrix.scheme) * rms(values)
        return np.full(values.shape, sqrt(12) * error)
    return ulps(values, stored.kind)


def _bits(scheme: str) -> int:
    digits = [int(char) for char in scheme if char in "12345678"]
    return digits[0] if digits else 4
