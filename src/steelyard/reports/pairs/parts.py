"""The parts of a child, sorted: layers by stack, matrices without a role, and what is neither."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from steelyard.lineage.relation import Component
from steelyard.reports.text import plain

_LAYER: Final = re.compile(r"(?:(.+)\.)?layers\.([0-9]{1,9})")
_NAMELESS: Final = "tensor:"
_WORDS: Final = {
    "embedding": "embedding",
    "head": "output head",
    "output_head": "output head",
    "position_embedding": "position embedding",
}
_MOST_RUNS: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a layer lies: its stack (empty for the only one) and its number there."""

    stack: str
    number: int


def place(name: str | None) -> Place | None:
    """Read `layers.3` or `vision.layers.0`; None for what is no layer."""
    found = _LAYER.fullmatch(name or "")
    return Place(plain(found[1] or "", 30), int(found[2])) if found else None


def part_name(name: str) -> str:
    """Name a part outside of layers: `embedding`, `output head`; a matrix as its file does."""
    if is_nameless(name):
        return plain(name.removeprefix(_NAMELESS), 40)
    return _WORDS.get(name) or plain(name.replace("_", " "), 40)


def is_nameless(name: str) -> bool:
    """Tell whether a part is a matrix whose name says nothing of its role."""
    return name.startswith(_NAMELESS)


def stack_name(stack: str, count: int = 2) -> str:
    """Name the layers of a stack: `layers`, `vision layers`."""
    noun = "layer" if count == 1 else "layers"
    return f"{stack} {noun}" if stack else noun


@dataclass(frozen=True, slots=True)
class Stack:
    """The layers of one stack that were compared, in order."""

    name: str
    layers: tuple[tuple[int, Component], ...]
    """The child's number of each layer, and what is known of it."""

    @property
    def matched(self) -> tuple[tuple[int, Component], ...]:
        """Return the layers that share their origin with one of the base."""
        return tuple(item for item in self.layers if item[1].base is not None)

    @property
    def is_in_order(self) -> bool:
        """Tell whether every layer comes from the base's of the same name."""
        return all(part.base == part.name for _, part in self.layers)

    @property
    def map(self) -> str:
        """Write which layers of the base those of the child are: `0-9 are 0-9, 10-21 are 20-31`."""
        pairs = [(number, place(part.base)) for number, part in self.layers]
        return layer_map([(n, from_.number if from_ else None) for n, from_ in pairs])


def outside(components: Iterable[Component]) -> tuple[Component, ...]:
    """Return the parts with a role that are no layers."""
    return tuple(p for p in components if place(p.name) is None and not is_nameless(p.name))


def nameless(components: Iterable[Component]) -> tuple[Component, ...]:
    """Return the matrices without a role."""
    return tuple(part for part in components if is_nameless(part.name))


def stacks(components: Iterable[Component]) -> tuple[Stack, ...]:
    """Return the layers by stack, each in order."""
    found: dict[str, dict[int, Component]] = {}
    for part in components:
        where = place(part.name)
        if where is not None:
            found.setdefault(where.stack, {})[where.number] = part
    return tuple(Stack(name, tuple(sorted(parts.items()))) for name, parts in found.items())


def layer_map(pairs: Sequence[tuple[int, int | None]]) -> str:
    """Write a map of layers in runs: `0-9 are 0-9, 10-21 are 20-31, 22 is none`."""
    runs, start = [], 0
    while start < len(pairs):
        length = _run(pairs[start:])
        runs.append(_run_words(pairs[start : start + length]))
        start += length
    more = len(runs) - _MOST_RUNS
    return ", ".join(runs[:_MOST_RUNS]) + (f" and {more} more runs" if more > 0 else "")


def _run(pairs: Sequence[tuple[int, int | None]]) -> int:
    """Count the layers at the start that follow each other in steady steps."""
    if len(pairs) < 2:
        return len(pairs)
    step = _step(pairs[0], pairs[1])
    length = 1
    while length < len(pairs) and _step(pairs[length - 1], pairs[length]) == step is not None:
        length += 1
    # Two layers make a run only where the base's lie side by side, too.
    return length if step in (0, 1) or length > 2 else 1


def _step(before: tuple[int, int | None], after: tuple[int, int | None]) -> int | None:
    """Return how far apart the base's layers of two neighbors are; None if they are no run."""
    if after[0] != before[0] + 1:
        return None
    if before[1] is None or after[1] is None:
        return 0 if before[1] is after[1] else None
    return (after[1] - before[1]) or None


def _run_words(run: Sequence[tuple[int, int | None]]) -> str:
    (first, from_), (last, to) = run[0], run[-1]
    theirs = "none" if from_ is None else str(from_)
    if len(run) == 1:
        return f"{first} is {theirs}"
    if from_ is not None and to is not None:
        step = run[1][1]
        even = step is not None and abs(step - from_) == 1
        theirs = f"{from_}-{to}" if even else f"{from_}, {step}, …, {to}"
    return f"{first}-{last} are {theirs}"


def finite(values: Iterable[float | None]) -> tuple[float, ...]:
    """Keep the numbers among values."""
    return tuple(value for value in values if value is not None and math.isfinite(value))
