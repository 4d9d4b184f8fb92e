"""Place matrices without a name by what they hold: against a model whose names are known.

Exporters to ONNX keep the names of biases and norms and number the matrices, mostly turned; others
rename every tensor. A matrix belongs where its first rows fit the base's item by item, which
chance does not do (`fixed_points`); what fits nowhere stays unplaced, with the best bound that was
reached. Vectors are then given the roles of those that they equal or follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Final

from steelyard.lineage.aligning.alignment import ROWS, spread
from steelyard.lineage.matrix import Matrix, Sizes, Weights, cost_of_rows
from steelyard.lineage.reading.stored import (
    Key,
    StoredMatrix,
    WithVectors,
    in_order,
    key_of,
    norm_of,
    view_of,
)
from steelyard.lineage.reading.views import cut, turned
from steelyard.lineage.reading.wrapping import Wrapper
from steelyard.lineage.relating.fixed_points import Agreement
from steelyard.lineage.relating.placing import Fit, Pool, follow
from steelyard.lineage.roles import BY_TOKEN

BUDGET: Final = 32_000_000
"""Most bytes that are read to place matrices, of both models together, unless told otherwise."""
_OUTSIDE: Final = 2
"""Largest matrices without a name that are looked at whatever it costs: embedding and head."""
_MOST_VECTORS: Final = 8192
_MOST_PAIRS: Final = 120_000
"""Pairs of matrices alike in shape that are tried, as many as two Llamas of 80 layers have: their
number, not their size, is what a file of many small ones costs."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One matrix of the child, and where it belongs."""

    tensor: str
    base: str | None
    """The base's tensor; None where none fits."""
    log10_p: float
    """Corrected for the number of tensors that it was compared with; 0 if with none."""
    agreement: Agreement


class Placed(Wrapper):
    """A model whose anonymous matrices have the roles of the base's that they match."""

    def __init__(
        self,
        weights: Weights,
        extra: Sequence[Matrix],
        placements: Sequence[Placement],
        layers: Sequence[str],
    ) -> None:
        super().__init__(weights)
        self._extra = {key_of(matrix): matrix for matrix in extra}
        self.placements = tuple(placements)
        self.layers = tuple(layers)

    @property
    def sizes(self) -> Sizes:
        """Return the model's sizes, those that only placed matrices show among them."""
        sizes = self._weights.sizes
        up, embedding = self._extra_of("mlp.up"), self._extra_of("embedding")
        if sizes.feed_forward is None and up is not None:
            sizes = replace(sizes, feed_forward=up.shape[0])
        if sizes.hidden is None and embedding is not None:
            sizes = replace(sizes, hidden=embedding.shape[1], vocabulary=embedding.shape[0])
        if sizes.norm is None:
            parts = {part for role, _, _, part in self._extra if role.startswith("norm.")}
            sizes = replace(sizes, norm=norm_of(parts))
        return replace(sizes, layers=len(self.layers))

    def _extra_of(self, role: str) -> Matrix | None:
        return next((m for m in self._extra.values() if m.role == role and len(m.shape) == 2), None)

    def matrix(
        self,
        role: str,
        layer: int | None = None,
        *,
        expert: int | None = None,
        part: str = "weight",
    ) -> Matrix | None:
        """Find a weight by its role; None if the model has none such."""
        placed = self._extra.get((role, layer, expert, part))
        return placed or self._weights.matrix(role, layer, expert=expert, part=part)

    def matrices(self) -> tuple[Matrix, ...]:
        """Return every weight with a role, those outside of blocks first, then layer by layer."""
        return in_order((*self._weights.matrices(), *self._extra.values()))

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return the matrices that were not placed."""
        return self._left(self._weights.unnamed())

    def vectors(self) -> tuple[Matrix, ...]:
        """Return the vectors that were not placed."""
        return self._left(super().vectors())

    def _left(self, matrices: Iterable[Matrix]) -> tuple[Matrix, ...]:
        placed = {matrix.tensor for matrix in self._extra.values()}
        return tuple(matrix for matrix in matrices if matrix.tensor not in placed)


def place_both(child: Weights, base: Weights, *, budget: int = BUDGET) -> tuple[Placed, Weights]:
    """Name the anonymous matrices of both models: first the base's, after the child's names.

    Which of two models has names must not change what is said of them.

    Returns:
        Child and base, for `relate_weights`; the placements are the child's.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    if base.unnamed() and child.matrices():
        base = place(base, child, budget=budget // 2, nameless=False)
    return place(child, base, budget=budget), base


def place(child: Weights, base: Weights, *, budget: int = BUDGET, nameless: bool = True) -> Placed:
    """Give the child's anonymous matrices the roles of the base's matrices that they match.

    Where the child has no layers by name, those of the base that its matrices match are its layers.

    Args:
        child: The model whose matrices lack names.
        base: The model whose names are taken.
        budget: Most bytes to read of both. Where fewer rows of each matrix do not suffice to keep
            it, matrices are left out, evenly.
        nameless: Whether the base's own anonymous matrices are candidates; what matches one has
            its role.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    unknown = tuple(matrix for matrix in child.unnamed() if len(matrix.shape) == 2)
    if not unknown:
        return Placed(child, (), (), child.layers)
    taken = {key_of(matrix) for matrix in child.matrices()}
    free = [
        matrix
        for matrix in (*base.matrices(), *(base.unnamed() if nameless else ()))
        if matrix.part == "weight" and len(matrix.shape) == 2 and key_of(matrix) not in taken
    ]
    tried, known, rows = _affordable(unknown, free, budget)
    pool = Pool(known, rows)
    placements: list[Placement] = []
    fits: list[tuple[Matrix, Fit]] = []
    for matrix in tried:
        fit = pool.best(matrix)
        name = fit.targets[0].tensor if fit.targets else None
        placements.append(Placement(matrix.tensor, name, fit.log10_p, fit.agreement))
        if fit.targets:
            fits.append((matrix, fit))
            pool.drop(fit)
    titles, places = _layers(child, base, [t for _, fit in fits for t in fit.targets])
    extra = [made for matrix, fit in fits for made in _placed(matrix, fit, places)]
    if fits:
        extra += _vectors(child, base, taken, places)
    return Placed(child, extra, placements, titles)


def _affordable(
    nameless: Sequence[Matrix], free: Sequence[Matrix], budget: int
) -> tuple[Sequence[Matrix], Sequence[Matrix], int]:
    """Choose how many rows to compare, and of which matrices: all of them if possible."""
    shapes = {tuple(matrix.shape) for matrix in nameless}
    free = [m for m in free if _reads(m, shapes) or m.layer is not None or _tall(m)]
    nameless, free = _few(nameless, free)
    # The fewest, sixteen that fit, cannot be chance: 16! is 2e13.
    for rows in ROWS:
        ours = sum(cost_of_rows(m, rows) for m in nameless)
        if ours + sum(cost_of_rows(m, rows) for m in free if _reads(m, shapes)) <= budget:
            return nameless, free, rows
    rows = ROWS[-1]
    largest = sorted(nameless, key=lambda m: -prod(m.shape))[:_OUTSIDE]
    tried = _some(nameless, largest, rows, budget // 2)
    return tried, _some(free, [m for m in free if _tall(m)], rows, budget // 2), rows


def _few(
    nameless: Sequence[Matrix], free: Sequence[Matrix]
) -> tuple[Sequence[Matrix], Sequence[Matrix]]:
    """Leave matrices out of both, evenly, where more pairs are alike in shape than can be tried."""
    there = Counter(tuple(sorted(matrix.shape)) for matrix in free)
    pairs = sum(there[tuple(sorted(matrix.shape))] for matrix in nameless)
    if pairs <= _MOST_PAIRS:
        return nameless, free
    share = sqrt(_MOST_PAIRS / pairs)
    kept = (
        [held[number] for number in sorted(spread(range(len(held)), int(len(held) * share) + 1))]
        for held in (nameless, free)
    )
    return next(kept), next(kept)


def _reads(matrix: Matrix, shapes: set[tuple[int, ...]]) -> bool:
    """Tell whether a matrix of the base has the shape of one without a name, turned or not."""
    shape = tuple(matrix.shape)
    return shape in shapes or shape[::-1] in shapes


def _tall(matrix: Matrix) -> bool:
    return matrix.role in BY_TOKEN


def _some(
    matrices: Sequence[Matrix], kept: Sequence[Matrix], rows: int, budget: int
) -> list[Matrix]:
    """Take some matrices whatever they cost, and others while the budget lasts, evenly spread."""
    first = {id(matrix) for matrix in kept}
    others = [matrix for matrix in matrices if id(matrix) not in first]
    total = sum(cost_of_rows(matrix, rows) for matrix in others)
    share = 1.0 if total <= budget else budget / total
    picked = spread(range(len(others)), max(int(len(others) * share), 1))
    return [*kept, *(others[number] for number in sorted(picked))]


def _layers(
    child: Weights, base: Weights, targets: Sequence[Matrix]
) -> tuple[Sequence[str], Mapping[int, int]]:
    """Name the child's layers, and tell which of them each layer of the base is."""
    used = sorted({target.layer for target in targets if target.layer is not None})
    if not child.layers:
        return [base.layers[layer] for layer in used], {at: n for n, at in enumerate(used)}
    if len(child.layers) == len(base.layers):
        return child.layers, {layer: layer for layer in used}
    names = {name: at for at, name in enumerate(child.layers)}
    places = {
        layer: names.get(base.layers[layer], layer)
        for layer in used
        if base.layers[layer] in names or layer < len(child.layers)
    }
    return child.layers, places


def _placed(matrix: Matrix, fit: Fit, places: Mapping[int, int]) -> list[StoredMatrix]:
    """Give a matrix the role of what it fits: several roles where it holds several."""
    view = turned(view_of(matrix)) if fit.turn else view_of(matrix)
    made = []
    start = 0
    for target in fit.targets:
        rows = target.shape[0]
        part = view if len(fit.targets) == 1 else cut(view, start, rows)
        start += rows
        layer = None if target.layer is None else places.get(target.layer)
        if target.layer is None or layer is not None:
            made.append(
                StoredMatrix(
                    target.role, target.part, layer, target.expert, part,
                    matrix.dtype, matrix.scheme, matrix.tensor,
                )
            )  # fmt: skip
    return made


def _vectors(
    child: Weights,
    base: Weights,
    taken: set[Key],
    places: Mapping[int, int],
) -> list[StoredMatrix]:
    """Give vectors without a name the roles of the base's that they equal or follow."""
    ours = child.vectors() if isinstance(child, WithVectors) else ()
    theirs = [
        m
        for m in base.matrices()
        if len(m.shape) == 1
        and (m.layer is None or m.layer in places)
        and (m.role, None if m.layer is None else places[m.layer], m.expert, m.part) not in taken
    ]
    found = follow(ours[:_MOST_VECTORS], theirs[:_MOST_VECTORS])
    return [
        StoredMatrix(
            target.role, target.part, None if target.layer is None else places[target.layer],
            target.expert, view_of(vector), vector.dtype, vector.scheme, vector.tensor,
        )
        for vector, target in found
    ]  # fmt: skip
