"""Merges that choose number by number which parents take part.

TIES (Yadav et al. 2023) drops small changes and averages those of the elected sign; DARE (Yu et al.
2024) drops changes at random and adds what is left, scaled up. Either way each number of the child
is one of few: nothing, one parent's change, or what some of them make together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from steelyard.lineage.floats import Doubles, median

_ATOMS: Final = 0.9
"""Share of numbers that must be an atom: a sum or a mean of candidates' changes."""
_CLEAR: Final = 20
"""Steps of the type that a change must exceed for its ratio to another to mean something."""
_FEWEST: Final = 256
"""Numbers, and a quarter of that for one ratio, that a frequency needs."""
_RATIOS: Final = (0.02, 50.0)
"""Shares that are looked for."""
_FREQUENT: Final = 0.02
"""Share of numbers that the most frequent ratio must have."""
_TOLERANCE: Final = 2e-3
"""Relative difference of numbers that are called the same."""
_PLACED: Final = 20_000
"""Numbers by which it is told how often a candidate takes part."""


@dataclass(frozen=True, slots=True)
class Atoms:
    """What the numbers of a change are made of."""

    method: str
    """`ties` or `dare`."""
    coefficients: tuple[float, ...]
    explained: float
    """Share of the numbers that are an atom."""


def fit_atoms(deltas: Doubles, change: Doubles, step: Doubles) -> Atoms | None:
    """Tell whether every number of a change is a sum or a mean of some of the candidates'.

    Args:
        deltas: k x n changes of candidates.
        change: n numbers of the child's change.
        step: n distances of neighbors in the child's type.
    """
    clear = (np.abs(deltas) > _CLEAR * step).all(axis=0)
    deltas, change, step = deltas[:, clear], change[clear], step[clear]
    if deltas.shape[1] < _FEWEST:
        return None
    scales = np.array([_mode(change, delta) for delta in deltas])
    if not np.all(scales > 0):
        return None
    scaled = deltas * scales[:, None]
    best: Atoms | None = None
    for mean in (True, False):
        fits, kept = _atom_shares(scaled, change, step, mean=mean)
        if fits > _ATOMS and (best is None or fits > best.explained):
            values = scales if mean else scales * kept
            told = tuple(round(float(value), 4) for value in values)
            best = Atoms("ties" if mean else "dare", told, fits)
    return best


def _mode(change: Doubles, delta: Doubles) -> float:
    """Return the most frequent ratio of a child's change and a candidate's, 0 if there is none."""
    ratios = change / delta
    ratios = ratios[(ratios > _RATIOS[0]) & (ratios < _RATIOS[1])]
    if len(ratios) < _FEWEST // 4:
        return 0.0
    bins = np.round(np.log(ratios) / _TOLERANCE).astype(int)
    places, counts = np.unique(bins, return_counts=True)
    peak = places[np.argmax(counts)]
    near = ratios[np.abs(bins - peak) <= 1]
    return median(near) if len(near) > _FREQUENT * len(change) else 0.0


def _atom_shares(
    scaled: Doubles, change: Doubles, step: Doubles, *, mean: bool
) -> tuple[float, Doubles]:
    """Return the share of numbers that are an atom, and how often each candidate takes part."""
    count = len(scaled)
    best = np.abs(change)
    which = np.zeros(len(change), np.intp)
    parts = [part for size in range(1, count + 1) for part in combinations(range(count), size)]
    for number, part in enumerate(parts, start=1):
        atom = scaled[list(part)].sum(axis=0)
        away = np.abs(change - (atom / len(part) if mean else atom))
        nearer = away < best
        best[nearer], which[nearer] = away[nearer], number
    fits = best <= 2 * step + _TOLERANCE * np.abs(scaled).max(axis=0)
    kept = np.array(
        [np.mean([k in (parts[w - 1] if w else ()) for w in which[:_PLACED]]) for k in range(count)]
    )
    return float(np.mean(fits)), kept
