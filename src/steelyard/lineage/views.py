"""Views of stored tensors: the same rows, cut, turned, moved back or decoded.

Each is a shape and a way to read rows. They are put together in `layouts`, so that whoever reads a
matrix need not know how a container keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats

Read = Callable[[int, int], Floats]


@dataclass(frozen=True, slots=True)
class View:
    """Rows that can be read, and what they cost."""

    shape: tuple[int, ...]
    """(rows, columns), or (n,)."""
    read: Read
    """Read rows `first` to `first + count`, both clipped by the caller; a vector whole."""
    nbytes: int
    """Bytes that reading all of it fetches."""


def cut(view: View, first: int, count: int) -> View:
    """Take some rows of a matrix."""
    rows = max(view.shape[0], 1)
    return View(
        (count, *view.shape[1:]),
        lambda start, size: view.read(first + start, size),
        view.nbytes * count // rows,
    )


def turned(view: View) -> View:
    """Exchange rows and columns: reading any row takes the whole."""

    def read(first: int, count: int) -> Floats:
        return np.ascontiguousarray(view.read(0, view.shape[0]).T[first : first + count])

    return View((view.shape[1], view.shape[0]), read, view.nbytes)


def reshaped(view: View, rows: int, columns: int) -> View:
    """Cut each row into several of `columns` numbers, the first row's first."""
    each = rows // max(view.shape[0], 1)

    def read(first: int, count: int) -> Floats:
        start, stop = first // each, -(-(first + count) // each)
        held = view.read(start, stop - start).reshape(-1, columns)
        return held[first - start * each : first - start * each + count]

    return View((rows, columns), read, view.nbytes)


def unpermuted(view: View, heads: int) -> View:
    """Bring the rows of each head back from pairs side by side to halves, as published."""
    rows = view.shape[0]
    size = rows // heads
    order: NDArray[np.intp] = np.arange(rows).reshape(heads, size // 2, 2).swapaxes(1, 2).ravel()
    if len(view.shape) == 1:
        return View(view.shape, lambda _first, _count: view.read(0, rows)[order], view.nbytes)

    def read(first: int, count: int) -> Floats:
        start = first // size * size
        stop = min(-(-(first + count) // size) * size, rows)
        held = view.read(start, stop - start)
        return held[order[first : first + count] - start]

    return View(view.shape, read, view.nbytes)


def shifted(view: View, by: float) -> View:
    """Add a number to each."""
    return View(view.shape, lambda first, count: view.read(first, count) + by, view.nbytes)


def scaled(view: View, scale: View) -> View:
    """Multiply a matrix by one scale, one for each row or column, or one for each square block.

    A scale of `a` x `b` for a matrix of `m` x `n` holds for blocks of `m / a` x `n / b`, rounded
    up: so quantized and eight-bit floating-point weights are decoded.
    """
    rows, columns = view.shape
    across, down = scale.shape if len(scale.shape) == 2 else _vector(scale.shape[0], view.shape)
    tall, wide = -(-rows // max(across, 1)), -(-columns // max(down, 1))

    def read(first: int, count: int) -> Floats:
        factors = scale.read(0, scale.shape[0]).reshape(across, down)
        part = factors[np.arange(first, min(first + count, rows)) // tall]
        spread = np.repeat(part, wide, axis=1)[:, :columns]
        with np.errstate(over="ignore", invalid="ignore"):
            result: Floats = view.read(first, count) * spread
        return result

    return View(view.shape, read, view.nbytes + scale.nbytes)


def _vector(size: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Tell whether a vector of scales belongs to the rows (the usual) or to the columns."""
    if size == 1:
        return 1, 1
    return (size, 1) if size == shape[0] or size != shape[1] else (1, size)
