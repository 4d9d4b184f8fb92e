"""How far each layer is from the base's, laid out for drawing: rows of roles, columns of layers.

One scale serves every picture, so that two of them can be laid side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import Final

from steelyard.lineage.relation import Change, Comparison, Component
from steelyard.reports.pairs.parts import Stack, finite, outside, part_name, place, stacks
from steelyard.reports.text import plain

BOUNDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Upper bounds of the levels from 1 on; 0 is equal, the last level has no bound."""
LEVELS: Final = len(BOUNDS) + 2
MOST_COLUMNS: Final = 400
"""Wider stacks are drawn several layers a column."""
_MOST_ROWS: Final = 40


class Origin(StrEnum):
    """Where a layer comes from."""

    SAME = "="
    """The base's layer of the same number."""
    MOVED = ">"
    """Another layer of the base."""
    NONE = "x"
    """No layer of the base."""


@dataclass(frozen=True, slots=True)
class Column:
    """One layer, or several beside each other where there are very many."""

    first: int
    last: int
    origin: Origin | None
    """None where the origin was not asked."""

    @property
    def name(self) -> str:
        """Name the layers: `layer 3`, `layers 8-11`."""
        if self.first == self.last:
            return f"layer {self.first}"
        return f"layers {self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Row:
    """One role: the relative change in each column, the largest of all its layers."""

    role: str
    values: tuple[float | None, ...]
    """None where nothing was read."""


@dataclass(frozen=True, slots=True)
class StackPicture:
    """The layers of one stack."""

    name: str
    columns: tuple[Column, ...]
    each: int
    """Layers of a column."""
    rows: tuple[Row, ...]
    equal: tuple[str, ...]
    """Roles that are equal in every layer."""
    map: str
    """Which layers of the base the child's are; empty where all lie in order."""

    @property
    def is_quiet(self) -> bool:
        """Tell whether there is nothing to see: all equal, all in order."""
        return not self.rows and not self.map


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn."""

    stacks: tuple[StackPicture, ...]
    singles: tuple[tuple[str, float], ...]
    """Weights outside of layers, with their change."""


def level(value: float) -> int:
    """Return the level of a relative change: 0 for none, up to `LEVELS - 1`."""
    return 0 if value == 0 else 1 + bisect_left(BOUNDS, value)


def picture(said: Comparison) -> Picture:
    """Lay out what changed; nothing where no part has a common origin."""
    if all(part.base is None for part in said.related.components) and not said.changes:
        return Picture((), ())
    layered: dict[str, dict[str, dict[int, float]]] = {}
    singles: dict[str, float] = {}
    told: set[str] = set()
    for change in said.changes:
        if isnan(change.relative):
            continue
        where = place(change.component)
        if where is None:
            name = _single(change)
            told.add(part_name(change.component))
            singles[name] = max(change.relative, singles.get(name, 0.0))
            continue
        row = layered.setdefault(where.stack, {}).setdefault(plain(change.role, 24), {})
        row[where.number] = max(change.relative, row.get(where.number, 0.0))
    known = {stack.name: stack for stack in stacks(said.related.components)}
    drawn = tuple(
        _stack(name, known.get(name), layered.get(name, {}))
        for name in dict.fromkeys((*known, *layered))
    )
    for part in outside(said.related.components):
        name = part_name(part.name)
        if part.base is not None and name not in told and finite([part.change]):
            singles[name] = part.change or 0.0
    return Picture(
        tuple(stack for stack in drawn if stack is not None),
        tuple(singles.items())[:_MOST_ROWS],
    )


def _single(change: Change) -> str:
    """Name a weight outside of layers."""
    if change.component in (change.role, "head"):
        return part_name(change.role)
    return plain(f"{part_name(change.component)} {change.role}", 40)


def _stack(
    name: str, known: Stack | None, roles: Mapping[str, Mapping[int, float]]
) -> StackPicture | None:
    origins = _origins(known.layers) if known else {}
    numbers = sorted({*origins, *(number for row in roles.values() for number in row)})
    if not roles and not (known and known.matched):
        return None
    each = -(-len(numbers) // MOST_COLUMNS)
    groups = [numbers[start : start + each] for start in range(0, len(numbers), each)]
    moved = known is not None and bool(known.matched) and not known.is_in_order
    rows = [Row(role, tuple(_largest(row, group) for group in groups))
            for role, row in _ordered(roles)]  # fmt: skip
    return StackPicture(
        name,
        tuple(Column(group[0], group[-1], _joint(origins, group)) for group in groups),
        each,
        tuple(row for row in rows if any(row.values))[:_MOST_ROWS],
        tuple(row.role for row in rows if not any(row.values)),
        known.map if known and moved else "",
    )


def _ordered(
    roles: Mapping[str, Mapping[int, float]],
) -> Iterable[tuple[str, Mapping[int, float]]]:
    """Yield the matrices before the norms."""
    return sorted(roles.items(), key=lambda item: item[0].startswith("norm"))


def _origins(layers: Sequence[tuple[int, Component]]) -> Mapping[int, Origin]:
    return {
        number: Origin.NONE
        if part.base is None
        else Origin.SAME
        if part.base == part.name
        else Origin.MOVED
        for number, part in layers
    }


def _joint(origins: Mapping[int, Origin], group: Sequence[int]) -> Origin | None:
    """Return what is worth telling of several layers: one without origin, else one that moved."""
    found = {origins[number] for number in group if number in origins}
    return next((o for o in (Origin.NONE, Origin.MOVED, Origin.SAME) if o in found), None)


def _largest(row: Mapping[int, float], group: Sequence[int]) -> float | None:
    return max((row[number] for number in group if number in row), default=None)
