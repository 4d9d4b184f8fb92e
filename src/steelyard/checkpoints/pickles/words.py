"""Say a call that was not made in words: `builtins.eval("...")`, on one line and short.

A stream may call what another call returned, or hand one to the other; both are followed a few
links deep. Everything that comes from the stream is quoted, escaped and cut.
"""

from __future__ import annotations

from typing import Final

from steelyard.checkpoints.pickles.opcodes import Opaque
from steelyard.checkpoints.pickles.values import (
    Call,
    Global,
    Items,
    Pairs,
    Persistent,
    Value,
    items_of,
)

LONGEST: Final = 240
"""Characters of a call in words."""
_LONGEST_TEXT: Final = 80
_LONGEST_NAME: Final = 120
_MOST_ARGUMENTS: Final = 4
_DEEPEST: Final = 4
_BRACKETS: Final = {"list": "[…]", "tuple": "(…)", "set": "{…}", "frozenset": "{…}"}


def in_words(found: Global) -> str:
    """Say what a global is called with, or handed to; empty when neither is known."""
    if found.call is not None:
        return _cut(_call(found.call, 0), LONGEST)
    if found.given_to is not None:
        return _cut(f"handed to {_call(found.given_to, 0)}", LONGEST)
    return f"{_name(found)}(…)" if found.called else ""


def _call(call: Call, depth: int) -> str:
    function = call.function
    if depth >= _DEEPEST:
        return "…"
    if isinstance(function, Call):
        called = _call(function, depth + 1)
    elif isinstance(function, Global):
        called = _name(function)
    else:
        called = f"({_value(function, depth)})"
    args = items_of(call.args)
    if args is None:
        return f"{called}(…)"
    shown = [_value(item, depth) for item in args[:_MOST_ARGUMENTS]]
    if len(args) > _MOST_ARGUMENTS:
        shown.append("…")
    return f"{called}({', '.join(shown)})"


def _value(value: Value, depth: int) -> str:
    match value:
        case str():
            return f'"{_cut(_escaped(value), _LONGEST_TEXT)}"'
        case int() | float() | None:
            return _cut(str(value), _LONGEST_TEXT)
        case Call():
            return _call(value, depth + 1)
        case Global():
            return _name(value)
        case Items():
            return _BRACKETS[value.kind] if value.items else _BRACKETS[value.kind].replace("…", "")
        case Pairs():
            return "{…}"
        case Persistent():
            return "a reference"
        case Opaque():
            return f"{value.length} bytes of {value.kind}" if value.length else value.kind


def _name(found: Global) -> str:
    """Write a dotted name so that nothing in it can be taken for anything else."""
    return _cut(_escaped(found.dotted), _LONGEST_NAME)


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
