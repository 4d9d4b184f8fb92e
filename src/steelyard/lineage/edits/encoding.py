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
from steelyard.lineage.edits.grids import Grid, Grids
from steelyard.lineage.edits.noise import noise_of
from steelyard.lineage.matrix import Matrix, Weights, encoding_of
from steelyard.lineage.relation import Encoding, EncodingKind

_NAMED: Final = 3
_LOOKED_AT: Final = 24
"""Matrices whose numbers are looked at; a file is encoded alike from end to end, or nearly so."""
_HALF: Final = 0.5


def judge_encoding(
    sample: Sample, child_format: str, base_format: str, *, grids: Grids | None = None
) -> Encoding:
    """Tell how the child's numbers are stored, and how they were before.

    Args:
        sample: Aligned rows of child and base; edits may stand between them.
        child_format: The child's container.
        base_format: The base's.
        grids: What was found in pairs of the same models.

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
    grids = grids or Grids()
    kind, note = _kind(chosen, grids)
    noise = None if kind is EncodingKind.SAME else _relative(chosen, grids)
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
        counts[encoding_of(matrix)] += size
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return " + ".join(names[:_NAMED])


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


def _kind(pairs: Sequence[Pair], grids: Grids) -> tuple[EncodingKind, str]:
    ours = _main([encoding_of(pair.child_matrix) for pair in pairs])
    theirs = _main([encoding_of(pair.base_matrix) for pair in pairs])
    packed = _share([pair.ours.is_packed for pair in pairs]) > _HALF
    base_packed = _share([pair.theirs.is_packed for pair in pairs]) > _HALF
    if packed:
        same = base_packed and ours == theirs
        return (EncodingKind.SAME, "") if same else (EncodingKind.QUANTIZED, "")
    grid = _common_grid([grids.find(pair.ours, of_base=False) for pair in pairs])
    if base_packed:
        if grid is not None:
            return EncodingKind.DEQUANTIZED, f"the numbers lie on a grid of {grid.words}"
        return EncodingKind.CAST, "the base is quantized, the child's numbers are not"
    before = _common_grid([grids.find(pair.theirs, of_base=True) for pair in pairs])
    if grid is not None and (before is None or not _is_same(before, grid)):
        return EncodingKind.DEQUANTIZED, f"the numbers lie on a grid of {grid.words}"
    return _floats(pairs, ours, theirs)


def _is_same(first: Grid, second: Grid) -> bool:
    return (first.size, first.shifted, first.levels) == (second.size, second.shifted, second.levels)


def _floats(pairs: Sequence[Pair], ours: str, theirs: str) -> tuple[EncodingKind, str]:
    if ours != theirs:
        return EncodingKind.CAST, ""
    narrower = [pair.ours.mantissa < pair.theirs.mantissa for pair in pairs]
    if _share(narrower) <= _HALF:
        return EncodingKind.SAME, ""
    name = _main([pair.ours.kind for pair in pairs])
    return EncodingKind.CAST, f"stored as {ours}, but the numbers are those of {name}"


def _main(names: Sequence[str]) -> str:
    return Counter(names).most_common(1)[0][0] if names else ""


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _common_grid(grids: Sequence[Grid | None]) -> Grid | None:
    """Return the most frequent grid, if most matrices have one."""
    found = [grid for grid in grids if grid is not None]
    if not found or len(found) <= _HALF * len(grids):
        return None
    words = Counter(grid.words for grid in found).most_common(1)[0][0]
    return next(grid for grid in found if grid.words == words)


def _relative(pairs: Sequence[Pair], grids: Grids) -> float | None:
    """Return the rounding error expected over all pairs, relative to the weights."""
    error = sum(noise_of(pair, grids=grids).variance * pair.child.size for pair in pairs)
    size = sum(pair.ours.energy for pair in pairs)
    return sqrt(error / size) if size > 0 else None
