"""The search behind `anonymous`: which of many matrices one is, turned or not, whole or in parts.

Candidates are screened by the rows of the same number alone; only the nearest are tested. A bound
that is corrected for all candidates holds for whichever of them is chosen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import FIRST_TOKEN, ROWS
from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.floats import finite, median
from steelyard.lineage.matrix import Floats, Matrix
from steelyard.lineage.relating.exchangeability import is_constant_basis
from steelyard.lineage.relating.fixed_points import NOTHING, SURE, Agreement, agree, corrected
from steelyard.lineage.relating.measured import DIMENSIONS
from steelyard.lineage.roles import BY_TOKEN

_NEAREST: Final = 4
"""Candidates that are tested."""
_SAME: Final = 0.9
"""Median |cosine| of rows above which no turned candidate is looked at."""
_JOINT: Final = (("attention.q", "attention.k", "attention.v"), ("mlp.gate", "mlp.up"))
"""What exporters keep in one matrix, in that order."""
_FOLLOWS: Final = 0.9
"""Least correlation of a vector with the one that it comes from."""
_LONGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Fit:
    """What a matrix fits."""

    targets: tuple[Matrix, ...]
    """The base's matrices, one after another if several; none where nothing fits."""
    turn: bool
    """Whether the matrix must be turned."""
    log10_p: float
    agreement: Agreement
    """Nothing for a table that a formula makes."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    targets: tuple[Matrix, ...]
    turn: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of a matrix that would hold them."""
        rows = sum(target.shape[0] for target in self.targets)
        columns = self.targets[0].shape[1]
        return (columns, rows) if self.turn else (rows, columns)

    @property
    def first(self) -> int:
        """Return the first row that is compared."""
        target = self.targets[0]
        tall = target.role in BY_TOKEN and not self.turn
        return min(FIRST_TOKEN, max(target.shape[0] - ROWS[0], 0)) if tall else 0


class Pool:
    """The base's matrices that are still free, with the rows that were read of them.

    Args:
        free: The matrices.
        rows: Rows of each that are compared.
    """

    def __init__(self, free: Iterable[Matrix], rows: int) -> None:
        self._rows = rows
        self._by_shape: dict[tuple[int, ...], list[_Candidate]] = defaultdict(list)
        self._heads: dict[tuple[str, str, int | None, bool], Floats] = {}
        blocks: dict[int, dict[str, Matrix]] = defaultdict(dict)
        for matrix in free:
            self._add((matrix,))
            if matrix.layer is not None and matrix.expert is None:
                blocks[matrix.layer][matrix.role] = matrix
        for block in blocks.values():
            for roles in _JOINT:
                held = tuple(block[role] for role in roles if role in block)
                if len(held) == len(roles) and len({m.shape[1] for m in held}) == 1:
                    self._add(held)

    def _add(self, targets: tuple[Matrix, ...]) -> None:
        for turn in (False, True):
            candidate = _Candidate(targets, turn)
            self._by_shape[candidate.shape].append(candidate)

    def drop(self, fit: Fit) -> None:
        """Take out what was matched."""
        gone = {id(target) for target in fit.targets}
        for held in self._by_shape.values():
            held[:] = [c for c in held if not any(id(target) in gone for target in c.targets)]

    def best(self, matrix: Matrix) -> Fit:
        """Find what a matrix fits."""
        fitting = [*self._by_shape.get(tuple(matrix.shape), ()), *self._longer(matrix)]
        nothing = Fit((), turn=False, log10_p=0.0, agreement=NOTHING)
        found, nearest = nothing, (False, 0.0)
        for turn in (False, True):
            some = [candidate for candidate in fitting if candidate.turn is turn]
            for alike, candidate, ours in self._screened(matrix, some):
                head = self._head(candidate)
                agreement = agree(ours[:, : head.shape[1]], head)
                log10_p = corrected(agreement.log10_p, len(fitting))
                # What a neuron reads and what it writes are alike too: the nearest of those it is.
                near = (log10_p <= SURE, alike if log10_p <= SURE else -log10_p)
                if near > nearest or found is nothing:
                    found = Fit(candidate.targets, turn, log10_p, agreement)
                    nearest = near
            if nearest[0] and nearest[1] > _SAME:
                break
        if found.log10_p > SURE or not self._holds(matrix, found):
            return Fit((), turn=False, log10_p=found.log10_p, agreement=found.agreement)
        if found.targets[0].layer is None and is_constant_basis(self._ours(matrix, 0)):
            # It is the same table, and has that table's place; whose it is, nobody can tell.
            return replace(found, log10_p=0.0, agreement=NOTHING)
        return found

    def _longer(self, matrix: Matrix) -> list[_Candidate]:
        """Return embeddings of as many dimensions with somewhat more or fewer tokens."""
        rows, columns = matrix.shape
        return [
            candidate
            for (height, width), held in self._by_shape.items()
            if width == columns and height != rows and 0.5 < height / max(rows, 1) < 2
            for candidate in held
            if not candidate.turn and candidate.targets[0].role in BY_TOKEN
        ]

    def _screened(
        self, matrix: Matrix, candidates: Sequence[_Candidate]
    ) -> list[tuple[float, _Candidate, Floats]]:
        """Return the nearest candidates by rows of the same number, and our rows beside."""
        ours = {first: self._ours(matrix, first) for first in {c.first for c in candidates}}
        units: dict[tuple[int, int], Floats] = {}
        near = []
        for number, candidate in enumerate(candidates):
            head = self._head(candidate)
            key = (candidate.first, head.shape[1])
            if key not in units:
                units[key] = unit(ours[key[0]][:, : key[1]])
            near.append((_same(units[key], head), number))
        near.sort(key=lambda item: (-item[0], item[1]))
        return [
            (alike, candidates[number], ours[candidates[number].first])
            for alike, number in near[:_NEAREST]
        ]

    def _ours(self, matrix: Matrix, first: int) -> Floats:
        return np.ascontiguousarray(matrix.rows(first, self._rows)[:, :DIMENSIONS])

    def _head(self, candidate: _Candidate) -> Floats:
        """Return the first rows of what a candidate is, each of length one."""
        matrix = candidate.targets[0]
        key = (matrix.tensor, matrix.role, matrix.expert, candidate.turn)
        if key not in self._heads:
            rows = matrix.rows(candidate.first, self._rows)
            # A corner tells enough of what is turned, and it has been read already.
            rows = rows[:, : self._rows].T if candidate.turn else rows[:, :DIMENSIONS]
            self._heads[key] = unit(np.ascontiguousarray(rows))
        return self._heads[key]

    def _holds(self, matrix: Matrix, fit: Fit) -> bool:
        """Tell whether the further parts of a joint matrix fit as well."""
        start = 0
        for target in fit.targets:
            if start > 0:
                theirs = target.rows(0, self._rows)
                if fit.turn:
                    ours = matrix.rows(0, self._rows)[:, start : start + self._rows].T
                else:
                    ours = matrix.rows(start, self._rows)
                width = min(ours.shape[1], DIMENSIONS)
                if agree(ours[:, :width], theirs[:, :width]).log10_p > SURE:
                    return False
            start += target.shape[0]
        return True


def _same(ours: Floats, theirs: Floats) -> float:
    """Return the median |cosine| of unit rows with the same number."""
    count = min(len(ours), len(theirs))
    if not count or ours.shape[1] != theirs.shape[1]:
        return 0.0
    products = np.einsum("ij,ij->i", ours[:count], theirs[:count])
    return median(np.abs(products))


def follow(ours: Sequence[Matrix], theirs: Sequence[Matrix]) -> list[tuple[Matrix, Matrix]]:
    """Pair vectors that are equal, then those that correlate most; each is taken once.

    This gives names, not evidence: norms of independent layers may be much alike.
    """
    sizes = {m.shape[0] for m in ours} & {m.shape[0] for m in theirs}
    found: list[tuple[Matrix, Matrix]] = []
    for size in sorted(size for size in sizes if size <= _LONGEST):
        mine = [(m, m.whole()) for m in ours if m.shape[0] == size]
        others = [(m, m.whole()) for m in theirs if m.shape[0] == size]
        found += _equal(mine, others)
        done = {id(m) for pair in found for m in pair}
        found += _alike(
            [item for item in mine if id(item[0]) not in done],
            [item for item in others if id(item[0]) not in done],
        )
    return found


_Read = tuple[Matrix, Floats]


def _equal(ours: Sequence[_Read], theirs: Sequence[_Read]) -> list[tuple[Matrix, Matrix]]:
    places: dict[bytes, list[Matrix]] = {}
    for matrix, values in theirs:
        places.setdefault(values.tobytes(), []).append(matrix)
    found = []
    for matrix, values in ours:
        same = places.get(values.tobytes())
        if same:
            found.append((matrix, same.pop(0)))
    return found


def _alike(ours: Sequence[_Read], theirs: Sequence[_Read]) -> list[tuple[Matrix, Matrix]]:
    if not ours or not theirs:
        return []
    mine, others = (
        unit(_centered(np.stack([values for _, values in items]))) for items in (ours, theirs)
    )
    alike = mine @ others.T
    found = []
    for flat in np.argsort(-alike, axis=None, kind="stable"):
        at, other = divmod(int(flat), len(theirs))
        if alike[at, other] >= _FOLLOWS:
            found.append((ours[at][0], theirs[other][0]))
            alike[at], alike[:, other] = -1, -1
    return found


def _centered(rows: Floats) -> Floats:
    clean = finite(rows)
    result: Floats = clean - clean.mean(axis=1, keepdims=True)
    return result
