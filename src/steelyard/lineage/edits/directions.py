"""Directions that no block writes to, seen without the base.

A direction v removed whole from every matrix that writes to the residual stream is a null vector of
`sum W W^T`, which trained matrices do not have: their smallest eigenvalues lie close together.
Removal in part, reflection, a direction for each layer (but for its own matrices), and later
training leave no such gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.alignment import spread
from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.relation import Detail, Edit, EditKind
from steelyard.lineage.roles import FROM_NEURONS, WRITING

_GAP: Final = 3.0
_GAP_OF_ONE: Final = 10.0
_LEAST: Final = 1e-7
"""Smallest eigenvalue, relative to the mean, that is told from rounding."""
_MOST_DIRECTIONS: Final = 8
_INPUTS: Final = 2
"""Inputs for each output that a spectrum needs, so that its smallest values lie close together."""
_DEAD: Final = 1e-6
_WIDEST: Final = 16_384
_FEWEST: Final = 2
_WORK: Final = 1e11
"""Most hidden^3 to spend on spectra of single matrices: seconds on one core."""

_Gram = NDArray[np.float64]


class BaseFreeVerdict(StrEnum):
    """What a model's own weights say of removed directions."""

    REMOVED = "removed"
    NOT_FOUND = "not_found"
    NOT_DECIDABLE = "not_decidable"


@dataclass(frozen=True, slots=True)
class MatrixGap:
    """The spectral gap of one matrix that is wide enough to have none by itself."""

    tensor: str
    layer: int | None
    gap: float


@dataclass(frozen=True, slots=True)
class BaseFree:
    """Whether a direction was removed, seen without the base."""

    verdict: BaseFreeVerdict
    sentence: str
    gap: float | None = None
    """Next eigenvalue over the smallest ones of all writing matrices; at most 1e7."""
    smallest: float | None = None
    """The smallest eigenvalue relative to the mean; what is below 1e-7 is rounding."""
    directions: int = 0
    """How many directions lie below the gap; 0 where none was found."""
    gaps: tuple[MatrixGap, ...] = ()
    """The same for single matrices of the feed-forward layers."""
    matrices: int = 0
    """Matrices that were read."""


def judge_without_base(weights: Weights, *, budget: int) -> BaseFree:
    """Tell whether directions were removed whole from all that a model writes to its stream.

    Args:
        weights: The model.
        budget: Most bytes to read; layers are chosen evenly where not all can be read.

    Raises:
        CheckpointError: If the bytes of a matrix cannot be read.
    """
    stack, hidden = _stack(weights)
    chosen = _affordable(stack, budget)
    refusal = _refusal(chosen, hidden)
    if refusal:
        return BaseFree(BaseFreeVerdict.NOT_DECIDABLE, refusal, matrices=0)
    total: _Gram = np.zeros((hidden, hidden))
    gaps, read = [], 0
    single = _single(chosen, hidden)
    for number, matrix in enumerate(chosen):
        gram = _gram(matrix, hidden)
        if gram is None:
            continue
        total += gram
        read += 1
        if number in single:
            found = _gap(gram, weights.sizes.norm)
            if found is not None:
                gaps.append(MatrixGap(matrix.tensor, matrix.layer, found[0]))
    over_all = _gap(total, weights.sizes.norm) if read >= _FEWEST else None
    if over_all is None:
        words = "the weights that were read are not finite, or all zero: nothing can be told"
        return BaseFree(BaseFreeVerdict.NOT_DECIDABLE, words, gaps=tuple(gaps), matrices=read)
    return _told(over_all, tuple(gaps), read)


def judge_beside(child: Weights, base: Weights, *, budget: int) -> Edit | None:
    """Tell whether the child lacks directions that the base writes to, whatever else was changed.

    A long training hides a removal in the difference of the two, and leaves it in the child.

    Args:
        child: The model whose origin is asked.
        base: The model it comes from.
        budget: Most bytes to read of both.
    """
    ours = judge_without_base(child, budget=budget // 2)
    if ours.verdict is not BaseFreeVerdict.REMOVED or ours.gap is None:
        return None
    theirs = judge_without_base(base, budget=budget // 2)
    if theirs.verdict is not BaseFreeVerdict.NOT_FOUND:
        return None
    details: dict[str, Detail] = {
        "strength": {},
        "shared": ours.directions > 0,
        "gap": round(ours.gap, 2),
        "with_base": False,
    }
    summary = (
        "the refusal behavior of the base was edited out; evaluations of the base do not vouch for "
        f"this model: {ours.sentence}, and the base lacks none"
    )
    note = "weights show that directions were removed, not what they stood for"
    return Edit(EditKind.ABLITERATED, summary, details, note)


def _stack(weights: Weights) -> tuple[list[Matrix], int]:
    """Return the writing matrices of the stack that has the most, and its hidden size."""
    groups: dict[tuple[str, int], list[Matrix]] = {}
    for matrix in weights.matrices():
        if matrix.role not in WRITING or matrix.part != "weight" or len(matrix.shape) != 2:
            continue
        if matrix.layer is None or not 0 <= matrix.layer < len(weights.layers):
            continue
        name = weights.layers[matrix.layer].rpartition(".")[0]
        groups.setdefault((name, matrix.shape[0]), []).append(matrix)
    if not groups:
        return [], 0
    largest = max(groups, key=lambda key: sum(matrix.nbytes for matrix in groups[key]))
    return groups[largest], largest[1]


def _affordable(matrices: Sequence[Matrix], budget: int) -> list[Matrix]:
    """Choose all matrices of as many layers as the budget allows, evenly spread."""
    layers = sorted({matrix.layer for matrix in matrices if matrix.layer is not None})
    count = len(layers)
    while count > 0:
        kept = spread(layers, count)
        chosen = [matrix for matrix in matrices if matrix.layer in kept]
        if sum(matrix.nbytes for matrix in chosen) <= budget:
            return chosen
        count = count * 3 // 4
    return []


def _refusal(chosen: Sequence[Matrix], hidden: int) -> str:
    """Return why nothing can be told, in words; empty if something can."""
    if len(chosen) < _FEWEST:
        return "too few of the matrices that write to the residual stream can be read to tell"
    if not any(matrix.role in FROM_NEURONS for matrix in chosen):
        return "attention outputs alone have null directions of their own: nothing can be told"
    inputs = sum(matrix.shape[1] for matrix in chosen)
    if inputs < _INPUTS * hidden:
        return (
            f"the matrices that were read have {inputs:,} inputs for {hidden:,} hidden dimensions: "
            "too few to have no null direction by themselves"
        )
    if hidden > _WIDEST or hidden < 4 * _MOST_DIRECTIONS:
        return f"the spectrum of {hidden:,} hidden dimensions cannot be judged"
    return ""


def _single(chosen: Sequence[Matrix], hidden: int) -> frozenset[int]:
    """Choose the matrices whose own spectrum is looked at: as many as the time allows."""
    wide = [
        number
        for number, matrix in enumerate(chosen)
        if matrix.role in FROM_NEURONS and matrix.shape[1] >= _INPUTS * hidden
    ]
    return spread(wide, int(min(_WORK / hidden**3, len(wide)))) if wide else frozenset()


def _gram(matrix: Matrix, hidden: int) -> _Gram | None:
    """Return W W^T, scaled so that every matrix counts alike; None if it cannot be used."""
    rows: Floats = matrix.whole()
    if rows.shape[0] != hidden:
        return None
    largest = float(np.abs(rows).max(initial=0.0))
    if not 0 < largest < np.inf:
        return None
    gram = np.zeros((hidden, hidden))
    # Sums of float32 products lose what lies below 1e-7; blocks of float64 do not.
    for first in range(0, rows.shape[1], 4096):
        block = rows[:, first : first + 4096].astype("f8") / largest
        gram += block @ block.T
    size = float(np.trace(gram))
    return gram / size if size > 0 else None


def _gap(gram: _Gram, norm: str | None) -> tuple[float, float, int] | None:
    """Return the gap, the smallest eigenvalue and the number of directions below the gap.

    The mean of what is written does not matter to a layer norm, so that the vector of ones may be
    a null direction of such a model by itself: it is projected out, and where the norm is unknown
    the smaller gap counts.
    """
    energies = np.diagonal(gram)
    alive = energies > _DEAD * median(energies)
    gram = gram[np.ix_(alive, alive)]
    if len(gram) < 4 * _MOST_DIRECTIONS:
        return None
    ones = np.ones(len(gram))
    first = _gap_of(_without(gram, ones) if norm == "layer" else gram)
    if first is None or first[0] <= _GAP:
        return first
    # Rows of unlike size have a gap that is no direction: it does not outlast equal sizes.
    sizes = np.sqrt(np.diagonal(gram))
    equal = gram / np.outer(sizes, sizes)
    centered = _least(_without(gram, ones), _without(equal, sizes))
    if norm == "layer" or centered is None:
        return centered
    plain = _least(gram, equal)
    # Outside of layer norms a writer may be centered too, by tools that fold norms.
    if plain is None or (norm == "rms" and centered[0] > _GAP):
        return plain
    return min(plain, centered)


def _least(*grams: _Gram) -> tuple[float, float, int] | None:
    found = [_gap_of(gram) for gram in grams]
    known = [gap for gap in found if gap is not None]
    return min(known) if len(known) == len(found) else None


def _without(gram: _Gram, direction: NDArray[np.float64]) -> _Gram:
    """Return the Gram matrix in an orthonormal basis of what is orthogonal to a direction."""
    mirror = direction / np.linalg.norm(direction)
    mirror[0] += 1
    mirror /= np.linalg.norm(mirror)
    # The Householder reflection that takes the direction to the first axis.
    half = gram - 2 * np.outer(mirror, mirror @ gram)
    turned = half - 2 * np.outer(half @ mirror, mirror)
    return np.asarray(turned[1:, 1:], np.float64)


def _gap_of(gram: _Gram) -> tuple[float, float, int] | None:
    if not np.all(np.isfinite(gram)):
        return None
    values = np.linalg.eigvalsh(gram)
    mean = float(values.mean())
    if mean <= 0:
        return None
    lowest = np.maximum(values[: _MOST_DIRECTIONS + 1] / mean, _LEAST)
    ratios = lowest[1:] / lowest[:-1]
    at = int(np.argmax(ratios))
    return min(float(ratios[at]), 1 / _LEAST), float(lowest[0]), at + 1


def _told(over_all: tuple[float, float, int], gaps: tuple[MatrixGap, ...], read: int) -> BaseFree:
    gap, smallest, count = over_all
    largest = max((item.gap for item in gaps), default=1.0)
    value = f"< {_LEAST:.0e}".replace("e-0", "e-") if smallest <= _LEAST else f"{smallest:.2g}"
    if gap > _GAP:
        some = "a direction is" if count == 1 else f"{count} directions are"
        sentence = (
            f"{some} missing from all that the {read} matrices read write to the residual stream "
            f"(smallest eigenvalue {value} of the mean, the next {_times(gap)} as large): "
            "directions were edited out, as is done to remove refusals"
        )
        return BaseFree(BaseFreeVerdict.REMOVED, sentence, gap, smallest, count, gaps, read)
    if largest > _GAP_OF_ONE:
        several = sum(item.gap > _GAP_OF_ONE for item in gaps)
        sentence = (
            f"{several} of {len(gaps)} feed-forward matrices write nothing along a direction (gap "
            f"{_times(largest)}): directions were edited out layer by layer, as is done to remove "
            "refusals"
        )
        return BaseFree(BaseFreeVerdict.REMOVED, sentence, gap, smallest, 0, gaps, read)
    sentence = (
        f"no direction is missing from what the {read} matrices read write to the residual stream "
        f"(gap {gap:.2f}); a removal in part, a reflection or one that training healed cannot be "
        "seen without the base"
    )
    return BaseFree(BaseFreeVerdict.NOT_FOUND, sentence, gap, smallest, 0, gaps, read)


def _times(gap: float) -> str:
    return "over 1,000,000 times" if gap >= 1e6 else f"{gap:,.3g} times"
