"""Weights that were set to zero: how many, in which pattern, and what is left beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.noise import noise_of
from steelyard.lineage.relation import Edit, EditKind

_LEAST: Final = 0.2
"""Share of a matrix that must be zero where the base is not."""
_BEYOND: Final = 0.75
"""Steps of a quantization from which on rounding cannot have made a zero."""
_OF_FOUR: Final = 0.98
"""Groups of four inputs that must hold two zeros for the pattern 2:4."""
_MOST_OF_FOUR: Final = 0.6
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sparsity:
    """What was set to zero, and the sample without it."""

    edit: Edit
    rest: Sample
    """The sample with the same zeros in the base: other edits are left."""


@dataclass(frozen=True, slots=True, eq=False)
class _Zeros:
    """The zeros of one matrix."""

    pair: Pair
    gone: float = 0.0
    """Share of numbers that are zero though rounding does not make them so."""
    told: float = 0.0
    """Share of zeros; those that rounding made are left out where they can be told apart."""


def judge_sparsity(sample: Sample, grids: Grids) -> Sparsity | None:
    """Tell whether weights were pruned one by one; None if not."""
    pruned = _pruned([_zeros(pair, grids) for pair in sample.matrices if pair.part == "weight"])
    if not pruned:
        return None
    pairs = [item.pair for item in pruned]
    zeros = sum(item.told * item.pair.child.size for item in pruned)
    zeros /= sum(pair.child.size for pair in pairs)
    pattern = "2:4" if _is_of_four(pairs) and zeros < _MOST_OF_FOUR else "unstructured"
    roles = tuple(sorted({pair.role for pair in pairs}))
    words = "two of every four" if pattern == "2:4" else f"{zeros:.0%}"
    edit = Edit(
        EditKind.SPARSIFIED,
        f"{words} of the weights of {len(roles)} kinds of matrices were set to zero",
        {"zeros": round(zeros, 4), "pattern": pattern, "roles": roles},
    )
    kept = set(map(id, pairs))
    rest = (
        replace(pair, base=np.where(pair.ours.numbers == 0, np.float32(0), pair.base))
        if id(pair) in kept
        else pair
        for pair in sample.pairs
    )
    return Sparsity(edit, Sample(tuple(rest)))


def _zeros(pair: Pair, grids: Grids) -> _Zeros:
    zero = pair.ours.numbers == 0
    share = float(zero.mean())
    if share <= _LEAST / 2:
        return _Zeros(pair)
    noise = noise_of(pair, grids=grids, of_base=False)
    least = _BEYOND * noise.steps if noise.quantized else 0.0
    gone = float(np.mean(zero & (np.abs(pair.theirs.numbers) > least)))
    return _Zeros(pair, gone, gone if noise.quantized else share)


def _pruned(every: Sequence[_Zeros]) -> list[_Zeros]:
    """Return the matrices of the roles that were pruned in most of their layers."""
    roles: dict[str, list[_Zeros]] = {}
    for item in every:
        roles.setdefault(item.pair.role, []).append(item)
    found: list[_Zeros] = []
    for same in roles.values():
        if np.mean([item.gone > _LEAST for item in same]) > _HALF:
            found += [item for item in same if item.gone > _LEAST / 2]
    return found


def _is_of_four(pairs: Sequence[Pair]) -> bool:
    return all(_in_fours(pair.ours.numbers == 0) for pair in pairs)


def _in_fours(zero: NDArray[np.bool_]) -> bool:
    if zero.shape[1] % 4:
        return False
    counts = zero.reshape(-1, 4).sum(axis=1)
    return float(np.mean(counts >= 2)) >= _OF_FOUR
