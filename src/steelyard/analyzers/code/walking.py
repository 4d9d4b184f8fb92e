"""Walk the objects of a document of any depth, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from steelyard.checkpoints.documents import JsonValue


def objects_in(document: JsonValue) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """Yield every object of a document with its path, in order, without recursion."""
    stack = [iter([("", document)])]
    while stack:
        path, value = next(stack[-1], ("", None))
        if value is None:
            stack.pop()
            continue
        if isinstance(value, dict):
            yield path, value
        stack.append(_children(path, value))


def _children(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Yield the objects and lists right within another, one at a time: there may be millions."""
    items: Iterable[tuple[object, JsonValue]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    prefix = f"{path[-300:]}." if path else ""
    for key, item in items:
        if isinstance(item, dict | list):
            yield f"{prefix}{str(key)[:50]}", item
