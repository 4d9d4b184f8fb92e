"""Quantizations that show in the numbers: few, evenly spaced levels in every block of a row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.pairs import Stored
from steelyard.lineage.floats import FULL, Doubles, median
from steelyard.lineage.matrix import Floats, Matrix

_SIZES: Final = (256, 128, 64, 32, 16)
"""Elements that share a scale, in the schemes in use; whole rows are tried before."""
_EVEN: Final = np.array([*range(1, 33), 63, 64, 127, 128], np.float64)
"""Levels from zero to the largest element of a block."""
_SHIFTED: Final = np.array([*range(2, 33), 63, 255], np.float64)
"""Levels from the smallest element of a block to the largest."""
_BLOCKS: Final = {
    **dict.fromkeys(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K"), (32,)),
    **dict.fromkeys(("Q2_K", "Q3_K", "Q6_K"), (16,)),
    "INT8": (0, 128),
}
"""Where the container names the scheme: elements that share a scale."""
_ENOUGH: Final = 4
"""Layers of a role without a grid after which no other is looked for."""
_COARSEST: Final = 7
"""Bits after the leading one of the coarsest type that still shows the steps of a grid."""
_TRIED: Final = 48
_GLANCE: Final = 16
"""Numbers of a block that chance puts on no grid all at once."""
_FIRST: Final = 6
_FEWEST_BLOCKS: Final = 4
_LOOKED_AT: Final = 256
_ON_GRID: Final = 0.9
_OFF: Final = 0.1
"""Most that rounding may move a level before a grid is no longer told from chance."""
_FEWEST: Final = 6
_LEVELS: Final = 300


@dataclass(frozen=True, slots=True)
class Grid:
    """A quantization seen in the numbers: every block of a row holds few, evenly spaced levels."""

    size: int
    """Elements of a block; 0 for a whole row."""
    shifted: bool
    """Whether levels start at the smallest element of a block rather than at zero."""
    levels: float
    """Steps from zero (or from the smallest) to the largest element, the median over blocks."""
    step: float | None = None
    """The step of all blocks, where they share one."""

    @property
    def words(self) -> str:
        """Return it in words: `4 bits in blocks of 32`."""
        count = self.levels if self.shifted else 2 * self.levels
        bits = max(round(float(np.log2(count + 1))), 1)
        where = f"blocks of {self.size}" if self.size else "rows"
        return f"{bits} bits in {where}"

    def steps(self, values: Floats) -> Doubles:
        """Return the step at every element."""
        if self.step is not None:
            return np.full(values.shape, self.step)
        blocks = values.astype("f8").reshape(-1, self.size or values.shape[1])
        low = blocks.min(axis=1) if self.shifted else 0.0
        high = blocks.max(axis=1) if self.shifted else np.abs(blocks).max(axis=1)
        step = (high - low) / max(self.levels, 1.0)
        return np.repeat(step, blocks.shape[1]).reshape(values.shape)


@dataclass(slots=True)
class Grids:
    """What was found so far in weights of the same role: quantizers treat most layers alike.

    Law: it gives what `find_grid` gives, wherever some layers of a role lie on a grid, or none do;
    those that are looked at first must be spread over the model.
    """

    _found: dict[tuple[str, str, str, bool], Grid] = field(default_factory=dict)
    _without: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)
    """Weights that lay on no grid, by role, scheme, element type and side; of those that lay on
    one, if the first did, the negative number."""
    _nearer: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Weights that lie nearer to the base's than its own rounding, by role and the base's scheme;
    -1 once one does not."""

    def is_nearer(self, matrix: Matrix) -> bool:
        """Tell whether enough weights of a role were nearer, and none was not."""
        return self._nearer[matrix.role, matrix.scheme] >= _ENOUGH

    def count_nearer(self, matrix: Matrix, *, nearer: bool) -> None:
        """Count one weight, beside this one of the base."""
        key = matrix.role, matrix.scheme
        if not nearer:
            self._nearer[key] = -1
        elif self._nearer[key] >= 0:
            self._nearer[key] += 1

    def find(self, stored: Stored, *, of_base: bool) -> Grid | None:
        """Find a grid, unless enough weights of the role had none, and none had one."""
        matrix = stored.matrix
        key = (matrix.role, matrix.scheme, matrix.dtype, of_base)
        if self._without[key] >= _ENOUGH:
            return None
        known = self._found.get(key)
        if known is not None and self._without[key] <= -_ENOUGH and lies_on(stored, known):
            return known
        found = find_grid(stored, likely=None if known is None else known.size)
        if found is not None:
            self._without[key], self._found[key] = min(self._without[key], 0) - 1, found
        elif self._without[key] >= 0:
            self._without[key] += 1
        return found


def find_grid(stored: Stored, *, likely: int | None = None) -> Grid | None:
    """Find the quantization on whose grid the rows of a matrix lie; None if there is none.

    Args:
        stored: Rows.
        likely: Elements of a block in other weights of the same model, which is tried first.
    """
    if not _may_lie_on_one(stored):
        return None
    error = _error(stored)
    sizes = _BLOCKS.get(stored.matrix.scheme.upper(), (0, *_SIZES))
    for size in sizes if likely is None else (likely, *sizes):
        blocks = _blocks(stored.numbers, size)
        found = None if blocks is None else _fit(blocks, size, error)
        if found is not None:
            return found
    return None


def lies_on(stored: Stored, grid: Grid) -> bool:
    """Tell whether a few blocks of a matrix lie on a grid that was found in others."""
    blocks = _blocks(stored.numbers, grid.size) if _may_lie_on_one(stored) else None
    if blocks is None or grid.step is not None:
        return False
    some = _some(blocks, _FIRST)
    if len(some) < _FEWEST_BLOCKS:
        return False
    fits = _levels(some, np.array([grid.levels]), _error(stored), shifted=grid.shifted)
    return bool(np.all(fits > 0))


def _may_lie_on_one(stored: Stored) -> bool:
    return stored.numbers.ndim == 2 and stored.energy > 0 and stored.mantissa >= _COARSEST


def _error(stored: Stored) -> float:
    """Return what the element type may have moved a number, relative to it."""
    return 0.0 if stored.mantissa == FULL else 2.0 ** -(stored.mantissa + 1)


def _blocks(values: Floats, size: int) -> Floats | None:
    """Cut rows into blocks; None where they have no whole number of them."""
    width = values.shape[1]
    if size and (width % size or size >= width):
        return None
    return values.reshape(-1, size or width)


def _fit(blocks: Floats, size: int, error: float) -> Grid | None:
    """Fit grids to a few blocks, and those that fit to more."""
    some = _some(blocks, _FIRST)
    if len(some) < _FEWEST_BLOCKS:
        return None
    even, shifted, gaps = _promising(some, error)
    if not (len(even) or len(shifted) or gaps):
        return None
    if _best(some, size, error, even, shifted) is None:
        return None
    return _best(_some(blocks, _TRIED), size, error, even, shifted)


def _some(blocks: Floats, count: int) -> Doubles:
    """Return usable blocks, evenly spread."""
    some = _evenly(blocks, 4 * count)
    return np.asarray(_evenly(some[_are_usable(some)], count), np.float64)


def _evenly(blocks: Floats, count: int) -> Floats:
    """Return at most so many blocks, evenly spread, the first and the last among them."""
    if len(blocks) <= count:
        return blocks
    return blocks[np.linspace(0, len(blocks) - 1, count).astype(np.intp)]


def _promising(blocks: Doubles, error: float) -> tuple[Doubles, Doubles, bool]:
    """Choose, by a few numbers of each block, the grids that may fit, and whether gaps may."""
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    largest = np.maximum(np.abs(low), np.abs(high))
    part = blocks[:, :: max(blocks.shape[1] // _GLANCE, 1)][:, :_GLANCE]
    fitting = []
    for start, span, counts in ((np.zeros_like(low), largest, _EVEN), (low, high - low, _SHIFTED)):
        safe = np.where(span > 0, span, 1.0)
        levels = ((part - start[:, None]) / safe[:, None])[None] * counts[:, None, None]
        allowed = 2e-3 + 2 * counts[:, None] * (error * np.maximum(largest / safe, 1.0))
        off = np.abs(levels - np.round(levels)).max(axis=2)
        fits = (off <= allowed) & (allowed < _OFF)
        any_count = float(np.mean(fits.any(axis=0))) >= _ON_GRID
        fitting.append(counts[fits.any(axis=1)] if any_count else counts[:0])
    gaps = np.diff(np.sort(blocks[:, :_LOOKED_AT], axis=1), axis=1)
    least = np.where(gaps > 0, gaps, np.inf).min(axis=1)
    near = float(np.mean(high - low <= _LEVELS * least)) >= _ON_GRID
    return fitting[0], fitting[1], near


def _are_usable(blocks: Floats | Doubles) -> NDArray[np.bool_]:
    part = blocks[:, :_LOOKED_AT]
    enough = (part != 0).sum(axis=1) >= _FEWEST
    # Three levels at least: what holds one number, up to its sign, shows no step.
    sizes = np.abs(part)
    return np.asarray(enough & ((sizes != sizes.max(axis=1, keepdims=True)).any(axis=1)))


def _best(blocks: Doubles, size: int, error: float, even: Doubles, shifted: Doubles) -> Grid | None:
    """Return the coarsest grid that nearly all blocks fit."""
    for is_shifted, counts in ((False, even), (True, shifted)):
        fits = _levels(blocks, counts, error, shifted=is_shifted)
        if float(np.mean(fits > 0)) >= _ON_GRID:
            return Grid(size, is_shifted, median(fits[fits > 0]))
    part = blocks[:, :_LOOKED_AT]
    if error > 0 and part.shape[1] < 64:
        return None
    return _by_gaps(part, size, error)


def _levels(blocks: Doubles, counts: Doubles, error: float, *, shifted: bool) -> Doubles:
    """Return for each block the fewest levels on which it lies, 0 if it lies on none."""
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    largest = np.maximum(np.abs(low), np.abs(high))
    start, span = (low, high - low) if shifted else (np.zeros_like(low), largest)
    safe = np.where(span > 0, span, 1.0)
    # Shifted levels are rounded by the size of the largest number, wherever they start.
    drift = error * np.maximum(largest / safe, 1.0)
    scaled = (blocks[:, :_LOOKED_AT] - start[:, None]) / safe[:, None]
    found = np.zeros(len(blocks))
    for count in counts[::-1]:
        levels = scaled * count
        allowed = 2e-3 + 2 * count * drift
        off = np.abs(levels - np.round(levels)).max(axis=1)
        fits = (off <= allowed) & (allowed < _OFF) & (span > 0)
        found[fits] = count
    return found


def _by_gaps(part: Doubles, size: int, error: float) -> Grid | None:
    """Take the least distance of two numbers of a block for its step."""
    counts, steps = [], []
    for block in part:
        levels = np.unique(block)
        gaps = np.diff(levels)
        span = float(levels[-1] - levels[0])
        step = float(gaps.min()) if len(gaps) else 0.0
        if step <= 0 or span > _LEVELS * step:
            continue
        # Rounding widens the least gap; the span divided by whole steps is the better measure.
        step = span / max(round(span / step), 1)
        off = float(np.abs(gaps / step - np.round(gaps / step)).max())
        allowed = 2e-3 + 2 * error * float(np.abs(block).max()) / step
        if off <= allowed < _OFF:
            counts.append(span / step)
            steps.append(step)
    if len(counts) < _ON_GRID * len(part) or max(counts, default=0) < 2:
        return None
    middle = median(steps)
    same = float(np.ptp(steps)) < 1e-3 * middle
    return Grid(size, True, median(counts), middle if same else None)
