"""What is left of a change once rounding is taken out of it, weight by weight.

A float that was rounded to another type is known to the last bit: any other number was edited. A
quantized number is known up to a step, so that an edit shows as singular values above those of the
noise (`noise`), and in what quantizers leave alone: norms and biases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.alignment import spread
from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.noise import noise_of
from steelyard.lineage.edits.spectra import MARGIN, Spectrum, spectrum
from steelyard.lineage.floats import energy, ratio, rounded, ulps
from steelyard.lineage.matrix import Matrix

_SLACK: Final = 2e-6
"""Relative difference that float32 arithmetic leaves: scaling, shifting a norm by one and back."""
_STRAY: Final = 1e-3
"""Share of numbers that may differ without a word: a tool that rounds ties otherwise."""
_HALF_STEP: Final = 0.505
"""Steps that rounding to the nearest may move a number, and a little for float32."""
_LAYERS_OF_ROLE: Final = 4
"""Layers of each role whose spectrum is looked at."""
_EXCESS: Final = 1.3
"""How far beyond drawn noise the change of a quantized matrix must reach to count as an edit."""
_LEFT: Final = 0.05
"""Share of the energy of an estimated change that its estimate may miss: what else was done shows
in matrices from which nothing was removed."""
_ROUNDED: Final = 1.5
"""What is left of a change beside rounding, in units of the rounding."""
_WIDE: Final = 4.0
"""Rows and columns that a direction must spread over: rounding of outliers stays in few."""
_FAR_OFF: Final = 10.0
"""Factor beyond which an estimate of the steps is not mended but wrong."""
_DEEP_ROWS: Final = 512
"""Rows among which an update of low rank stands out of the noise of four bits."""
_DEEP_LAYERS: Final = 2
_TAIL: Final = 1.6
"""Mean square of the bulk, in units of the noise, up to which nothing but noise is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One pair, and what rounding does not explain of it."""

    pair: Pair
    quantized: bool
    """Whether either of the two is quantized."""
    exact: bool
    """Whether rounding is known to the last bit."""
    variance: float
    """Mean square of what rounding does."""
    share: float
    """Numbers that moved by more than rounding."""
    spectrum: Spectrum | None = None

    @property
    def moved(self) -> bool:
        """Tell whether the numbers were edited, as far as numbers alone can show it."""
        if not self.quantized:
            return self.share > _STRAY
        if self.spectrum is None:
            return False
        found = self.spectrum
        return found.rank > 0 and found.excess > _EXCESS and found.wide > _WIDE

    @property
    def low_rank(self) -> int | None:
        """Return the rank of the change; None if it has none that the rows show."""
        found = self.spectrum
        if found is None or found.rank == 0 or found.rank > min(self.pair.child.shape) // 2:
            return None
        return found.rank if found.tail < _TAIL else None

    @property
    def energy(self) -> float:
        """Return the sum of squares of the change, rounding taken out."""
        rounding = self.variance * self.pair.child.size if self.quantized else 0.0
        return max(self.pair.moved - rounding, 0.0)


def look(sample: Sample, grids: Grids) -> tuple[Seen, ...]:
    """Look at every pair; at the spectrum of a few of each role.

    Args:
        sample: Aligned rows.
        grids: What was found in pairs of the same models; it learns more.
    """
    pairs = [pair for pair in sample.pairs if pair.child.size]
    few = spread(sorted({pair.layer for pair in pairs if pair.layer is not None}), _LAYERS_OF_ROLE)
    order = sorted(range(len(pairs)), key=lambda number: pairs[number].layer not in few)
    looked = {number: _look(pairs[number], grids) for number in order}
    seen = [looked[number] for number in range(len(pairs))]
    chosen = _chosen(seen)
    return tuple(
        replace(item, spectrum=_spectrum(item.pair, grids)) if number in chosen else item
        for number, item in enumerate(seen)
    )


def _look(pair: Pair, grids: Grids) -> Seen:
    if np.array_equal(pair.child, pair.base):
        return Seen(pair, quantized=False, exact=True, variance=0.0, share=0.0)
    rounding = _only_rounded(pair)
    if rounding is not None:
        return Seen(pair, quantized=False, exact=True, variance=rounding, share=0.0)
    noise = noise_of(pair, grids=grids)
    if noise.quantized and pair.child.ndim == 2:
        off = np.abs(pair.delta) > noise.steps
    else:
        off = _off(pair)
    return Seen(pair, noise.quantized, noise.exact, noise.variance, float(np.mean(off)))


def _only_rounded(pair: Pair) -> float | None:
    """Return the mean square of rounding if the child is the base in a narrower type, else None."""
    kind = pair.ours.kind
    if kind == "F32" or not np.array_equal(rounded(pair.theirs.numbers, kind), pair.child):
        return None
    return pair.moved / pair.child.size


def _off(pair: Pair) -> NDArray[np.bool_]:
    """Tell which numbers are not the base's, rounded to the type that holds the child's."""
    child, base, kind = pair.ours.numbers, pair.theirs.numbers, pair.ours.kind
    slack = _SLACK * (np.abs(base) + (pair.child.ndim == 1))
    off: NDArray[np.bool_] = np.abs(child - rounded(base, kind)) > slack
    if not off.any():
        return off
    if pair.theirs.mantissa < pair.ours.mantissa:
        # The base is the coarser copy: what its own rounding may have moved is no edit.
        off &= np.abs(child - base) > _HALF_STEP * ulps(base, pair.theirs.kind)
    if kind != "F32":
        cut = (np.abs(child) <= np.abs(base)) & (
            np.abs(child - base) <= 2 * _HALF_STEP * ulps(base, kind)
        )
        if cut.all():
            off[:] = False  # cut off, not rounded
    return off


def _chosen(seen: Sequence[Seen]) -> frozenset[int]:
    """Choose whose spectrum to look at: of each role a few layers, those that changed first."""
    by_role: dict[str, list[int]] = {}
    for number, item in enumerate(seen):
        is_matrix = item.pair.child.ndim == 2 and min(item.pair.child.shape) > 1
        if is_matrix and (item.quantized or item.share > _STRAY):
            by_role.setdefault(item.pair.role, []).append(number)
    found: set[int] = set()
    for numbers in by_role.values():
        found |= spread(numbers, _LAYERS_OF_ROLE)
    return frozenset(found)


def _spectrum(pair: Pair, grids: Grids) -> Spectrum:
    noise = noise_of(pair, grids=grids)
    delta = pair.delta.astype(np.float64)
    found = spectrum(delta, noise.steps)
    alone = noise_of(pair, of_base=False, grids=grids)
    if not np.array_equal(alone.steps, noise.steps):
        # Whether the base's own rounding is a part of the change shows in its bulk.
        other = spectrum(delta, alone.steps)
        if _unlike_noise(other) < _unlike_noise(found):
            noise, found = alone, other
    if noise.quantized and not noise.known and found.rank <= len(delta) // 2:
        return _rescaled(found, delta.shape)
    return found


def _unlike_noise(found: Spectrum) -> float:
    """Return how far the bulk is from the noise that was expected, in any direction."""
    return abs(float(np.log(found.tail))) if 0 < found.tail < np.inf else np.inf


def _rescaled(found: Spectrum, shape: tuple[int, ...]) -> Spectrum:
    """Measure the noise by the bulk of the change, where its steps are but an estimate."""
    scale = sqrt(found.tail)
    if not 0 < scale < _FAR_OFF:
        return found
    noise = found.noise * scale
    rank = int((found.values > MARGIN * float(noise[0])).sum())
    freedom = (shape[0] - rank) * max(shape[1] - rank, 1)
    left = energy(found.values[rank:])
    expected = energy(noise) / (shape[0] * shape[1]) * freedom
    return replace(found, noise=noise, rank=rank, tail=ratio(left, expected))


def deeper(sample: Sample, *, budget: int) -> Sample:
    """Read more rows of a few matrices: an update of low rank rises above noise with their number.

    Args:
        sample: Aligned rows; matrices whose rows or columns were moved are left out.
        budget: Most bytes to read of both models.
    """
    by_role: dict[str, list[Pair]] = {}
    for pair in sample.matrices:
        if pair.part == "weight" and np.array_equal(pair.rows, np.arange(len(pair.rows))):
            by_role.setdefault(pair.role, []).append(pair)
    found: list[Pair] = []
    for pairs in by_role.values():
        for number in sorted(spread(range(len(pairs)), _DEEP_LAYERS)):
            cost = sum(_cost(matrix) for matrix in (pairs[number].child_matrix,
                                                    pairs[number].base_matrix))  # fmt: skip
            if cost <= budget and (more := _more_rows(pairs[number])) is not None:
                found.append(more)
                budget -= cost
    return Sample(tuple(found))


def _cost(matrix: Matrix) -> int:
    return matrix.nbytes * min(_DEEP_ROWS, matrix.shape[0]) // max(matrix.shape[0], 1)


def _more_rows(pair: Pair) -> Pair | None:
    if not np.array_equal(pair.rows, pair.base_rows) or len(pair.rows) >= pair.child.shape[1]:
        return None
    child, base = (m.rows(0, _DEEP_ROWS) for m in (pair.child_matrix, pair.base_matrix))
    count = len(pair.rows)
    if child.shape != base.shape or len(child) <= count:
        return None
    if not (np.array_equal(child[:count], pair.child) and np.array_equal(base[:count], pair.base)):
        return None
    every = np.arange(len(child))
    return replace(pair, child=child, base=base, rows=every, base_rows=every)


def accounted(before: Sample, after: Sample) -> Sample:
    """Take what is left of a change that was undone for none, where it is too little to mean more.

    Args:
        before: The sample as it was.
        after: The same pairs, with a change done to the base as well; it was estimated from the
            numbers, so that some of it is left.
    """
    pairs = zip(before.pairs, after.pairs, strict=True)
    return Sample(tuple(new if new.base is old.base else _accounted(old, new)
                        for old, new in pairs))  # fmt: skip


def _accounted(old: Pair, new: Pair) -> Pair:
    beyond = new.moved - _LEFT * old.moved
    if beyond > 0:
        beyond -= _ROUNDED * noise_of(old).variance * old.child.size
    return new if beyond > 0 else replace(new, base=new.child)


def relative_change(seen: Iterable[Seen]) -> float:
    """Return `|child - base| / |base|` over all pairs, rounding taken out."""
    return _relative((item.energy, item.pair) for item in seen)


def relative_rounding(seen: Iterable[Seen]) -> float:
    """Return how large rounding is over all pairs, relative to the weights."""
    return _relative((item.variance * item.pair.child.size, item.pair) for item in seen)


def _relative(parts: Iterable[tuple[float, Pair]]) -> float:
    moved = size = 0.0
    for part, pair in parts:
        moved += part
        size += pair.theirs.energy
    return sqrt(moved / size) if size > 0 else 0.0
