"""Singular values of a change beside those of rounding.

White noise stays below the edge of Marchenko and Pastur, `s (sqrt m + sqrt n)` for even steps.
Steps are uneven in truth, so the edge is taken from noise drawn with the very steps of the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from steelyard.lineage.floats import Doubles, energy, ratio

MARGIN: Final = 1.15
"""How far beyond drawn noise a singular value must lie to count: drawn ones differ by 3 percent."""
_POWERS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Singular values of a change beside those of the noise that rounding makes."""

    values: Doubles
    """Of the change, the largest first."""
    noise: Doubles
    """Of noise drawn with the same steps."""
    rank: int
    """How many stand above the noise."""
    tail: float
    """Mean square of what is left, relative to the noise; infinity if there is no noise."""
    wide: float
    """Over how many rows or columns, the fewer of the two, the strongest direction spreads."""

    @property
    def excess(self) -> float:
        """Return the largest value relative to that of the noise."""
        return ratio(float(self.values[0]), float(self.noise[0]))


def spectrum(delta: Doubles, steps: Doubles, *, seed: int = 0) -> Spectrum:
    """Compare a change of m x n numbers with noise of uneven steps.

    Signflip and permutation nulls (Hong, Sheng, Dobriban 2020) need no steps, but count the change
    itself as noise; steps are known here.
    """
    chance = np.random.default_rng(seed)
    values = singular_values(delta)
    wide = _width(delta)
    noise = singular_values(chance.uniform(-0.5, 0.5, delta.shape) * steps)
    # Below this the sums of squares are rounding of float64, and of the change's own float32.
    floor = max(float(values[0]) * 3e-6, 1e-300)
    edge = max(MARGIN * float(noise[0]), floor)
    rank = int((values > edge).sum())
    m, n = delta.shape
    freedom = (m - rank) * max(n - rank, 1)
    left = energy(values[rank:])
    expected = energy(steps) / steps.size / 12 * freedom
    expected += floor**2 * (m - rank)
    return Spectrum(values, noise, rank, ratio(left, expected), wide)


def _width(delta: Doubles) -> float:
    """Return the participation ratio of the strongest direction, that of its narrower side."""
    side = delta @ (delta.T @ delta.sum(axis=1)) if delta.size else np.zeros(1)
    for _ in range(_POWERS):
        side = delta @ (delta.T @ (side / max(float(np.linalg.norm(side)), 1e-300)))
    other = delta.T @ side
    return min(_participation(side), _participation(other))


def _participation(vector: Doubles) -> float:
    size = energy(vector)
    return size**2 / float((vector**4).sum()) if size > 1e-200 else 0.0


def singular_values(matrix: Doubles) -> Doubles:
    """Return the singular values, the largest first; exact to 1e-6 of the largest."""
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest == 0:
        return np.zeros(max(min(matrix.shape), 1))
    scaled = matrix / largest
    gram = scaled @ scaled.T if matrix.shape[0] <= matrix.shape[1] else scaled.T @ scaled
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
    return np.asarray(values * largest, np.float64)
