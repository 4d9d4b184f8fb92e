"""Find rows of one matrix among the rows of another, by direction."""

from __future__ import annotations

from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import Indices
from steelyard.lineage.floats import finite, median
from steelyard.lineage.matrix import Floats, Matrix

ALIKE: Final = 0.8
"""Least |cosine| of a row and the row it comes from; independent rows of 64 numbers and more stay
below 0.6."""
_PIECE: Final = 8192


def unit(rows: Floats) -> Floats:
    """Return rows of length one; rows of zeros stay zeros, and what is no number counts as zero."""
    clean = finite(rows).astype(np.float32, copy=False)
    largest = np.abs(clean).max(axis=1, keepdims=True, initial=0)
    scaled: Floats = np.zeros_like(clean)
    np.divide(clean, largest, out=scaled, where=largest > 0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    np.divide(scaled, length, out=scaled, where=length > 0)
    return scaled


def cosine(ours: Floats, theirs: Floats) -> float:
    """Return the cosine of two arrays of one shape, taken as vectors; 0 where one is zero."""
    return float(unit(ours.reshape(1, -1))[0] @ unit(theirs.reshape(1, -1))[0])


def same_index(ours: Floats, theirs: Floats) -> float:
    """Return the median |cosine| of rows with the same index; 0 for none."""
    count = min(len(ours), len(theirs))
    if count == 0 or ours.shape[1:] != theirs.shape[1:]:
        return 0.0
    cosines = np.einsum("ij,ij->i", unit(ours[:count]), unit(theirs[:count]))
    return median(np.abs(cosines))


def find_rows(ours: Floats, matrix: Matrix, *, gain: Floats | None = None) -> Indices:
    """Find each of our rows among all rows of a matrix.

    Args:
        ours: m x n rows.
        matrix: k x n, read in pieces.
        gain: n factors by which the matrix's columns are multiplied before.

    Returns:
        m row numbers; -1 where no row is alike, or where two of ours would have the same.
    """
    wanted = unit(ours)
    best = np.zeros(len(wanted), np.float32)
    where = np.full(len(wanted), -1, np.intp)
    if len(matrix.shape) != 2 or wanted.shape[1] != matrix.shape[1]:
        return where
    for start in range(0, matrix.shape[0], _PIECE):
        piece = matrix.rows(start, _PIECE)
        alike = np.abs(wanted @ unit(piece if gain is None else piece * gain).T)
        top = alike.argmax(axis=1)
        value = alike[np.arange(len(wanted)), top]
        better = value > best
        best[better], where[better] = value[better], start + top[better]
    where[best < ALIKE] = -1
    return _one_to_one(where, best)


def find_columns(ours: Floats, theirs: Floats) -> Indices:
    """Find each of our columns among their columns: m x n and m x k give n column numbers."""
    alike = np.abs(unit(_centered(ours.T)) @ unit(_centered(theirs.T)).T)
    where = alike.argmax(axis=1).astype(np.intp)
    best = alike[np.arange(len(where)), where]
    where[best < ALIKE] = -1
    return _one_to_one(where, best)


def _centered(rows: Floats) -> Floats:
    clean = finite(rows)
    result: Floats = clean - clean.mean(axis=1, keepdims=True)
    return result


def _one_to_one(where: Indices, best: Floats) -> Indices:
    """Keep only the best of those that were given the same number."""
    taken: set[int] = set()
    for row in np.argsort(-best, kind="stable"):
        if where[row] in taken:
            where[row] = -1
        elif where[row] >= 0:
            taken.add(int(where[row]))
    return where
