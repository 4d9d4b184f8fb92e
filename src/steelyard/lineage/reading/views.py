"""Views of stored tensors: the same rows, cut, turned, moved back or decoded.

Each is a shape and a way to read rows. They are put together in `layouts`, so that whoever reads a
matrix need not know how a container keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats

Read = Callable[[int, int], Floats]
Codes = NDArray[Any]
"""Numbers in the type that they are stored in: packed codes would not outlive `float32`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor's rows and columns as they are stored."""

    rows: Callable[[int, int], Codes]
    columns: Callable[[int, int], Codes]


@dataclass(frozen=True, slots=True)
class View:
    """Rows that can be read, and what they cost."""

    shape: tuple[int, ...]
    """(rows, columns), or (n,)."""
    read: Read
    """Read rows `first` to `first + count`, at least one, clipped by the caller; a vector whole."""
    nbytes: int
    """Bytes that reading all of it fetches."""
    columns: Read | None = None
    """Read all rows of columns `first` to `first + count`; None where that is not cheaper."""
    stored: Stored | None = None
    """The numbers as stored; None where no tensor lies behind."""


def cut(view: View, first: int, count: int) -> View:
    """Take some rows of a matrix, or some items of a vector."""
    rows = max(view.shape[0], 1)
    nbytes = view.nbytes * count // rows
    if len(view.shape) < 2:
        return View((count,), lambda _first, _count: _whole(view)[first : first + count], nbytes)
    return View(
        (count, *view.shape[1:]),
        lambda start, size: view.read(first + start, size),
        nbytes,
    )


def _whole(view: View) -> Floats:
    return view.read(0, view.shape[0])


def every(view: View, step: int, start: int) -> View:
    """Take every `step`-th row of a matrix (item of a vector), from `start` on."""
    count = len(range(start, view.shape[0], step))
    nbytes = view.nbytes * count // max(view.shape[0], 1)
    if len(view.shape) < 2:
        return View((count,), lambda _first, _count: _whole(view)[start::step], nbytes)

    def read(first: int, size: int) -> Floats:
        begin = start + first * step
        return view.read(begin, (size - 1) * step + 1)[::step]

    return View((count, *view.shape[1:]), read, nbytes)


def picked(view: View, order: NDArray[np.intp]) -> View:
    """Take rows of a matrix (items of a vector) in an order, reading runs of rows at once."""
    nbytes = view.nbytes * len(order) // max(view.shape[0], 1)
    if len(view.shape) < 2:
        return View((len(order),), lambda _first, _count: _whole(view)[order], nbytes)

    def read(first: int, count: int) -> Floats:
        wanted = order[first : first + count]
        ends = np.flatnonzero(np.diff(wanted) != 1) + 1
        runs = np.split(wanted, ends)
        return np.concatenate([view.read(int(run[0]), len(run)) for run in runs])

    return View((len(order), *view.shape[1:]), read, nbytes)


def turned(view: View) -> View:
    """Exchange rows and columns: reading any row takes the whole, unless columns can be read."""

    def read(first: int, count: int) -> Floats:
        if view.columns is not None:
            return np.ascontiguousarray(view.columns(first, count).T)
        return np.ascontiguousarray(_whole(view).T[first : first + count])

    def columns(first: int, count: int) -> Floats:
        return np.ascontiguousarray(view.read(first, count).T)

    return View((view.shape[1], view.shape[0]), read, view.nbytes, columns)


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

    def order(count: int) -> NDArray[np.intp]:
        whole: NDArray[np.intp] = np.arange(count).reshape(-1, size // 2, 2).swapaxes(1, 2).ravel()
        return whole

    if len(view.shape) == 1:
        return View(view.shape, lambda _first, _count: _whole(view)[order(rows)], view.nbytes)

    def read(first: int, count: int) -> Floats:
        start = first // size * size
        stop = min(-(-(first + count) // size) * size, rows)
        held = view.read(start, stop - start)
        return held[order(stop - start)[first - start : first - start + count]]

    return View(view.shape, read, view.nbytes)


def row(view: View, at: int) -> View:
    """Take one row of a matrix as a vector."""
    nbytes = view.nbytes // max(view.shape[0], 1)
    return View(view.shape[1:], lambda _first, _count: view.read(at, 1).ravel(), nbytes)


def mapped(view: View, by: Callable[[Floats], Floats]) -> View:
    """Change every number in the same way."""
    return View(view.shape, lambda first, count: by(view.read(first, count)), view.nbytes)


def shifted(view: View, by: float) -> View:
    """Add a number to each."""
    return mapped(view, lambda values: values + by)
