"""The European Open Source AI Index: fourteen dimensions, each open, partial or closed.

Source: osai-index.eu; Liesenfeld and Dingemanse, FAccT 2024, doi 10.1145/3630106.3659005. The
score is the plain sum; a dimension that is unknown makes it a range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from steelyard.errors import ConfigError
from steelyard.facts import Interval
from steelyard.knowledge import load
from steelyard.rules.lines import Tree, read_yaml

_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension, judged."""

    key: str
    name: str
    group: str
    """`availability`, `documentation` or `access`."""
    state: str | None
    """`open`, `partial` or `closed`; None where nobody knows."""
    links: tuple[str, ...] = ()
    note: str = ""


def judged(states: Mapping[str, tuple[str | None, str]]) -> tuple[Dimension, ...]:
    """Return all dimensions, with a state and a note for those that `states` names."""
    return tuple(
        Dimension(item["key"], item["name"], item["group"], *_with_note(states.get(item["key"])))
        for item in load("osai_index")["dimensions"]
    )


def _with_note(given: tuple[str | None, str] | None) -> tuple[str | None, tuple[str, ...], str]:
    return (None, (), "") if given is None else (given[0], (), given[1])


def score(dimensions: Iterable[Dimension]) -> Interval:
    """Return the sum over all dimensions; a range where some are unknown."""
    values = _values()
    low = high = 0.0
    for dimension in dimensions:
        known = values.get(dimension.state or "")
        low += 0.0 if known is None else known
        high += max(values.values()) if known is None else known
    return Interval(low, high)


@cache
def _values() -> Mapping[str, float]:
    return {name: float(value) for name, value in load("osai_index")["values"].items()}


def read_index(text: str, file: str) -> tuple[str, tuple[Dimension, ...]]:
    """Read an entry of the index: the model's name and its dimensions.

    Raises:
        PackError: If the text is not YAML; with file and line.
        ConfigError: If it is no entry of the index, or a dimension has an unknown state.
    """
    tree, lines = read_yaml(text, file)
    system = tree.get("system") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(system, dict):
        raise ConfigError("the file is no entry of the index", fix="it has `system`", file=file)
    found = []
    for item in load("osai_index")["dimensions"]:
        entry = tree.get(item["key"])
        entry = entry if isinstance(entry, dict) else {}
        state = _text(entry.get("class")).lower() or None
        if state is not None and state not in _values():
            raise ConfigError(
                f"{item['key']} is {state!r}",
                fix=f"one of {', '.join(_values())}",
                file=file,
                line=lines.get((item["key"], "class")),
            )
        links = entry.get("link")
        found.append(
            Dimension(
                item["key"],
                item["name"],
                item["group"],
                state,
                tuple(_text(link) for link in (links if isinstance(links, list) else [links])),
                _text(entry.get("notes")),
            )
        )
    return _text(system.get("name")), tuple(found)


def _text(tree: Tree) -> str:
    return tree.strip()[:_LONGEST] if isinstance(tree, str) else ""
