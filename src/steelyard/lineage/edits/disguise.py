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

from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import Edit, EditKind
from steelyard.lineage.roles import FROM_NEURONS, INTO_NEURONS, UP, WRITING

_REBASED: Final = 0.9
_KEPT: Final = 0.97
_SAME_DIRECTION: Final = 0.995
_SPREAD: Final = 0.02
"""Least relative spread of the factors of rescaled rows; rounding stays far below."""
_INVERSE: Final = -0.9
"""Correlation of the factors of what a neuron reads and of what it writes."""
_FEWEST: Final = 8
_RESTORED: Final = 0.5
"""Share of a difference that must be left once rows have the same lengths, at most."""
_WORDS: Final = {
    "neuron_permutation": "neurons were reordered",
    "hidden_permutation": "hidden dimensions were reordered",
    "hidden_rotation": "the hidden space was rotated",
    "head_basis": "attention heads were reordered or their basis changed",
    "folded_norms": "norms were folded into the matrices after them",
    "rescaled": "neurons were rescaled",
}


def rebased(sample: Sample) -> bool:
    """Tell whether attention is in another basis while the feed-forward layers are as they were."""
    attention = [_cosine(pair) for pair in sample.of("attention.q", "attention.k")]
    others = [_cosine(pair) for pair in sample.of("attention.v", "attention.o")]
    kept = [_cosine(pair) for pair in sample.of(*INTO_NEURONS)]
    if not attention or not kept:
        return False
    moved = median(attention) < _REBASED or (bool(others) and median(others) < _REBASED)
    return moved and median(kept) > max(_KEPT, 1 - (1 - _REBASED) / 3)


def _cosine(pair: Pair) -> float:
    """Return the median |cosine| of rows with their counterparts."""
    if pair.child.size == 0:
        return 1.0
    return median(np.abs(np.einsum("ij,ij->i", unit(pair.child), unit(pair.base))))


def rescaled(sample: Sample) -> bool:
    """Tell whether neurons are read with factors of their own, and written with their inverses."""
    written = {(pair.layer, pair.child_matrix.expert): pair for pair in _down(sample)}
    for pair in sample.of(*UP):
        back = written.get((pair.layer, pair.child_matrix.expert))
        if back is None or len(pair.child) < _FEWEST or _cosine(pair) <= _SAME_DIRECTION:
            continue
        factors = np.log(np.abs(_factors(pair)))
        if float(np.std(factors)) <= _SPREAD or int(pair.rows.max()) >= back.child.shape[1]:
            continue
        inverse = np.log(np.abs(_factors(_turned(back))[pair.rows]))
        if np.std(inverse) > 0 and float(np.corrcoef(factors, inverse)[0, 1]) < _INVERSE:
            return True
    return False


def _down(sample: Sample) -> tuple[Pair, ...]:
    return tuple(pair for pair in sample.of(*FROM_NEURONS) if len(pair.child) > 1)


def _turned(pair: Pair) -> Pair:
    return replace(pair, child=pair.child.T, base=pair.base.T)


def _factors(pair: Pair) -> Floats:
    """Return, for each row, the factor that brings the base's row closest to the child's."""
    clean, base = pair.ours.numbers, pair.theirs.numbers
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
    if pair.child.ndim != 2 or not pair.child.size:
        return pair
    if pair.role in INTO_NEURONS:
        return replace(pair, base=pair.base * _factors(pair)[:, None])
    if pair.role in FROM_NEURONS:
        turned = _turned(pair)
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


def equal_norms(sample: Sample) -> Sample:
    """Give rows that write to the residual stream the child's lengths, where nothing else differs.

    Tools that remove directions may restore the norm of each row; that is part of the removal.
    """
    return Sample(tuple(_of_equal_norm(pair) for pair in sample.pairs))


def _of_equal_norm(pair: Pair) -> Pair:
    if pair.role not in WRITING or pair.child.ndim != 2 or not pair.child.size:
        return pair
    scaled = replace(pair, base=pair.base * _factors(pair)[:, None])
    return scaled if scaled.moved < _RESTORED**2 * pair.moved else pair
