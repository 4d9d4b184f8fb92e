"""Compare the layers of two models: each of the child's with those of the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.exchangeability import Order, is_attainable
from steelyard.lineage.relating.fixed_points import (
    NOTHING,
    SURE,
    Agreement,
    agree,
    corrected,
    fisher,
    join,
)
from steelyard.lineage.relating.measured import (
    Columns,
    Measured,
    Units,
    block_of,
    order_of_both,
)
from steelyard.lineage.relation import Component

_DECISIVE: Final = -20.0
_NEAREST: Final = 2
"""Layers that are tested exactly, of those that a first look finds most alike."""
_WORTH_A_TEST: Final = 5
"""Units in place from which on a layer of another number is tested exactly: fewer prove nothing
once the choice among layers is paid for."""
_NOTES: Final = {
    Order.SORTED: "units of {name} are sorted by size in both models: "
    "they were compared with near neighbors only",
    Order.SMOOTH: "units of {name} resemble their neighbors in both models, "
    "so their numbers prove nothing: they were not compared",
    Order.FORMULA: "units of {name} are what a formula makes of their numbers in both models, "
    "which proves nothing: they were not compared",
}


_CHOSEN: Final = (
    "neurons of the same number are no more alike than an order chosen for the purpose could make "
    "them: they were trained far apart, or sorted after the base's, and numbers do not tell which"
)


def _is_weak(ours: Units, theirs: Units) -> bool:
    return ours.weights.shape == theirs.weights.shape and is_attainable(
        ours.weights, theirs.weights, choices=max(ours.shape[0], len(ours.weights))
    )


def component(name: str, base: str, log10_p: float, found: Agreement) -> Component:
    """Tell of a part, and of the base's part it comes from if the chance is small enough."""
    origin = base if log10_p <= SURE else None
    return Component(name, origin, log10_p, found.agreeing, found.items)


def block_within(
    name: str, ours: Columns | Units, theirs: Columns | Units, notes: list[str]
) -> int | None:
    """Return the size of blocks to compare within, and note why; see `block_of`."""
    order = order_of_both(ours, theirs)
    if order is not Order.FREE:
        notes.append(_NOTES[order].format(name=name))
    return block_of(order)


class Stack:
    """The layers of two models, each of the child's compared with those of the base."""

    def __init__(self, child: Measured, base: Measured, notes: list[str]) -> None:
        self._names, self._base_names, self._notes = child.layers, base.layers, notes
        self._mine = child.units() if child.layers and base.layers else {}
        self._other = base.units() if self._mine else {}
        self._heads = _Heads(self._other)
        self.tests: list[float] = []

    def components(self) -> list[Component]:
        """Return what each compared layer of the child matches best."""
        found: list[Component] = []
        weak: list[bool] = []
        straight: list[tuple[Agreement, Agreement]] = []
        for layer, mine in self._mine.items():
            best = self._best(layer, mine, straight)
            if best is None:
                continue
            other, agreement = best
            # The choice among all layers and both tests is paid for, however soon it was made.
            log10_p = corrected(agreement.log10_p, 2 * len(self._other))
            found.append(component(self._names[layer], self._base_names[other], log10_p, agreement))
            if found[-1].base is not None:
                weak.append(_is_weak(mine, self._other[other]))
        if weak and all(weak):
            self._notes.append(_CHOSEN)
        if found:
            self.tests.append(fisher([part.log10_p for part in found]))
        for column in zip(*straight, strict=True):
            self.tests.append(join(column).log10_p)
        return found

    def _best(
        self, layer: int, mine: Units, straight: list[tuple[Agreement, Agreement]]
    ) -> tuple[int, Agreement] | None:
        """Return the base's layer that fits best, and how well; None if none can be compared."""
        best: tuple[int, Agreement] | None = None
        tried = set()
        nearest = sorted(self._other, key=lambda number: abs(number - layer))[:1]
        for other in nearest:
            best = self._better(best, layer, mine, other, straight)
            tried.add(other)
        if best is not None and best[1].log10_p < _DECISIVE:
            return best
        for other in self._heads.most_alike(mine):
            if other not in tried:
                best = self._better(best, layer, mine, other, straight)
        return best

    def _better(
        self,
        best: tuple[int, Agreement] | None,
        layer: int,
        mine: Units,
        other: int,
        straight: list[tuple[Agreement, Agreement]],
    ) -> tuple[int, Agreement] | None:
        pair = self._agreements(self._names[layer], mine, self._other[other])
        if other == layer:
            straight.append(pair)
        for agreement in pair:
            if agreement.items and (best is None or agreement.log10_p < best[1].log10_p):
                best = other, agreement
        return best

    def _agreements(self, name: str, mine: Units, other: Units) -> tuple[Agreement, Agreement]:
        order = block_within(name, mine, other, self._notes)
        if order == 0:
            return NOTHING, NOTHING
        block = _smaller(_smaller(mine.block, other.block), order)
        weights = agree(mine.weights, other.weights, block=block)
        return weights, agree(mine.answers, other.answers, block=block)


class _Heads:
    """The base's layers side by side, to find at one look which are worth an exact test."""

    def __init__(self, units: Mapping[int, Units]) -> None:
        self._units = units
        self._stacked: dict[tuple[str, int, int], tuple[list[int], Floats]] = {}

    def most_alike(self, mine: Units) -> list[int]:
        """Return the layers in which most units resemble the unit of the same number."""
        score: dict[int, int] = {}
        for kind in ("weights", "answers"):
            for number, count in self._counts(kind, getattr(mine, kind)).items():
                score[number] = max(score.get(number, 0), count)
        worth = [number for number, count in score.items() if count >= _WORTH_A_TEST]
        return sorted(worth, key=lambda number: -score[number])[:_NEAREST]

    def _counts(self, kind: str, own: Floats) -> dict[int, int]:
        """Count for each layer the units that are most like the unit of the same number."""
        count, width = own.shape
        if not own.size:
            return {}
        if (kind, count, width) not in self._stacked:
            self._stacked[kind, count, width] = self._stack(kind, count, width)
        fits, stacked = self._stacked[kind, count, width]
        if not fits:
            return {}
        count = len(stacked) // len(fits)
        alike = np.abs(unit(own[:count]) @ stacked.T)
        best = alike.reshape(count, len(fits), count).argmax(axis=2)
        hits = (best == np.arange(count)[:, None]).sum(axis=0)
        return {number: int(hit) for number, hit in zip(fits, hits, strict=True)}

    def _stack(self, kind: str, count: int, width: int) -> tuple[list[int], Floats]:
        profiles: dict[int, Floats] = {n: getattr(each, kind) for n, each in self._units.items()}
        fits = [n for n, profile in profiles.items() if profile.shape[1:] == (width,)]
        count = min([count, *(len(profiles[n]) for n in fits)])
        if not fits or not count:
            return [], np.empty((0, width), np.float32)
        return fits, np.concatenate([unit(profiles[n][:count]) for n in fits])


def _smaller(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)
