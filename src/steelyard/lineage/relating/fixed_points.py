"""The fixed-point test: a bound on the chance that independent models agree in their labels.

Items of a model (neurons, hidden dimensions) have a number that means nothing when weights are
initialized at random. Of two independent models, one's numbers are a uniformly random relabeling
of the other's, whatever the weights became. So of m items as many as one is expected to be most
like the item of the same number, and the factorial moments of that count are bounded exactly:
`E[N (N-1) ... (N-r+1)] <= (q K)^r` for K groups that are relabeled apart, where an item counts if
its namesake is among the q most alike. Markov's inequality gives the p-value; nothing is fitted.

Source: the null is that of Zhu, Ahmed, Kuditipudi, Liang, "Independence Tests for Language
Models" (2025), arXiv 2502.12292; the bound by factorial moments is Steelyard's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import Final

import numpy as np

from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.matrix import Floats

_DEPTHS: Final = (1, 4, 16)
"""An item counts if its namesake is among the q most alike; each q is a test of its own."""
_LOG10: Final = log(10)
SURE: Final = -6.0
"""Power of ten below which agreement is no chance: two parts are said to share their origin, and
units to follow a formula. Independent ones do so once in a million."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many items of one group, or of several together, match the item of their number."""

    counts: tuple[int, ...]
    """For each of the depths q = 1, 4, 16."""
    items: int
    groups: int = 1
    """Groups whose labels are permuted apart from each other."""

    @property
    def agreeing(self) -> int:
        """Return the items whose namesake is the most alike."""
        return self.counts[0]

    @property
    def log10_p(self) -> float:
        """Bound the chance of so many matches between independent models, as a power of ten.

        Never above 0, never minus infinity. The choice among the depths is paid for.
        """
        tests = [
            log_bound(count, depth * self.groups)
            for count, depth in zip(self.counts, _DEPTHS, strict=True)
        ]
        return min(0.0, (min(tests) + log(len(_DEPTHS))) / _LOG10)

    def __add__(self, other: Agreement) -> Agreement:
        """Join groups that are relabeled apart from each other."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Agreement(counts, self.items + other.items, self.groups + other.groups)


NOTHING: Final = Agreement((0, 0, 0), 0, 0)
"""No items, no groups."""


def log_bound(count: int, mean: float) -> float:
    """Bound log P(N >= count) for a count with factorial moments `E[(N)_r] <= mean**r`.

    The bound is `min over r of mean**r (count - r)! / count!`; at most 0.
    """
    if count <= 0 or mean <= 0:
        return 0.0
    # mean**r (k-r)! / k! falls in r while mean < k - r + 1, so the minimum lies there.
    r = min(count, max(int(count - mean + 1), 0))
    around = {min(max(r + step, 0), count) for step in (-1, 0, 1)}
    best = min(s * log(mean) + lgamma(count - s + 1) - lgamma(count + 1) for s in around)
    return min(0.0, best)


def agree(ours: Floats, theirs: Floats, *, block: int | None = None) -> Agreement:
    """Count the items that are most like the item of the same number.

    Args:
        ours: m x n profiles of the child's items.
        theirs: m x n profiles of the base's items.
        block: Where only items nearby may be exchanged, compare each with those of its block of
            so many; each block is a group of its own.

    Returns:
        The agreement. Ties count against it, so items of zeros, NaN or one constant never count.
    """
    size = min(len(ours), len(theirs))
    if size < 2 or ours.shape[1] != theirs.shape[1]:
        return NOTHING
    alike = np.abs(unit(ours[:size]) @ unit(theirs[:size]).T)
    if block is None:
        return counted(alike)
    parts = [alike[at : at + block, at : at + block] for at in range(0, size, block)]
    return join(counted(part) for part in parts if len(part) > 1)


def counted(alike: Floats) -> Agreement:
    """Count the items that are most like the item of the same number, given m x m likenesses."""
    own = np.diagonal(alike)[:, None]
    # Equal up to rounding is a tie: the same vectors may give products that differ in the last bit.
    better = np.count_nonzero(alike >= own - 1e-6, axis=1) - 1
    counts = tuple(int(np.count_nonzero((better < depth) & (own[:, 0] > 0))) for depth in _DEPTHS)
    return Agreement(counts, len(alike))


def join(parts: Iterable[Agreement]) -> Agreement:
    """Join groups whose labels are permuted apart."""
    total = NOTHING
    for part in parts:
        total = total + part
    return total


def fisher(log10_ps: Sequence[float]) -> float:
    """Join p-values of independent tests by Fisher's method, as a power of ten.

    `-2 sum log p` has at most the tail of a chi-squared distribution with 2n degrees of freedom,
    which for whole n is a finite sum: `exp(-x) sum of x**i / i! for i < n` at `x = -sum log p`.
    """
    if not log10_ps:
        return 0.0
    x = -sum(min(value, 0.0) for value in log10_ps) * _LOG10
    if x <= 0:
        return 0.0
    terms = [i * log(x) - lgamma(i + 1) for i in range(len(log10_ps))]
    largest = max(terms)
    total = largest + log(sum(float(np.exp(term - largest)) for term in terms))
    return min(0.0, (total - x) / _LOG10)


def corrected(log10_p: float, tests: int) -> float:
    """Pay for a choice among several tests (Bonferroni); at most 0."""
    return min(0.0, log10_p + log(max(tests, 1)) / _LOG10)
