"""Changes that leave what a model computes as it was, told from aligned samples.

Permuted or rescaled neurons, permuted or rotated hidden dimensions, folded norms, another basis of
attention heads. Each has a use of its own (export, quantization, pruning tools do some of them),
and each hides where weights come from to whoever compares them number by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from steelyard.lineage.matching import unit
from steelyard.lineage.matrix import Floats, Weights
from steelyard.lineage.pairs import Pair, Sample
from steelyard.lineage.relation import Edit, EditKind

_ATTENTION: Final = ("attention.q", "attention.k", "attention.v", "attention.o")
_READING: Final = ("mlp.up", "mlp.gate")
_REBASED: Final = 0.9
_KEPT: Final = 0.97
_SAME_DIRECTION: Final = 0.995
_SPREAD: Final = 0.02
"""Least relative spread of the factors of rescaled rows; rounding stays far below."""
_WORDS: Final = {
    "neuron_permutation": "neurons were reordered",
    "hidden_permutation": "hidden dimensions were reordered",
    "hidden_rotation": "the hidden space was rotated",
    "head_basis": "attention heads were reordered or their basis changed",
    "folded_norms": "norms were folded into the matrices after them",
    "rescaled": "neurons were rescaled",
}


def folded(child: Weights, base: Weights, layers: Sequence[int | None]) -> bool:
    """Tell whether all of the child's norms are ones while the base's are not."""
    ours: list[float] = []
    theirs: list[float] = []
    for layer, mapped in enumerate(layers):
        for role in ("norm.attention", "norm.mlp"):
            mine = child.matrix(role, layer)
            other = None if mapped is None else base.matrix(role, mapped)
            if mine is not None and other is not None and len(ours) < 16:
                ours.append(_unlike_one(mine.whole()))
                theirs.append(_unlike_one(other.whole()))
    return bool(ours) and max(ours) < 1e-6 and float(np.median(theirs)) > 1e-3


def _unlike_one(norm: Floats) -> float:
    difference = np.nan_to_num(np.abs(norm - 1), nan=1.0, posinf=1.0)
    return float(difference.mean()) if norm.size else 0.0


def rebased(sample: Sample) -> bool:
    """Tell whether attention is in another basis while the feed-forward layers are as they were."""
    attention = [_cosine(pair) for pair in sample.of("attention.q", "attention.k")]
    others = [_cosine(pair) for pair in sample.of("attention.v", "attention.o")]
    kept = [_cosine(pair) for pair in sample.of(*_READING)]
    if not attention or not kept:
        return False
    moved = float(np.median(attention)) < _REBASED or (
        bool(others) and float(np.median(others)) < _REBASED
    )
    return moved and float(np.median(kept)) > max(_KEPT, 1 - (1 - _REBASED) / 3)


def _cosine(pair: Pair) -> float:
    """Return the median |cosine| of rows with their counterparts."""
    if pair.child.size == 0:
        return 1.0
    return float(np.median(np.abs(np.einsum("ij,ij->i", unit(pair.child), unit(pair.base)))))


def rescaled(sample: Sample) -> bool:
    """Tell whether rows of a kind kept their direction and changed their length, each its own."""
    for role in _READING:
        for pair in sample.of(role):
            if len(pair.child) < 8:
                continue
            factors = _factors(pair)
            steady = _cosine(pair) > _SAME_DIRECTION
            if steady and float(np.std(np.log(np.abs(factors)))) > _SPREAD:
                return True
    return False


def _factors(pair: Pair) -> Floats:
    """Return, for each row, the factor that brings the base's row closest to the child's."""
    clean, base = np.nan_to_num(pair.child), np.nan_to_num(pair.base)
    squares = np.einsum("ij,ij->i", base, base)
    products = np.einsum("ij,ij->i", clean, base)
    usable = (squares > 0) & (np.abs(products) > 1e-6 * squares)
    factors = np.ones(len(base), np.float32)
    np.divide(products, squares, out=factors, where=usable)
    return factors


def without(sample: Sample, means: Iterable[str]) -> Sample:
    """Undo what disguises do to a sample, or leave out the pairs where it cannot be undone."""
    means = frozenset(means)
    pairs = sample.pairs
    if "head_basis" in means:
        pairs = tuple(pair for pair in pairs if not pair.role.startswith("attention."))
    if "folded_norms" in means:
        pairs = tuple(p for p in pairs if not (p.role.startswith("norm.") and p.part == "weight"))
    if "rescaled" in means:
        pairs = tuple(_unscaled(pair) for pair in pairs)
    return Sample(pairs)


def _unscaled(pair: Pair) -> Pair:
    if pair.role in _READING:
        return replace(pair, base=pair.base * _factors(pair)[:, None])
    if pair.role == "mlp.down":
        turned = replace(pair, child=pair.child.T, base=pair.base.T)
        return replace(pair, base=(turned.base * _factors(turned)[:, None]).T)
    return pair


def disguise_edit(means: Sequence[str]) -> tuple[Edit, ...]:
    """Tell by which means a model was made to look like another."""
    if not means:
        return ()
    words = "; ".join(_WORDS[item] for item in means)
    note = "the model computes what it did before; numbers alone would not show its origin"
    if "hidden_rotation" in means:
        note += "; what else was changed cannot be told behind the rotation"
    elif "head_basis" in means:
        note += "; what else was changed in attention cannot be told"
    return (Edit(EditKind.DISGUISED, words, {"means": tuple(means)}, note),)
