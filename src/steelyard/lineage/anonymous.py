"""Place matrices without a name by what they hold: against a model whose names are known.

Exporters to ONNX keep the names of biases and norms and number the matrices, mostly turned. A
matrix belongs where its first rows fit the base's item by item, which chance does not do
(`fixed_points`); what fits nowhere stays unplaced, with the best bound that was reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from steelyard.lineage.fixed_points import Agreement, agree, corrected
from steelyard.lineage.layouts import StoredMatrix
from steelyard.lineage.matching import same_index
from steelyard.lineage.matrix import Floats, Matrix, Sizes, Weights
from steelyard.lineage.views import View, turned

_ROWS: Final = 64
_SURE: Final = -6.0
_LARGEST: Final = 64_000_000
"""Bytes of the largest matrix that is turned to be compared."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One matrix of the child, and where it belongs."""

    tensor: str
    base: str | None
    """The base's tensor; None where none fits."""
    log10_p: float
    """Corrected for the number of tensors that it was compared with; 0 if with none."""
    agreement: Agreement


class Placed:
    """A model whose anonymous matrices have the roles of the base's that they match."""

    def __init__(
        self, weights: Weights, extra: Sequence[Matrix], placements: Sequence[Placement]
    ) -> None:
        self._weights = weights
        self._extra = {(m.role, m.layer, m.expert, m.part): m for m in extra}
        self.placements = tuple(placements)
        self.name, self.format = weights.name, weights.format
        self.layers = weights.layers

    @property
    def sizes(self) -> Sizes:
        """Return the model's sizes, the feed-forward width among them once it is placed."""
        sizes = self._weights.sizes
        up = next((m for m in self._extra.values() if m.role == "mlp.up"), None)
        if sizes.feed_forward is None and up is not None:
            return replace(sizes, feed_forward=up.shape[0])
        return sizes

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
        return tuple(
            sorted(
                (*self._weights.matrices(), *self._extra.values()),
                key=lambda m: (-1 if m.layer is None else m.layer, m.role, m.expert or 0, m.part),
            )
        )

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return the matrices that were not placed."""
        placed = {m.tensor for m in self._extra.values()}
        return tuple(m for m in self._weights.unnamed() if m.tensor not in placed)

    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row of the embedding."""
        return self._weights.tokens()

    @property
    def bytes_read(self) -> int:
        """Count the bytes fetched so far."""
        return self._weights.bytes_read

    @property
    def requests(self) -> int:
        """Count the ranged reads made so far."""
        return self._weights.requests


def place(child: Weights, base: Weights) -> Placed:
    """Give the child's anonymous matrices the roles of the base's matrices that they match.

    The base's own anonymous matrices are candidates too; what matches one has its role.
    """
    taken = {(m.role, m.layer, m.expert, m.part) for m in child.matrices()}
    free = [
        matrix
        for matrix in (*base.matrices(), *base.unnamed())
        if len(matrix.shape) == 2
        and matrix.part == "weight"
        and (matrix.role, matrix.layer, matrix.expert, matrix.part) not in taken
    ]
    extra: list[Matrix] = []
    placements: list[Placement] = []
    pool = _Pool(free)
    for matrix in child.unnamed():
        fit = pool.best(matrix)
        placements.append(fit[0])
        if fit[1] is not None and fit[2] is not None:
            target = fit[1]
            extra.append(_placed(matrix, target, fit[2], child.layers, base.layers))
            pool.drop(target)
    return Placed(child, [m for m in extra if m is not None], placements)


class _Pool:
    """The base's matrices that are still free, with the rows that were read of them."""

    def __init__(self, free: Iterable[Matrix]) -> None:
        self._by_shape: dict[frozenset[int], list[Matrix]] = {}
        for matrix in free:
            self._by_shape.setdefault(frozenset(matrix.shape), []).append(matrix)
        self._heads: dict[tuple[str, str, bool], Floats] = {}

    def drop(self, matrix: Matrix) -> None:
        self._by_shape[frozenset(matrix.shape)].remove(matrix)

    def best(self, matrix: Matrix) -> tuple[Placement, Matrix | None, bool | None]:
        """Find what a matrix fits, as it lies (False) or turned (True)."""
        ours = matrix.rows(0, _ROWS)
        tried = list(self._candidates(matrix))
        found: tuple[Agreement, Matrix, bool] | None = None
        nearest = (False, 0.0)
        for other, turn in tried:
            head = self._head(other, turn)
            agreement = agree(ours, head)
            # What a neuron reads and what it writes are alike too: the nearest of those is it.
            sure = corrected(agreement.log10_p, len(tried)) <= _SURE
            near = (sure, same_index(ours, head) if sure else -agreement.log10_p)
            if found is None or near > nearest:
                found, nearest = (agreement, other, turn), near
        if found is None:
            return Placement(matrix.tensor, None, 0.0, agree(ours[:0], ours[:0])), None, None
        log10_p = corrected(found[0].log10_p, len(tried))
        if log10_p > _SURE:
            return Placement(matrix.tensor, None, log10_p, found[0]), None, None
        return Placement(matrix.tensor, found[1].tensor, log10_p, found[0]), found[1], found[2]

    def _candidates(self, matrix: Matrix) -> Iterator[tuple[Matrix, bool]]:
        for other in self._by_shape.get(frozenset(matrix.shape), ()):
            if other.shape == matrix.shape:
                yield other, False
            if other.shape == matrix.shape[::-1] and other.nbytes <= _LARGEST:
                yield other, True

    def _head(self, matrix: Matrix, turn: bool) -> Floats:
        key = (matrix.tensor, matrix.role, turn)
        if key not in self._heads:
            rows = matrix.whole()[:, :_ROWS].T if turn else matrix.rows(0, _ROWS)
            self._heads[key] = np.ascontiguousarray(rows)
        return self._heads[key]


def _placed(
    matrix: Matrix,
    target: Matrix,
    turn: bool,
    layers: Sequence[str],
    base_layers: Sequence[str],
) -> StoredMatrix:
    """Give a matrix the target's role; its layer keeps its place where both models have as many."""
    view = View(matrix.shape, matrix.rows, matrix.nbytes)
    layer = target.layer
    if layer is not None and len(layers) != len(base_layers):
        names: Mapping[str, int] = {name: at for at, name in enumerate(layers)}
        layer = names.get(base_layers[layer], layer if layer < len(layers) else None)
    return StoredMatrix(
        target.role, target.part, layer, target.expert, turned(view) if turn else view,
        matrix.dtype, matrix.scheme, matrix.tensor,
    )  # fmt: skip
