"""Which models were combined, and with which weights, told from candidates.

A child's change is set beside the changes of candidates by least squares, the best added one by
one (orthogonal matching pursuit, Pati et al. 1993) while they explain what rounding does not.
Sources of the methods: Wortsman et al. 2022 (linear), Ilharco et al. 2023 (task arithmetic);
`atoms` has those that choose number by number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.atoms import fit_atoms
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.noise import noise_of
from steelyard.lineage.floats import Doubles, finite, rms, ulps
from steelyard.lineage.matrix import Floats

_EXPLAINED: Final = 0.9
"""Share of a change that parents must explain; siblings of the true ones reach 0.7."""
_ALONE: Final = 0.99
"""The same for one candidate: a sibling that saw the same data in the same order reaches 0.97."""
_PARTLY: Final = 0.1
_GAINS: Final = (0.03, 0.004)
"""Share of a change that one parent more must explain; the lower where that leaves nothing."""
_AS_MUCH: Final = 0.95
"""Share of what a mixture explains that one candidate alone must explain to be the nearest."""
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
"""How much of the base an arc must have beside its two ends, to be told from a straight line."""
_BEND: Final = 0.2
"""Relative difference of that to what two shares of one arc leave."""
_MOST_ATOMS: Final = 3
_MOST_ENTRIES: Final = 400_000
_BASE: Final = -1
"""Stands for the base among the numbers of candidates."""
_SAME: Final = 0.98
"""Share of a layer's change that a candidate must explain for the layer to be its own."""


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
    """Models that were combined, and their shares."""

    parents: tuple[str, ...]
    coefficients: tuple[float, ...]
    method: str
    explained: float
    """Share of the change, rounding taken out."""
    left: float = 0.0
    """What the parents do not explain, relative to the weights: training went on after."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """One candidate that explains a change: the child is it, re-encoded at most, or a sibling."""

    name: str
    explained: float
    """Share of the change, rounding taken out."""
    is_it: bool


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """The normal equations of a change in the changes of candidates and, last, in the base."""

    gram: Doubles
    target: Doubles
    total: float
    noise: float
    size: int
    """Numbers that it was made of."""

    def __add__(self, other: _System) -> _System:
        """Join two sets of numbers."""
        return _System(
            self.gram + other.gram,
            self.target + other.target,
            self.total + other.total,
            self.noise + other.noise,
            self.size + other.size,
        )

    @property
    def count(self) -> int:
        """Return how many candidates there are; the base follows them."""
        return len(self.target) - 1

    @property
    def signal(self) -> float:
        """Return what of the change is not rounding."""
        return self.total - self.noise

    @property
    def is_rounding(self) -> bool:
        """Tell whether nothing but rounding is there."""
        return self.signal <= _SIGNAL * self.total

    def solve(self, chosen: Sequence[int]) -> tuple[Doubles, float]:
        """Return coefficients and the sum of squares that is left."""
        part = np.asarray(chosen, np.intp)
        gram = self.gram[np.ix_(part, part)]
        found = np.asarray(np.linalg.lstsq(gram, self.target[part], rcond=1e-10)[0], np.float64)
        return found, max(self.total - float(found @ self.target[part]), 0.0)

    def explained(self, left: float) -> float:
        """Return the share of the change that is explained, rounding taken out."""
        return 1 - max(left - self.noise, 0.0) / self.signal if self.signal > 0 else 0.0


def decompose(
    sample: Sample, parents: Sequence[Parent], *, base: str, grids: Grids
) -> Mixture | Nearest | None:
    """Explain a change by candidates; None where they do not.

    Args:
        sample: Aligned rows of child and base, other edits undone.
        parents: Candidates, read at the same rows.
        base: What to call the base where it is a parent itself.
        grids: What was found in pairs of the same models.
    """
    systems = {
        place: _system(sample.pairs[place], deltas, grids)
        for place, deltas in _deltas(sample, parents)
    }
    if not systems:
        return None
    stacked = _passthrough(sample, systems, parents, base)
    if stacked is not None:
        return stacked
    system = _joined(systems.values())
    if system.is_rounding:
        return None
    first: Mixture | None = None
    for gain in _GAINS:
        chosen = _pursued(system, gain)
        mixture = _mixed(system, systems.values(), chosen, parents, base)
        if mixture is not None and mixture.left == 0:
            return _told(mixture)
        first = first or mixture
    if first is not None:
        return _sibling(first, system, parents) or _told(first)
    chosen = _pursued(system, _GAINS[-1])
    if not chosen or system.explained(system.solve(chosen)[1]) < _PARTLY:
        return None
    mixture = _atoms(sample, [parents[item] for item in chosen[:_MOST_ATOMS]])
    return None if mixture is None else _told(mixture)


def _told(mixture: Mixture) -> Mixture | Nearest:
    """Say that the child is a candidate where that is all its share shows."""
    if len(mixture.parents) == 1 and abs(mixture.coefficients[0] - 1) < _WHOLE:
        return Nearest(mixture.parents[0], mixture.explained, is_it=True)
    return mixture


def _mixed(
    system: _System,
    parts: Iterable[_System],
    chosen: Sequence[int],
    parents: Sequence[Parent],
    base: str,
) -> Mixture | None:
    """Return the mixture of some candidates if it explains the change."""
    if not chosen:
        return None
    with_base = [*chosen, system.count]
    left = min(system.solve(some)[1] for some in (chosen, with_base))
    if system.explained(left) <= (_EXPLAINED if len(chosen) > 1 else _ALONE):
        return None
    mixture = _linear(system, chosen, parents, base)
    return replace(mixture, left=_left(system, parts, with_base))


def _sibling(mixture: Mixture, system: _System, parents: Sequence[Parent]) -> Nearest | None:
    """Take a mixture that leaves something for one candidate, if that alone explains as much.

    Models trained on the same data move alike: what a second one adds is no parent.
    """
    for number, parent in enumerate(parents):
        if parent.name in mixture.parents and system.gram[number, number] > 0:
            explained = system.explained(system.solve([number])[1])
            if explained > _AS_MUCH * mixture.explained:
                return Nearest(parent.name, explained, is_it=False)
    return None


def _deltas(sample: Sample, parents: Sequence[Parent]) -> Iterator[tuple[int, Doubles]]:
    """Yield the changes of all candidates, pair by pair, where each of them has the rows."""
    for place, pair in enumerate(sample.pairs):
        rows = [parent.rows[place] for parent in parents]
        known = [row for row in rows if row is not None]
        if known and len(known) == len(rows) and pair.child.ndim == 2 and pair.theirs.energy > 0:
            yield (
                place,
                np.stack(
                    [
                        (finite(row) - finite(parent.base[place])).ravel().astype(np.float64)
                        for parent, row in zip(parents, known, strict=True)
                    ]
                ),
            )


def _system(pair: Pair, deltas: Doubles, grids: Grids) -> _System:
    """Set up the equations of one pair, in units of the base's root mean square."""
    base = pair.theirs.numbers.ravel().astype(np.float64)
    change = pair.delta.ravel().astype(np.float64)
    scale = pair.theirs.energy / base.size
    columns = np.concatenate([deltas, base[None]])
    # The base's own rounding is a part of every candidate's change, and cancels.
    noise = noise_of(pair, grids=grids, of_base=False).variance * base.size
    return _System(
        columns @ columns.T / scale,
        columns @ change / scale,
        pair.moved / scale,
        noise / scale,
        base.size,
    )


def _joined(systems: Iterable[_System]) -> _System:
    first, *others = systems
    return reduce(add, others, first)


def _pursued(system: _System, gain: float) -> list[int]:
    """Choose candidates one by one while each explains more of the change."""
    chosen: list[int] = []
    left = system.total
    usable = [k for k in range(system.count) if system.gram[k, k] > 1e-12 * system.total]
    while len(chosen) < min(len(usable), _MOST_PARENTS):
        tried = [(system.solve([*chosen, item])[1], item) for item in usable if item not in chosen]
        best, item = min(tried)
        if left - best < gain * max(system.signal, 0.0):
            break
        chosen.append(item)
        left = best
    found = system.solve(chosen)[0] if chosen else np.zeros(0)
    return [item for item, value in zip(chosen, found, strict=True) if abs(value) > _LEAST]


def _left(system: _System, parts: Iterable[_System], chosen: Sequence[int]) -> float:
    """Return what the best mixture of each matrix by itself leaves, relative to the weights."""
    beyond = sum(part.solve(chosen)[1] for part in parts) - system.noise
    if beyond <= max(_RESIDUE * system.signal, _NOISY * system.noise):
        return 0.0
    return float((beyond / system.size) ** 0.5)


def _linear(
    system: _System, chosen: Sequence[int], parents: Sequence[Parent], base: str
) -> Mixture:
    """Tell apart weighted means, sums of changes and arcs by what the base has beside them."""
    straight, left = system.solve(chosen)
    bent, bent_left = system.solve([*chosen, system.count])
    more, total = float(bent[-1]), float(bent[:-1].sum())
    is_arc = (
        len(chosen) == 2
        and more > _CURVED
        and abs(more - (total - 1)) < _BEND * more + _CURVED / 5
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


def _passthrough(
    sample: Sample, systems: Mapping[int, _System], parents: Sequence[Parent], base: str
) -> Mixture | None:
    """Tell whether whole layers come from one model each, and not all from the same."""
    layers: dict[int, list[_System]] = {}
    for place, system in systems.items():
        layer = sample.pairs[place].layer
        if layer is not None:
            layers.setdefault(layer, []).append(system)
    origin = [_origin(_joined(parts)) for _, parts in sorted(layers.items())]
    if len(origin) < 2 or None in origin or len(set(origin)) < 2:
        return None
    counts = Counter(item for item in origin if item is not None)
    names = {_BASE: base} | {number: parent.name for number, parent in enumerate(parents)}
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return Mixture(
        tuple(names[item] for item in ranked),
        tuple(round(counts[item] / len(origin), 4) for item in ranked),
        "passthrough",
        1.0,
    )


def _origin(system: _System) -> int | None:
    """Return whose layer it is: a candidate's number, `_BASE`, or None for nobody's."""
    if system.is_rounding:
        return _BASE
    found = []
    for number in range(system.count):
        if system.gram[number, number] <= 0:
            continue
        values, left = system.solve([number])
        if abs(float(values[0]) - 1) < _WHOLE and system.explained(left) > _SAME:
            found.append((left, number))
    return min(found)[1] if found else None


def _atoms(sample: Sample, parents: Sequence[Parent]) -> Mixture | None:
    """Tell whether every number of the change is a sum or a mean of some of the candidates'."""
    deltas: list[Doubles] = []
    changes: list[Doubles] = []
    steps: list[Doubles] = []
    for place, delta in _deltas(sample, parents):
        pair = sample.pairs[place]
        if pair.ours.is_packed or pair.theirs.is_packed:
            return None
        scale = rms(pair.theirs.numbers)
        deltas.append(delta / scale)
        changes.append(pair.delta.ravel().astype(np.float64) / scale)
        steps.append(ulps(pair.ours.numbers, pair.child_matrix.dtype.upper()).ravel() / scale)
        if sum(map(len, changes)) > _MOST_ENTRIES:
            break
    if not changes:
        return None
    found = fit_atoms(
        np.concatenate(deltas, axis=1), np.concatenate(changes), np.concatenate(steps)
    )
    if found is None:
        return None
    names = tuple(parent.name for parent in parents)
    return Mixture(names, found.coefficients, found.method, found.explained)
