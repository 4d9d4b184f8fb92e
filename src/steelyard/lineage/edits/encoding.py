"""How a child stores its numbers, seen from its base: the same, cast, quantized, dequantized.

Containers say how numbers are stored now; the numbers say how they were stored before. Eight bits
in rows or four in blocks of 32 leave a grid that a copy in floating point keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.floats import finite, float_type, is_packed, mantissa
from steelyard.lineage.edits.grids import Grid, Grids
from steelyard.lineage.edits.noise import expected_variance
from steelyard.lineage.matrix import Matrix, Weights
from steelyard.lineage.relation import Encoding, EncodingKind

_NAMED: Final = 3
_LOOKED_AT: Final = 24
"""Matrices whose numbers are looked at; a file is encoded alike from end to end, or nearly so."""
_HALF: Final = 0.5


def judge_encoding(sample: Sample, child_format: str, base_format: str) -> Encoding:
    """Tell how the child's numbers are stored, and how they were before.

    Args:
        sample: Aligned rows of child and base; edits may stand between them.
        child_format: The child's container.
        base_format: The base's.

    Returns:
        The encoding; `CANNOT_TELL` where nothing is aligned. Eight bits that were stored as BF16
        later cannot be seen: the type is coarser than the steps.
    """
    containers = (base_format, child_format)
    pairs = [pair for pair in sample.pairs if pair.child.size]
    if not pairs:
        return Encoding(EncodingKind.CANNOT_TELL, "", "", containers)
    base = _label([pair.base_matrix for pair in pairs])
    child = _label([pair.child_matrix for pair in pairs])
    chosen = _chosen(pairs)
    kind, note = _kind(chosen)
    noise = None if kind is EncodingKind.SAME else _relative(chosen)
    return Encoding(kind, base, child, containers, noise, note)


def unaligned(child: Weights, base: Weights) -> Encoding:
    """Tell how both store their numbers, where nothing of them stands side by side."""
    before, after = (_label(model.matrices() or model.unnamed()) for model in (base, child))
    return Encoding(EncodingKind.CANNOT_TELL, before, after, (base.format, child.format))


def _label(matrices: Sequence[Matrix]) -> str:
    """Return element types or schemes, those that hold most numbers first."""
    counts: Counter[str] = Counter()
    for matrix in matrices:
        size = 1
        for length in matrix.shape:
            size *= max(length, 0)
        counts[_stored(matrix)] += size
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return " + ".join(names[:_NAMED])


def _stored(matrix: Matrix) -> str:
    return matrix.scheme if is_packed(matrix) else matrix.dtype


def _chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """Return matrices of blocks, spread over the model; else whatever there is."""
    for some in (
        [pair for pair in pairs if pair.layer is not None and pair.child.ndim == 2],
        [pair for pair in pairs if pair.child.ndim == 2],
        list(pairs),
    ):
        if some:
            places = np.linspace(0, len(some) - 1, min(len(some), _LOOKED_AT)).astype(int)
            return [some[place] for place in np.unique(places)]
    return []


def _kind(pairs: Sequence[Pair]) -> tuple[EncodingKind, str]:
    ours, theirs = _main([p.child_matrix for p in pairs]), _main([p.base_matrix for p in pairs])
    packed = _share([is_packed(pair.child_matrix) for pair in pairs]) > _HALF
    base_packed = _share([is_packed(pair.base_matrix) for pair in pairs]) > _HALF
    if packed:
        same = base_packed and ours == theirs
        return (EncodingKind.SAME, "") if same else (EncodingKind.QUANTIZED, "")
    grids = Grids()
    grid = _common_grid([grids.find(finite(p.child), p.child_matrix, of_base=False) for p in pairs])
    if base_packed:
        if grid is not None:
            return EncodingKind.DEQUANTIZED, f"the numbers lie on a grid of {grid.words}"
        return EncodingKind.CAST, "the base is quantized, the child's numbers are not"
    before = _common_grid([grids.find(finite(p.base), p.base_matrix, of_base=True) for p in pairs])
    if grid is not None and (before is None or not _is_same(before, grid)):
        return EncodingKind.DEQUANTIZED, f"the numbers lie on a grid of {grid.words}"
    return _floats(pairs, ours, theirs)


def _is_same(first: Grid, second: Grid) -> bool:
    return (first.size, first.shifted, first.levels) == (second.size, second.shifted, second.levels)


def _floats(pairs: Sequence[Pair], ours: str, theirs: str) -> tuple[EncodingKind, str]:
    if ours != theirs:
        return EncodingKind.CAST, ""
    narrower = [_bits(pair, child=True) < _bits(pair, child=False) for pair in pairs]
    if _share(narrower) <= _HALF:
        return EncodingKind.SAME, ""
    types = [float_type(finite(pair.child), pair.child_matrix) for pair in pairs]
    name = Counter(types).most_common(1)[0][0]
    return EncodingKind.CAST, f"stored as {ours}, but the numbers are those of {name}"


def _bits(pair: Pair, *, child: bool) -> int:
    if child:
        return mantissa(finite(pair.child), pair.child_matrix)
    return mantissa(finite(pair.base), pair.base_matrix)


def _main(matrices: Sequence[Matrix]) -> str:
    counts = Counter(_stored(matrix) for matrix in matrices)
    return counts.most_common(1)[0][0] if counts else ""


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _common_grid(grids: Sequence[Grid | None]) -> Grid | None:
    """Return the most frequent grid, if most matrices have one."""
    found = [grid for grid in grids if grid is not None]
    if not found or len(found) <= _HALF * len(grids):
        return None
    words = Counter(grid.words for grid in found).most_common(1)[0][0]
    return next(grid for grid in found if grid.words == words)


def _relative(pairs: Sequence[Pair]) -> float | None:
    """Return the rounding error expected over all pairs, relative to the weights."""
    error, size = 0.0, 0.0
    for pair in pairs:
        error += expected_variance(pair) * pair.child.size
        size += float((finite(pair.child).astype("f8") ** 2).sum())
    return sqrt(error / size) if size > 0 else None
