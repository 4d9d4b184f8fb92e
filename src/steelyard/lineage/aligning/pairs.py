"""Aligned samples of two models: the same rows of the same weights, side by side.

What is to be aligned (layers, neurons, tokens) was found before; whoever reads pairs need not know.
What is asked of a pair again and again is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.floats import energy, finite, float_type, mantissa
from steelyard.lineage.matrix import Floats, Matrix, is_packed


@dataclass(frozen=True, eq=False)
class Stored:
    """Rows of one weight, as one of two models stores them."""

    numbers: Floats
    """m x n or (n,); zeros for what is not finite."""
    matrix: Matrix

    @cached_property
    def kind(self) -> str:
        """Return the narrowest type that holds the numbers, whatever they are stored as."""
        return float_type(self.numbers, self.matrix.dtype)

    @property
    def mantissa(self) -> int:
        """Return the bits after the leading one of that type."""
        return mantissa(self.kind)

    @property
    def is_packed(self) -> bool:
        """Tell whether a scheme packs the elements."""
        return is_packed(self.matrix)

    @cached_property
    def energy(self) -> float:
        """Return the sum of squares."""
        return energy(self.numbers)


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def ours(self) -> Stored:
        """Return the child's numbers."""
        return Stored(finite(self.child), self.child_matrix)

    @cached_property
    def theirs(self) -> Stored:
        """Return the base's numbers."""
        return Stored(finite(self.base), self.base_matrix)

    @property
    def delta(self) -> Floats:
        """Return child minus base; 0 where either is no number."""
        with np.errstate(over="ignore", invalid="ignore"):
            return finite(self.child - self.base)

    @cached_property
    def moved(self) -> float:
        """Return the sum of squares of the difference."""
        return energy(self.delta)

    @cached_property
    def is_finite(self) -> bool:
        """Tell whether all is finite, differences too."""
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(self.child - self.base).all())

    @property
    def change(self) -> float:
        """Return `|child - base| / |base|`: 0 for two zeros, infinity from zero, NaN for NaN."""
        if not self.is_finite:
            return float("nan")
        if self.theirs.energy == 0:
            return 0.0 if self.moved == 0 else float("inf")
        return float((self.moved / self.theirs.energy) ** 0.5)

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


def relative(pairs: Sequence[Pair]) -> float | None:
    """Return `|child - base| / |base|` over several pairs; None where that is no number."""
    size = sum(pair.theirs.energy for pair in pairs)
    if size <= 0 or not all(pair.is_finite for pair in pairs):
        return None
    return float((sum(pair.moved for pair in pairs) / size) ** 0.5)
