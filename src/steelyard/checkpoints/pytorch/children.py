"""What lies inside the containers of a pickle, as pairs of a name and a value.

Containers are dicts, lists, tuples, sets, and the results of calls: a call shows what it is given,
what would be put into its `__dict__`, and what would be appended or set. Contents that several
containers share are shown once, so that walking costs no more than the pickle is long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from steelyard.checkpoints.pickles.values import Call, Items, Pairs, Value, items_of

Child = tuple[str, Value]

TRANSPARENT: Final = frozenset({"_parameters", "_buffers", "_modules"})
"""Dicts in the state of a PyTorch module whose names `state_dict()` leaves out."""


def pairs(value: Pairs) -> Iterator[Child]:
    """Yield a dict's keys, as text, and values; a later value replaces an earlier one."""
    kept: dict[object, Child] = {}
    for index, (key, item) in enumerate(zip(value.keys, value.values, strict=True)):
        plain = key is None or isinstance(key, str | int | float)
        kept[key if plain else ("node", id(key))] = (key_text(key, index), item)
    yield from kept.values()


def key_text(key: Value, index: int) -> str:
    """Write a dict's key as part of a path; one that has no text is named by its position."""
    if key is None or isinstance(key, str | int | float):
        return str(key)
    return f"[{index}]"


def numbered(items: list[Value]) -> Iterator[Child]:
    """Yield items under their position."""
    for index, value in enumerate(items):
        yield str(index), value


def arguments(call: Call, mapping: bool, entered: set[int]) -> Iterator[Child]:
    """Yield what a call is given; a mapping may be given its items as pairs."""
    args = items_of(call.args) or []
    items = items_of(args[0]) if mapping and len(args) == 1 else None
    if not _enter(args if items is None else items, entered):
        return
    if items is None:
        yield from numbered(args)
        return
    for index, pair in enumerate(items):
        parts = items_of(pair) or []
        if len(parts) == 2:
            yield key_text(parts[0], index), parts[1]


def contents(call: Call, entered: set[int]) -> Iterator[Child]:
    """Yield what would be put into a call's result."""
    for state in call.states or ():
        yield from state_contents(state, entered)
    if call.mapped is not None:
        yield from pairs(call.mapped)
    if call.listed is not None:
        yield from numbered(call.listed.items)


def state_contents(state: Value, entered: set[int]) -> Iterator[Child]:
    """Yield the attributes that a state would set."""
    parts = items_of(state)
    # A state may be two dicts: the instance's attributes, and its slots.
    split = parts is not None and len(parts) == 2 and isinstance(parts[1], Pairs)
    for part in (parts or []) if split else [state]:
        if not isinstance(part, Pairs):
            yield "state", part
        elif _enter(part, entered):
            for key, value in pairs(part):
                inner = key in TRANSPARENT and isinstance(value, Pairs | Call | Items)
                yield "" if inner else key, value


def _enter(value: object, entered: set[int]) -> bool:
    """Say whether `value` is met for the first time."""
    first = id(value) not in entered
    entered.add(id(value))
    return first
