"""Read every row once: what one step of a comparison read, the next need not fetch again."""

from __future__ import annotations

from dataclasses import dataclass, field

from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.reading.stored import Columnar
from steelyard.lineage.reading.wrapping import Wrapper

_LARGEST_KEPT = 32_000_000
"""Bytes of the largest piece that is kept."""


_Key = tuple[str, str, str, int | None, bool]
"""Tensor, role, part, expert, and whether the piece holds columns."""


@dataclass(slots=True)
class _Shelf:
    """Pieces by tensor and rows, up to a number of bytes; the first to come stay."""

    room: int
    pieces: dict[_Key, list[tuple[int, int, Floats]]] = field(default_factory=dict)

    def find(self, key: _Key, first: int, last: int) -> tuple[int, Floats] | None:
        """Return where a piece that holds the rows starts, and the piece."""
        for start, stop, piece in self.pieces.get(key, ()):
            if start <= first and last <= stop:
                return start, piece
        return None

    def put(self, key: _Key, first: int, last: int, piece: Floats) -> None:
        if piece.nbytes <= min(self.room, _LARGEST_KEPT):
            self.room -= piece.nbytes
            self.pieces.setdefault(key, []).append((first, last, piece))


class _Remembered:
    """A matrix that keeps what was read of it."""

    def __init__(self, matrix: Matrix, shelf: _Shelf) -> None:
        self._matrix, self._shelf = matrix, shelf
        self.role, self.part = matrix.role, matrix.part
        self.layer, self.expert = matrix.layer, matrix.expert
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self.scheme, self.tensor = matrix.scheme, matrix.tensor

    @property
    def nbytes(self) -> int:
        return self._matrix.nbytes

    def rows(self, first: int, count: int) -> Floats:
        """Return the rows, from memory if they lie within a piece that was read before."""
        is_matrix = len(self.shape) == 2
        size = self.shape[0] if self.shape else 1
        first, last = (first, min(first + count, size)) if is_matrix else (0, size)
        # A fused tensor holds several matrices, which share its name.
        key = (self.tensor, self.role, self.part, self.expert, False)
        kept = self._shelf.find(key, first, last)
        if kept is not None:
            start, piece = kept
            return piece[first - start : last - start] if is_matrix else piece
        piece = self._matrix.rows(first, count)
        self._shelf.put(key, first, last, piece)
        return piece

    def whole(self) -> Floats:
        return self.rows(0, self.shape[0] if self.shape else 1)

    @property
    def has_columns(self) -> bool:
        """Tell whether few columns take fewer bytes than the whole."""
        return isinstance(self._matrix, Columnar) and self._matrix.has_columns

    def columns(self, first: int, count: int) -> Floats:
        """Return the columns, from memory if they lie within a piece that was read before."""
        last = min(first + count, self.shape[1])
        key = (self.tensor, self.role, self.part, self.expert, True)
        kept = self._shelf.find(key, first, last)
        if kept is not None:
            start, piece = kept
            return piece[:, first - start : last - start]
        if isinstance(self._matrix, Columnar):
            piece = self._matrix.columns(first, count)
        else:
            piece = self.whole()[:, first:last]
        self._shelf.put(key, first, last, piece)
        return piece


class Remembering(Wrapper):
    """A model that keeps rows that were read, up to `room` bytes.

    Law: it gives what the model gives, and `bytes_read` never grows for rows that are kept.
    """

    def __init__(self, weights: Weights, *, room: int = 256_000_000) -> None:
        super().__init__(weights)
        self._shelf = _Shelf(room)

    def matrix(
        self,
        role: str,
        layer: int | None = None,
        *,
        expert: int | None = None,
        part: str = "weight",
    ) -> Matrix | None:
        """Find a weight by its role; None if the model has none such."""
        found = self._weights.matrix(role, layer, expert=expert, part=part)
        return None if found is None else self._wrap(found)

    def matrices(self) -> tuple[Matrix, ...]:
        """Return every weight with a role."""
        return tuple(self._wrap(item) for item in self._weights.matrices())

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return matrices whose name says nothing."""
        return tuple(self._wrap(item) for item in self._weights.unnamed())

    def vectors(self) -> tuple[Matrix, ...]:
        """Return vectors whose name says nothing."""
        return tuple(self._wrap(item) for item in super().vectors())

    def _wrap(self, matrix: Matrix) -> Matrix:
        return _Remembered(matrix, self._shelf)
