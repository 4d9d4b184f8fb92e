"""The mathematics of removed directions: what of a change D of a matrix W is `-a v v^T W`.

Shapes are outputs x inputs (m x n). A change that came from storing numbers otherwise is white: its
largest squared singular value stays at the edge of Marchenko and Pastur, `s^2 (sqrt m + sqrt n)^2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats

_DIRECTIONS: Final = 4
_EXACT_UP_TO: Final = 512
_WHITE: Final = 2.0
"""How far above the edge a singular value may lie in white noise of uneven scale."""
_ROUNDING: Final = 1e-4
"""Directions this much weaker than the first are the rounding of float32."""
_PARALLEL: Final = 0.45
"""Least squared cosine of a direction's change with what was written along it."""
_SCALED: Final = 0.01
"""Least share of a change that scaling the matrix explains for it to be taken out first."""
_ROUNDS: Final = 3
_HUGE: Final = 1e30
_LOG10: Final = log(10)
_FLOOR: Final = -300.0


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a change of a matrix shows."""

    changed: bool
    """Whether there is more than white noise."""
    vectors: Floats
    """m x k: left directions that were removed, the most changed first."""
    had: Floats
    """k x n: what the base writes along them, `v^T W`."""
    strengths: Floats
    """How much of each was removed."""
    strength: float
    """Over all k directions, in the mean by what was removed."""
    explained: float
    """Share of the change (of the part above the noise) that is the removal of directions."""
    top: Floats
    """m x 1: the left direction that changed most, whatever stands on its right."""
    share: float
    """Share of `top` in the change."""
    log10_p: float
    """Chance that a change unrelated to W lies as parallel to `v^T W`, for the best of the
    directions that stand out, corrected for their number."""
    z: float
    """Minus the cosine of the change along `top` and `top^T W`, in standard deviations."""
    effective: float
    """Number of dimensions over which the best direction spreads."""

    def edit(self, rows: NDArray[np.intp]) -> Floats:
        """Return what the removal adds to these rows of the base."""
        return np.asarray(-(self.vectors[rows] * self.strengths) @ self.had, np.float32)


def look(delta: Floats, base: Floats) -> Look | None:
    """Look for removed directions in a change of a matrix.

    Args:
        delta: The change, m x n.
        base: The matrix before it. Where it was also scaled as a whole, that is taken out first.

    Returns:
        What is seen; None where there is nothing to see (no change, too small, not finite).
    """
    if delta.ndim != 2 or min(delta.shape) < 2 * _DIRECTIONS or delta.shape != base.shape:
        return None
    size, moved = _largest(base), _largest(delta)
    if not (0 < size < _HUGE and 0 < moved < _HUGE) or moved < 1e-7 * size:
        return None
    work, before = (delta / moved).astype(np.float32), (base / size).astype(np.float32)
    ratio = moved / size
    vectors, energies = leading(work, _DIRECTIONS + 1)
    kept, least = 1.0, _SCALED
    for _ in range(_ROUNDS):
        scale = _scaling(work, before, vectors)
        if scale**2 * _energy(before) <= least * _energy(work):
            break
        work = work + np.float32(scale) * before
        kept -= scale * ratio
        least = _ROUNDING
        if _largest(work) * ratio < 1e-6 or kept <= 0.05:
            return _unchanged(delta.shape)
        vectors, energies = leading(work, _DIRECTIONS + 1)
    return _seen(work, before, vectors, energies, ratio, size, kept)


def _seen(
    work: Floats,
    before: Floats,
    vectors: Floats,
    energies: Floats,
    ratio: float,
    size: float,
    kept: float,
) -> Look:
    rows, columns = work.shape
    total = _energy(work)
    left = max(total - float(energies[:_DIRECTIONS].sum()), 0.0)
    noise = left / ((rows - _DIRECTIONS) * (columns - _DIRECTIONS))
    edge = _WHITE * noise * (rows**0.5 + columns**0.5) ** 2
    spikes = energies[:_DIRECTIONS] > max(edge, _ROUNDING * float(energies[0]))
    if not spikes[0]:
        return _unchanged(work.shape)
    count = int(spikes.sum())
    vectors, energies_kept = vectors[:, :count], energies[:count].astype("f8")
    if energies[_DIRECTIONS] <= edge:
        total = float(energies_kept.sum())
    changes, had = vectors.T @ work, vectors.T @ before
    products = np.einsum("kn,kn->k", changes, had, dtype="f8")
    written = np.einsum("kn,kn->k", had, had, dtype="f8")
    safe = np.where(written > 0, written, 1.0)
    squares = np.minimum(products**2 / (safe * energies_kept), 1.0)
    lost = (products < 0) & (squares > _PARALLEL)
    along = np.where(products < 0, products**2 / safe, 0.0)
    strengths = -products / safe * ratio
    best = int(np.argmax(np.where(products < 0, squares, 0.0)))
    first = vectors[:, best].astype("f8")
    weights = along[lost] / max(float(along[lost].sum()), 1e-300)
    return Look(
        changed=True,
        vectors=vectors[:, lost],
        had=had[lost] * np.float32(size),
        strengths=np.minimum(strengths[lost], 1e6).astype(np.float32),
        strength=float(strengths[lost] @ weights) / kept,
        explained=min(float(along.sum()) / total, 1.0),
        top=vectors[:, :1],
        share=min(float(energies_kept[0]) / total, 1.0),
        log10_p=min(cosine_log10_p(float(squares[best]), columns) + log(count) / _LOG10, 0.0),
        z=-float(np.sign(products[0]) * squares[0] ** 0.5) * columns**0.5,
        effective=1 / float(np.sum(first**4)),
    )


def _unchanged(shape: tuple[int, ...]) -> Look:
    none = np.zeros(0, np.float32)
    vectors, had = np.zeros((shape[0], 0), np.float32), np.zeros((0, shape[1]), np.float32)
    return Look(False, vectors, had, none, 0.0, 0.0, vectors, 0.0, 0.0, 0.0, 0.0)


def _largest(array: Floats) -> float:
    return float(np.abs(array).max()) if array.size else 0.0


def _energy(array: Floats) -> float:
    return float(np.einsum("ij,ij->", array, array, dtype="f8"))


def _scaling(work: Floats, before: Floats, vectors: Floats) -> float:
    """Return by how much the matrix was scaled down apart from the strongest directions."""
    changes, had = vectors.T @ work, vectors.T @ before
    product = float(np.einsum("ij,ij->", work, before, dtype="f8") - np.sum(changes * had))
    left = _energy(before) - _energy(had)
    return -product / left if left > 1e-6 * _energy(before) else 0.0


def leading(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the strongest left singular vectors (m x count) and their squared singular values.

    Exact for small matrices; else by subspace iteration on random starts (Halko, Martinsson and
    Tropp 2011, algorithm 4.4), which finds whatever stands out of the bulk.
    """
    rows, columns = matrix.shape
    if min(rows, columns) <= _EXACT_UP_TO:
        return _exactly(matrix, count)
    chance = np.random.default_rng(rows * 1_000_003 + columns)
    start = chance.standard_normal((columns, 2 * count + 6), np.float32)
    basis = np.linalg.qr(matrix @ start)[0]
    for _ in range(4):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    left, values, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ left)[:, :count], values[:count] ** 2


def _exactly(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    rows, columns = matrix.shape
    if rows <= columns:
        values, vectors = np.linalg.eigh((matrix @ matrix.T).astype("f8"))
        order = np.argsort(values)[::-1][:count]
        return vectors[:, order].astype(np.float32), np.maximum(values[order], 0).astype("f4")
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :count], values[:count] ** 2


def cosine_log10_p(square: float, size: int) -> float:
    """Bound the chance that a random direction has at least this squared cosine with a given one.

    The squared cosine of a uniformly random direction in `size` dimensions has the distribution
    Beta(1/2, (size - 1) / 2). Its upper tail is the incomplete beta function, whose hypergeometric
    series (DLMF 8.17.8) is bounded term by term by a geometric one.

    Returns:
        A power of ten, from -300 to 0; never less than the true one above -300.
    """
    if size < 2 or not square > 0:
        return 0.0
    if square >= 1:
        return _FLOOR
    half = (size - 1) / 2
    beta = lgamma(half) + lgamma(0.5) - lgamma(half + 0.5)
    found = half * np.log1p(-square) - 0.5 * log(square) - log(half) - beta
    return float(min(max(found / _LOG10, _FLOOR), 0.0))
