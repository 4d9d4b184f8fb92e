"""Which rows of the child stand beside which rows of the base, and the samples taken there.

Layers are mapped by `relatedness`, tokens by their strings (else by index), neurons by content
where they do not lie in the base's order. Reading is bounded by a budget in bytes for both models
together: first few rows of every weight, then more of each while the budget lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.roles import BY_TOKEN, FROM_NEURONS, INTO_NEURONS, NORM_BEFORE, WRITING

Indices = NDArray[np.intp]
Block = tuple[int, int | None]
"""A layer, and the expert in it where there are several."""

ROWS: Final = (64, 32, 16)
"""Rows of each matrix that are sampled: the most that the budget allows."""
_FEWEST_LAYERS: Final = 8
_TOKEN_ROWS: Final = 256
FIRST_TOKEN: Final = 300
"""Far enough from special tokens in every tokenizer (lineage by fixed points uses the same)."""
_INTO_HIDDEN: Final = (*WRITING, "head.transform")
"""What writes hidden dimensions; the inputs of all but `WRITING` are hidden dimensions, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What stands beside what."""

    layers: tuple[int | None, ...]
    """The base's layer for each layer of the child; None where there is none."""
    tokens: tuple[Indices, Indices] | None = None
    """Rows of the child's embedding, and the base's rows of the same tokens; None for the same
    index."""
    neurons: Mapping[Block, Indices] = field(default_factory=dict)
    """By layer of the child (and expert): the base's neuron for each neuron of the child (-1 for
    none), or nothing where it is not known. Blocks that are not named have the base's order."""
    hidden: Indices | None = None
    """The base's hidden dimension for each of the child's; None for the same order."""
    folded: bool = False
    """The child's norms were folded into the matrices that follow them."""


def sample(
    child: Weights,
    base: Weights,
    alignment: Alignment,
    *,
    budget: int = 40_000_000,
    rows: Sequence[int] = ROWS,
    roles: Sequence[str] | None = None,
) -> Sample:
    """Read aligned rows of both models.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from.
        alignment: What stands beside what.
        budget: Most bytes to read of both together; norms and biases are read whatever it is.
        rows: Rows of each matrix to read: the first of these that the budget allows.
        roles: What to read; everything if not given.

    Returns:
        Pairs of the same weight at the same rows. Weights whose shapes do not fit are left out.
    """
    places = [
        place
        for place in _places(child, base, alignment)
        if roles is None or place.child.role in roles
    ]
    chosen, count = _affordable(places, budget, rows)
    pairs = (_pair(place, count, alignment, base) for place in chosen)
    return Sample(tuple(pair for pair in pairs if pair is not None))


@dataclass(frozen=True, slots=True)
class _Place:
    child: Matrix
    base: Matrix
    base_layer: int | None

    def cost(self, rows: int) -> int:
        """Return the bytes that so many rows of both take."""
        total = 0
        for matrix in (self.child, self.base):
            count = max(matrix.shape[0], 1)
            total += matrix.nbytes * min(rows, count) // count
        return total


def _places(child: Weights, base: Weights, alignment: Alignment) -> Iterator[_Place]:
    for matrix in child.matrices():
        layer = matrix.layer
        mapped = None if layer is None else alignment.layers[layer]
        if layer is not None and mapped is None:
            continue
        found = base.matrix(matrix.role, mapped, expert=matrix.expert, part=matrix.part)
        if found is not None and len(found.shape) == len(matrix.shape) and matrix.shape:
            yield _Place(matrix, found, mapped)


def _affordable(
    places: Sequence[_Place], budget: int, most: Sequence[int]
) -> tuple[list[_Place], int]:
    """Choose rows and layers: all layers if possible, else several evenly spread."""
    small = [place for place in places if len(place.child.shape) == 1]
    large = [place for place in places if len(place.child.shape) > 1]
    layers = sorted({place.child.layer for place in large if place.child.layer is not None})
    for count in (len(layers), _FEWEST_LAYERS, 4, 2, 1):
        kept = spread(layers, count)
        chosen = [p for p in large if p.child.layer is None or p.child.layer in kept]
        for rows in most:
            if sum(place.cost(rows) for place in chosen) <= budget:
                return [*small, *chosen], rows
    return small, most[-1]


def spread(items: Sequence[int], count: int) -> frozenset[int]:
    """Choose at most `count` of the items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return frozenset(items)
    steps = np.linspace(0, len(items) - 1, max(count, 1)).round().astype(int)
    return frozenset(items[step] for step in steps)


def _pair(place: _Place, rows: int, alignment: Alignment, base: Weights) -> Pair | None:
    child, other = place.child, place.base
    if len(child.shape) == 1:
        return _vectors(place, alignment)
    ours, theirs = _rows(child, other, rows, alignment)
    if not len(ours):
        return None
    numbers = gathered(child, ours)
    beside = gathered(other, theirs)
    if alignment.folded:
        beside = beside * _gain(base, child.role, place.base_layer, beside.shape[1])
    beside = _columns(beside, child, alignment)
    if numbers.shape != beside.shape:
        return None
    return Pair(
        child.role, child.part, child.layer, place.base_layer, child, other, numbers, beside,
        ours, theirs,
    )  # fmt: skip


def _rows(child: Matrix, base: Matrix, count: int, alignment: Alignment) -> tuple[Indices, Indices]:
    """Return which rows of both to read."""
    if child.role in BY_TOKEN:
        return _token_rows(child, base, count, alignment)
    ours = np.arange(min(count, child.shape[0]), dtype=np.intp)
    theirs = ours
    neurons = _neurons(child, alignment)
    if child.role in INTO_NEURONS and neurons is not None:
        neurons = neurons[: len(ours)]
        kept = neurons >= 0
        ours, theirs = ours[: len(neurons)][kept], neurons[kept]
    elif alignment.hidden is not None and child.role in _INTO_HIDDEN:
        theirs = alignment.hidden[: len(ours)]
    inside = theirs < base.shape[0]
    return ours[inside], theirs[inside]


def _neurons(matrix: Matrix, alignment: Alignment) -> Indices | None:
    layer = matrix.layer
    return None if layer is None else alignment.neurons.get((layer, matrix.expert))


def _token_rows(
    child: Matrix, base: Matrix, count: int, alignment: Alignment
) -> tuple[Indices, Indices]:
    count = min(count, _TOKEN_ROWS)
    if alignment.tokens is not None:
        ours, theirs = alignment.tokens
        start = min(FIRST_TOKEN, max(len(ours) - count, 0))
        part = slice(start, start + count)
        inside = (ours[part] < child.shape[0]) & (theirs[part] < base.shape[0])
        order = np.argsort(ours[part][inside], kind="stable")
        return ours[part][inside][order], theirs[part][inside][order]
    size = min(child.shape[0], base.shape[0])
    start = min(FIRST_TOKEN, max(size - count, 0))
    same = np.arange(start, min(start + count, size), dtype=np.intp)
    return same, same


def gathered(matrix: Matrix, rows: Indices) -> Floats:
    """Read rows in any order, with one ranged read for each run of rows that lie together."""
    if not len(rows):
        return np.empty((0, *matrix.shape[1:]), np.float32)
    if np.all(np.diff(rows) == 1):
        return matrix.rows(int(rows[0]), len(rows))
    order = np.argsort(rows, kind="stable")
    pieces = [matrix.rows(first, count) for first, count in _runs(rows[order])]
    together = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    distinct, places = np.unique(rows, return_inverse=True)
    starts = np.concatenate([np.arange(a, a + n) for a, n in _runs(rows[order])])
    return together[np.searchsorted(starts, distinct)][places]


def _runs(rows: Indices, gap: int = 8) -> Iterable[tuple[int, int]]:
    """Join sorted rows that lie at most `gap` apart: (first, count)."""
    breaks = np.flatnonzero(np.diff(rows) > gap) + 1
    for part in np.split(rows, breaks):
        yield int(part[0]), int(part[-1] - part[0]) + 1


def _columns(beside: Floats, child: Matrix, alignment: Alignment) -> Floats:
    """Bring the base's columns into the child's order."""
    neurons = _neurons(child, alignment)
    if child.role in FROM_NEURONS and neurons is not None:
        if len(neurons) == child.shape[1] and np.all(neurons >= 0):
            return beside[:, neurons]
        return beside if len(neurons) == beside.shape[1] == child.shape[1] else beside[:, :0]
    hidden = alignment.hidden
    if hidden is not None and child.role not in WRITING and beside.shape[1] == len(hidden):
        return beside[:, hidden]
    return beside


def _gain(base: Weights, role: str, layer: int | None, width: int) -> Floats:
    """Return the norm that is folded into a matrix, ones where there is none."""
    norm = NORM_BEFORE.get(role)
    found = base.matrix(norm, None if role == "output_head" else layer) if norm else None
    gain = found.whole() if found is not None else None
    return gain if gain is not None and gain.shape == (width,) else np.ones(width, np.float32)


def _vectors(place: _Place, alignment: Alignment) -> Pair | None:
    child, other = place.child, place.base
    ours, theirs = child.whole(), other.whole()
    by_hidden = child.role.startswith("norm.") or child.role in _INTO_HIDDEN
    if alignment.hidden is not None and by_hidden and theirs.shape == alignment.hidden.shape:
        theirs = theirs[alignment.hidden]
    neurons = _neurons(child, alignment)
    if child.role in INTO_NEURONS and neurons is not None and len(neurons) == len(ours):
        theirs = theirs[neurons] if np.all(neurons >= 0) else theirs
    if ours.shape != theirs.shape or ours.ndim != 1:
        return None
    every = np.arange(len(ours), dtype=np.intp)
    return Pair(
        child.role, child.part, child.layer, place.base_layer, child, other, ours, theirs,
        every, every,
    )  # fmt: skip
