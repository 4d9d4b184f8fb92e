"""Aligned samples of two models: the same rows of the same weights, side by side.

What is to be aligned (layers, neurons, tokens) was found before; whoever reads pairs need not know.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats, Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Rows of one weight of the child and the rows of the base that they come from."""

    role: str
    part: str
    layer: int | None
    """The child's layer."""
    base_layer: int | None
    child_matrix: Matrix
    base_matrix: Matrix
    child: Floats
    """m x n sampled rows, or (n,) for a vector."""
    base: Floats
    """The base's counterparts, of the same shape."""
    rows: NDArray[np.intp]
    """Which rows of the child's matrix were sampled; all of them for a vector."""
    base_rows: NDArray[np.intp]
    """The base's rows that stand beside them."""

    @property
    def delta(self) -> Floats:
        """Return child minus base; what is no number gives none."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.child - self.base

    @property
    def change(self) -> float:
        """Return `|child - base| / |base|` (0 for two zeros, infinity from zero)."""
        size = float(np.linalg.norm(self.base.astype(np.float64)))
        moved = float(np.linalg.norm(self.delta.astype(np.float64)))
        if size == 0:
            return 0.0 if moved == 0 else float("inf")
        return moved / size

    @property
    def is_full(self) -> bool:
        """Tell whether every row was sampled."""
        return len(self.rows) == self.child_matrix.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """All pairs of two models."""

    pairs: tuple[Pair, ...]

    def of(self, *roles: str, part: str = "weight") -> tuple[Pair, ...]:
        """Return the pairs with one of these roles."""
        return tuple(p for p in self.pairs if p.role in roles and p.part == part)

    @property
    def matrices(self) -> tuple[Pair, ...]:
        """Return the pairs that are matrices of layers: no norms, biases, embeddings, heads."""
        return tuple(p for p in self.pairs if p.layer is not None and p.child.ndim == 2)

    @property
    def vectors(self) -> tuple[Pair, ...]:
        """Return the pairs that are vectors: norms and biases."""
        return tuple(p for p in self.pairs if p.child.ndim == 1)
