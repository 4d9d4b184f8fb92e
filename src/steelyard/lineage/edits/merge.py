"""Which models were combined, and with which weights, told from candidates.

A child's change is set beside the changes of candidates by least squares, the best added one by
one (orthogonal matching pursuit, Pati et al. 1993) while they explain what rounding does not.
Sources of the methods: Wortsman et al. 2022 (linear), Ilharco et al. 2023 (task arithmetic), Yadav
et al. 2023 (TIES), Yu et al. 2024 (DARE).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.changes import is_stored_whole
from steelyard.lineage.edits.floats import finite, rms, ulps
from steelyard.lineage.edits.noise import noise_of
from steelyard.lineage.matrix import Floats

_EXPLAINED: Final = 0.9
"""Share of a change that parents must explain; siblings of the true ones reach 0.7."""
_ALONE: Final = 0.99
"""The same for one candidate: a sibling that saw the same data in the same order reaches 0.97."""
_PARTLY: Final = 0.1
_GAINS: Final = (0.03, 0.004)
"""Share of a change that one parent more must explain; the lower where that leaves nothing."""
_AS_MUCH: Final = 0.95
_LEAST: Final = 0.03
"""Least coefficient that counts."""
_MOST_PARENTS: Final = 8
_WHOLE: Final = 0.05
"""How far from one the coefficient of a candidate may lie that is the child itself."""
_SIGNAL: Final = 0.02
"""Least share of a change that must not be rounding."""
_RESIDUE: Final = 0.002
"""Share of a change that a mixture may leave without a word."""
_NOISY: Final = 0.5
"""The same in units of the rounding, which is known to no more than that."""
_CURVED: Final = 5e-4
_ATOMS: Final = 0.9
_MOST_ATOMS: Final = 3
_TOLERANCE: Final = 2e-3
_MOST_ENTRIES: Final = 400_000

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """A candidate: its rows that stand where the sample's do, None where it has none."""

    name: str
    rows: tuple[Floats | None, ...]
    """Aligned with the pairs of the sample."""
    base: tuple[Floats, ...]
    """The base's rows, before anything that was undone in the sample."""

    def outside(self, before: Sample, after: Sample) -> Parent:
        """Leave out the pairs in which something was undone: it was not undone here."""
        pairs = zip(self.rows, before.pairs, after.pairs, strict=True)
        rows = (row if old.base is new.base else None for row, old, new in pairs)
        return replace(self, rows=tuple(rows))


@dataclass(frozen=True, slots=True)
class Mixture:
    """What candidates explain of a change."""

    parents: tuple[str, ...]
    coefficients: tuple[float, ...]
    method: str
    explained: float
    """Share of the change, rounding taken out."""
    left: float = 0.0
    """What the parents do not explain, relative to the weights: training went on after."""

    @property
    def is_one(self) -> bool:
        """Tell whether the child is one of the candidates, re-encoded at most."""
        return self.is_near or (len(self.parents) == 1 and abs(self.coefficients[0] - 1) < _WHOLE)

    @property
    def is_near(self) -> bool:
        """Tell whether the child is near a candidate, and not it."""
        return self.method == "sibling"


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """The normal equations of a change (last) in the changes of candidates, and in the base."""

    gram: Doubles
    target: Doubles
    total: float
    noise: float

    def solve(self, chosen: Sequence[int]) -> tuple[Doubles, float]:
        """Return coefficients and the sum of squares that is left."""
        part = np.asarray(chosen, np.intp)
        gram = self.gram[np.ix_(part, part)]
        found = np.asarray(np.linalg.lstsq(gram, self.target[part], rcond=1e-10)[0], np.float64)
        return found, max(self.total - float(found @ self.target[part]), 0.0)

    def explained(self, left: float) -> float:
        """Return the share of the change that is explained, rounding taken out."""
        signal = self.total - self.noise
        return 1 - max(left - self.noise, 0.0) / signal if signal > 0 else 0.0


def decompose(sample: Sample, parents: Sequence[Parent], *, base: str) -> Mixture | None:
    """Explain a change by candidates; None where they do not.

    Args:
        sample: Aligned rows of child and base, other edits undone.
        parents: Candidates, read at the same rows.
        base: What to call the base where it is a parent itself.
    """
    if not parents:
        return None
    stacked = _passthrough(sample, parents, base)
    if stacked is not None:
        return stacked
    system = _system(_entries(sample, parents, range(len(sample.pairs))), len(parents))
    if system is None or system.total - system.noise <= _SIGNAL * system.total:
        return None
    first: Mixture | None = None
    for gain in _GAINS:
        chosen = _pursued(system, len(parents), gain)
        mixture = _mixed(sample, system, chosen, parents, base)
        if mixture is not None and mixture.left == 0:
            return mixture
        first = first or mixture
    if first is not None:
        return _or_nearest(first, system, parents)
    chosen = _pursued(system, len(parents), _GAINS[-1])
    if not chosen or system.explained(system.solve(chosen)[1]) < _PARTLY:
        return None
    return _atoms(sample, parents, chosen[:_MOST_ATOMS])


def _mixed(
    sample: Sample, system: _System, chosen: Sequence[int], parents: Sequence[Parent], base: str
) -> Mixture | None:
    """Return the mixture of some candidates if it explains the change."""
    if not chosen:
        return None
    left = min(system.solve(some)[1] for some in (chosen, [*chosen, len(parents)]))
    if system.explained(left) <= (_EXPLAINED if len(chosen) > 1 else _ALONE):
        return None
    mixture = _linear(system, chosen, parents, base)
    return replace(mixture, left=_left(sample, [parents[item] for item in chosen]))


def _or_nearest(mixture: Mixture, system: _System, parents: Sequence[Parent]) -> Mixture:
    """Take a mixture that leaves something for one candidate, if that alone explains as much.

    Models trained on the same data move alike: what a second one adds is no parent.
    """
    for number, parent in enumerate(parents):
        if parent.name in mixture.parents and system.gram[number, number] > 0:
            values, left = system.solve([number])
            explained = system.explained(left)
            if explained > _AS_MUCH * mixture.explained:
                return Mixture((parent.name,), (float(values[0]),), "sibling", explained, 1.0)
    return mixture


def _entries(
    sample: Sample, parents: Sequence[Parent], places: Sequence[int]
) -> Iterator[tuple[Pair, list[Doubles], Doubles, Doubles]]:
    """Yield the changes of all candidates and of the child, and the base, in units of the base."""
    for place in places:
        pair = sample.pairs[place]
        rows = [parent.rows[place] for parent in parents]
        if pair.child.ndim != 2 or not pair.child.size or any(row is None for row in rows):
            continue
        scale = rms(finite(pair.base))
        if scale <= 0:
            continue
        deltas = [
            (finite(row) - finite(parent.base[place])).astype("f8") / scale
            for parent, row in zip(parents, rows, strict=True)
            if row is not None
        ]
        yield pair, deltas, finite(pair.delta).astype("f8") / scale, _base(pair) / scale


def _base(pair: Pair) -> Doubles:
    return finite(pair.base).astype("f8")


def _system(
    entries: Iterator[tuple[Pair, list[Doubles], Doubles, Doubles]], count: int
) -> _System | None:
    gram, target = np.zeros((count + 1, count + 1)), np.zeros(count + 1)
    total = noise = 0.0
    for pair, deltas, change, base in entries:
        columns = np.stack([*(delta.ravel() for delta in deltas), base.ravel()])
        gram += columns @ columns.T
        target += columns @ change.ravel()
        total += float((change**2).sum())
        # The base's own rounding is a part of every candidate's change, and cancels.
        variance = noise_of(pair, of_base=False).variance
        noise += variance / max(rms(finite(pair.base)), 1e-30) ** 2 * change.size
    return _System(gram, target, total, noise) if total > 0 else None


def _pursued(system: _System, count: int, gain: float) -> list[int]:
    """Choose candidates one by one while each explains more of the change."""
    chosen: list[int] = []
    left = system.total
    usable = [k for k in range(count) if system.gram[k, k] > 1e-12 * system.total]
    while len(chosen) < min(len(usable), _MOST_PARENTS):
        tried = [(system.solve([*chosen, item])[1], item) for item in usable if item not in chosen]
        best, item = min(tried)
        if left - best < gain * max(system.total - system.noise, 0.0):
            break
        chosen.append(item)
        left = best
    found = system.solve(chosen)[0] if chosen else np.zeros(0)
    return [item for item, value in zip(chosen, found, strict=True) if abs(value) > _LEAST]


def _left(sample: Sample, parents: Sequence[Parent]) -> float:
    """Return what the best mixture of each matrix by itself leaves, relative to the weights."""
    over = change = size = noise = 0.0
    for place in range(len(sample.pairs)):
        system = _system(_entries(sample, parents, [place]), len(parents))
        if system is None:
            continue
        left = system.solve(range(len(parents) + 1))[1]
        over += left
        noise += system.noise
        change += system.total
        size += sample.pairs[place].child.size
    beyond = over - noise
    if beyond <= max(_RESIDUE * (change - noise), _NOISY * noise) or size <= 0:
        return 0.0
    return float((beyond / size) ** 0.5)


def _linear(
    system: _System, chosen: Sequence[int], parents: Sequence[Parent], base: str
) -> Mixture:
    """Tell apart weighted means, sums of changes and arcs by what the base has beside them."""
    straight, left = system.solve(chosen)
    bent, bent_left = system.solve([*chosen, len(parents)])
    more, total = float(bent[-1]), float(bent[:-1].sum())
    is_arc = (
        len(chosen) == 2
        and more > _CURVED
        and abs(more - (total - 1)) < 0.2 * more + 1e-4
        and bent_left < left
    )
    found = bent[:-1] if is_arc else straight
    left = bent_left if is_arc else left
    names = [parents[item].name for item in chosen]
    values = [float(value) for value in found]
    rest = 1 - sum(values)
    method = "slerp" if is_arc else "linear"
    if not is_arc and abs(rest) > _LEAST:
        if len(chosen) == 1 and 0 < values[0] < 1 - _WHOLE:
            names, values = [*names, base], [*values, rest]
        elif len(chosen) > 1 or abs(rest) > _WHOLE:
            method = "task_arithmetic"
    order = sorted(range(len(names)), key=lambda k: -abs(values[k]))
    return Mixture(
        tuple(names[k] for k in order),
        tuple(round(values[k], 4) for k in order),
        method,
        system.explained(left),
    )


def _passthrough(sample: Sample, parents: Sequence[Parent], base: str) -> Mixture | None:
    """Tell whether whole layers come from one model each, and not all from the same."""
    layers: dict[int, list[int]] = {}
    for place, pair in enumerate(sample.pairs):
        if pair.layer is not None and pair.child.ndim == 2:
            layers.setdefault(pair.layer, []).append(place)
    origin = [_origin(sample, parents, places) for _, places in sorted(layers.items())]
    if len(origin) < 2 or None in origin or len(set(origin)) < 2:
        return None
    counts = Counter(item for item in origin if item is not None)
    names = {-1: base} | {number: parent.name for number, parent in enumerate(parents)}
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return Mixture(
        tuple(names[item] for item in ranked),
        tuple(round(counts[item] / len(origin), 4) for item in ranked),
        "passthrough",
        1.0,
    )


def _origin(sample: Sample, parents: Sequence[Parent], places: Sequence[int]) -> int | None:
    """Return whose layer it is: a candidate's number, -1 for the base, None for nobody's."""
    system = _system(_entries(sample, parents, places), len(parents))
    if system is None or system.total - system.noise <= _SIGNAL * system.total:
        return -1
    found = []
    for number in range(len(parents)):
        if system.gram[number, number] <= 0:
            continue
        values, left = system.solve([number])
        if abs(float(values[0]) - 1) < _WHOLE and system.explained(left) > 0.98:
            found.append((left, number))
    return min(found)[1] if found else None


def _atoms(sample: Sample, parents: Sequence[Parent], chosen: Sequence[int]) -> Mixture | None:
    """Tell whether every number of the change is a sum or a mean of some of the candidates'."""
    some = [parents[item] for item in chosen]
    changes: list[Doubles] = []
    child: list[Doubles] = []
    ends: list[Doubles] = []
    for pair, deltas, change, _ in _entries(sample, some, range(len(sample.pairs))):
        if not is_stored_whole(pair):
            return None
        scale = rms(finite(pair.base))
        step = ulps(finite(pair.child), pair.child_matrix.dtype.upper()).ravel() / scale
        changes.append(np.stack([delta.ravel() for delta in deltas]))
        child.append(change.ravel())
        ends.append(step)
        if sum(map(len, child)) > _MOST_ENTRIES:
            break
    if not child:
        return None
    return _fitted(
        np.concatenate(changes, axis=1), np.concatenate(child), np.concatenate(ends), some
    )


def _fitted(
    deltas: Doubles, change: Doubles, step: Doubles, parents: Sequence[Parent]
) -> Mixture | None:
    clear = (np.abs(deltas) > 20 * step).all(axis=0)
    deltas, change, step = deltas[:, clear], change[clear], step[clear]
    if deltas.shape[1] < 256:
        return None
    scales = np.array([_mode(change, delta) for delta in deltas])
    if not np.all(scales > 0):
        return None
    scaled = deltas * scales[:, None]
    best: Mixture | None = None
    for mean in (True, False):
        fits, kept = _atom_shares(scaled, change, step, mean=mean)
        if fits > _ATOMS and (best is None or fits > best.explained):
            values = scales if mean else scales * kept
            method = "ties" if mean else "dare"
            names = tuple(parent.name for parent in parents)
            best = Mixture(names, tuple(round(float(v), 4) for v in values), method, fits)
    return best


def _mode(change: Doubles, delta: Doubles) -> float:
    """Return the most frequent ratio of a child's change and a candidate's, 0 if there is none."""
    ratios = change / delta
    ratios = ratios[(ratios > 0.02) & (ratios < 50)]
    if len(ratios) < 64:
        return 0.0
    bins = np.round(np.log(ratios) / _TOLERANCE).astype(int)
    places, counts = np.unique(bins, return_counts=True)
    peak = places[np.argmax(counts)]
    near = ratios[np.abs(bins - peak) <= 1]
    return float(np.median(near)) if len(near) > 0.02 * len(change) else 0.0


def _atom_shares(
    scaled: Doubles, change: Doubles, step: Doubles, *, mean: bool
) -> tuple[float, Doubles]:
    """Return the share of numbers that are an atom, and how often each candidate takes part."""
    count = len(scaled)
    best = np.abs(change)
    which = np.zeros(len(change), np.intp)
    parts = [part for size in range(1, count + 1) for part in combinations(range(count), size)]
    for number, part in enumerate(parts, start=1):
        atom = scaled[list(part)].sum(axis=0)
        away = np.abs(change - (atom / len(part) if mean else atom))
        nearer = away < best
        best[nearer], which[nearer] = away[nearer], number
    fits = best <= 2 * step + _TOLERANCE * np.abs(scaled).max(axis=0)
    kept = np.array(
        [np.mean([k in (parts[w - 1] if w else ()) for w in which[:20_000]]) for k in range(count)]
    )
    return float(np.mean(fits)), kept
