"""One weight of a model in files, and what it offers beyond a `Matrix`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, runtime_checkable

import numpy as np

from steelyard.lineage.matrix import Floats, Matrix
from steelyard.lineage.reading.views import View

Key = tuple[str, int | None, int | None, str]
"""What finds a weight: role, layer, expert, part."""
_Some = TypeVar("_Some", bound=Matrix)
_LARGEST: Final = np.float32(1e12)
"""Sums of squares of as many numbers as a model has stay within float32."""


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """One weight of a model in files; see `Matrix`."""

    role: str
    part: str
    layer: int | None
    expert: int | None
    view: View
    dtype: str
    scheme: str
    tensor: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(outputs, inputs), or (n,)."""
        return self.view.shape

    @property
    def nbytes(self) -> int:
        """Bytes that `whole` reads."""
        return self.view.nbytes

    def rows(self, first: int, count: int) -> Floats:
        """Return rows `first` to `first + count`, clipped; a vector whole."""
        if len(self.view.shape) < 2:
            return _sane(self.view.read(0, self.view.shape[0]))
        first = min(max(first, 0), self.view.shape[0])
        count = min(max(count, 0), self.view.shape[0] - first)
        if count == 0 or self.view.shape[1] == 0:
            return np.empty((count, self.view.shape[1]), np.float32)
        return _sane(self.view.read(first, count))

    def whole(self) -> Floats:
        """Return all of it."""
        return self.rows(0, self.view.shape[0])

    def columns(self, first: int, count: int) -> Floats:
        """Return columns of a matrix: outputs x `count`, clipped; cheap where the layout allows."""
        first = min(max(first, 0), self.view.shape[1])
        count = min(max(count, 0), self.view.shape[1] - first)
        if self.view.columns is not None:
            return _sane(self.view.columns(first, count))
        return np.ascontiguousarray(self.whole()[:, first : first + count])

    @property
    def has_columns(self) -> bool:
        """Tell whether few columns take fewer bytes than the whole."""
        return self.view.columns is not None


def _sane(values: Floats) -> Floats:
    """Take numbers that no weight can be for infinite: their squares overflow.

    Every NaN becomes the same quiet one, as others set off warnings wherever they are met.
    """
    none = np.isnan(values)
    beyond = np.abs(values) > _LARGEST
    if none.any() or beyond.any():
        infinite = np.copysign(np.float32(np.inf), values)
        return np.where(none, np.float32(np.nan), np.where(beyond, infinite, values))
    return values


@runtime_checkable
class Columnar(Protocol):
    """A matrix whose columns may be read without the rest."""

    @property
    def has_columns(self) -> bool:
        """Tell whether few columns take fewer bytes than the whole."""

    def columns(self, first: int, count: int) -> Floats:
        """Return columns `first` to `first + count`, clipped: outputs x columns."""


@runtime_checkable
class WithVectors(Protocol):
    """A model some of whose vectors have names that say nothing."""

    def vectors(self) -> tuple[Matrix, ...]:
        """Return those vectors; their role is `tensor:` and the name."""


@runtime_checkable
class WithTokenizer(Protocol):
    """A model that can tell whether its tokenizer is another's before either is parsed."""

    def tokenizer(self) -> bytes | None:
        """Return the digest of the document that names the tokens; None where there is none."""


def key_of(matrix: Matrix) -> Key:
    """Return what finds a weight among those of its model."""
    return matrix.role, matrix.layer, matrix.expert, matrix.part


def in_order(matrices: Iterable[_Some]) -> tuple[_Some, ...]:
    """Sort weights as `Weights.matrices` has them: outside of blocks first, then by layer."""
    return tuple(
        sorted(
            matrices,
            key=lambda m: (-1 if m.layer is None else m.layer, m.role, m.expert or 0, m.part),
        )
    )


def norm_of(parts: Collection[str]) -> str | None:
    """Tell the kind of a model's norms by what is stored of them; None where nothing is."""
    return ("layer" if "bias" in parts else "rms") if parts else None


def view_of(matrix: Matrix) -> View:
    """View a matrix, so that it can be cut and turned."""
    columns = matrix.columns if isinstance(matrix, Columnar) and matrix.has_columns else None
    return View(matrix.shape, matrix.rows, matrix.nbytes, columns)
