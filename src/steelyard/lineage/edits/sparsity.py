"""Weights that were set to zero: how many, in which pattern, and what is left beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.floats import finite
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


def judge_sparsity(sample: Sample) -> Sparsity | None:
    """Tell whether weights were pruned one by one; None if not."""
    gone = {id(pair): _gone(pair) for pair in sample.matrices if pair.part == "weight"}
    pruned = _pruned([pair for pair in sample.matrices if id(pair) in gone], gone)
    if not pruned:
        return None
    zeros = _share(pruned, gone)
    pattern = "2:4" if _is_of_four(pruned) and zeros < _MOST_OF_FOUR else "unstructured"
    roles = tuple(sorted({pair.role for pair in pruned}))
    words = "two of every four" if pattern == "2:4" else f"{zeros:.0%}"
    edit = Edit(
        EditKind.SPARSIFIED,
        f"{words} of the weights of {len(roles)} kinds of matrices were set to zero",
        {"zeros": round(zeros, 4), "pattern": pattern, "roles": roles},
    )
    kept = {id(pair) for pair in pruned}
    rest = (
        replace(pair, base=np.where(finite(pair.child) == 0, np.float32(0), pair.base))
        if id(pair) in kept
        else pair
        for pair in sample.pairs
    )
    return Sparsity(edit, Sample(tuple(rest)))


def _gone(pair: Pair) -> float:
    """Return the share of numbers that are zero though rounding does not make them so."""
    zero = finite(pair.child) == 0
    if float(zero.mean()) <= _LEAST / 2:
        return 0.0
    noise = noise_of(pair, of_base=False)
    least = _BEYOND * noise.steps if noise.quantized else 0.0
    result = np.mean(zero & (np.abs(finite(pair.base)) > least))
    return float(result)


def _pruned(pairs: Sequence[Pair], gone: dict[int, float]) -> list[Pair]:
    """Return the pairs of the roles that were pruned in most of their layers."""
    roles: dict[str, list[Pair]] = {}
    for pair in pairs:
        roles.setdefault(pair.role, []).append(pair)
    found: list[Pair] = []
    for same in roles.values():
        if np.mean([gone[id(pair)] > _LEAST for pair in same]) > _HALF:
            found += [pair for pair in same if gone[id(pair)] > _LEAST / 2]
    return found


def _share(pairs: Iterable[Pair], gone: dict[int, float]) -> float:
    """Return the share of zeros; those that rounding made are told apart where they can be."""
    zeros = total = 0.0
    for pair in pairs:
        exact = not noise_of(pair, of_base=False).quantized
        share = float(np.mean(finite(pair.child) == 0)) if exact else gone[id(pair)]
        zeros += share * pair.child.size
        total += pair.child.size
    return zeros / total if total else 0.0


def _is_of_four(pairs: Sequence[Pair]) -> bool:
    return all(_in_fours(finite(pair.child) == 0) for pair in pairs)


def _in_fours(zero: NDArray[np.bool_]) -> bool:
    if zero.shape[1] % 4:
        return False
    counts = zero.reshape(-1, 4).sum(axis=1)
    return float(np.mean(counts >= 2)) >= _OF_FOUR
