"""What a document may hold, and how a stranger's text is named in a message.

JSON and YAML readers meet here: both give the same plain values, both keep every number within
the range of a double (so that `float(value)` never overflows) and every text encodable as
UTF-8 (so that a report that quotes it can be written).
"""

from __future__ import annotations

import json
import math
from typing import Final, Literal, NoReturn, TypeAlias

from steelyard.errors import LimitExceeded

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What a document holds. Mutable only because Python's are; nobody changes one."""

Duplicates: TypeAlias = Literal["error", "keep_last"]
"""What to do with a key that one object has twice."""

_DIGITS: Final = 400
_DOUBLE_BITS: Final = 1024


class OutOfRange(Exception):  # noqa: N818  always caught by the reader, which knows the place
    """A number is beyond the range of a double."""

    def __init__(self, text: str) -> None:
        super().__init__("a number beyond the range of a double")
        self.text = text[:_DIGITS]
        """How the number starts, to find its place."""


def whole_number(text: str, base: int = 10) -> int:
    """Read a whole number; `base` 0 takes the prefixes `0x` and `0o`.

    Raises:
        OutOfRange: If it does not fit a double.
    """
    value = int(text, base) if len(text) <= _DIGITS else None
    if value is None or value.bit_length() >= _DOUBLE_BITS:
        raise OutOfRange(text)
    return value


def finite_number(text: str) -> float:
    """Read a decimal number.

    Raises:
        OutOfRange: If it does not fit a double.
    """
    value = float(text)
    if not math.isfinite(value):
        raise OutOfRange(text)
    return value


def count_values(value: JsonValue) -> int:
    """Count the values and keys of a document."""
    count = 1
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            count += 2 * len(item)
            waiting.extend(inner for inner in item.values() if isinstance(inner, dict | list))
        elif isinstance(item, list):
            count += len(item)
            waiting.extend(inner for inner in item if isinstance(inner, dict | list))
    return count


def exceeds(
    what: str,
    limit: str,
    value: int,
    file: str,
    *,
    offset: int | None = None,
    line: int | None = None,
) -> NoReturn:
    """Refuse a document that asks for more than a limit.

    Args:
        what: What it has too much of: `more values`, `a deeper nesting`.
        limit: The limit's name, a field of `Limits`.
        value: The limit.
        file: The document.
        offset: Where it goes beyond the limit, in bytes.
        line: The same in lines.

    Raises:
        LimitExceeded: Always.
    """
    raise LimitExceeded(
        f"holds {what} than the limit `{limit}` = {value} allows",
        why="the file asks for more memory than it should",
        fix="if it is genuine, raise the limit; otherwise do not use it",
        file=file,
        offset=offset,
        line=line,
    )


def is_encodable(text: str) -> bool:
    """Tell whether a text can be written as UTF-8 (it holds no half of a surrogate pair)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str, width: int = 80) -> str:
    """Quote a stranger's text for a message: on one line, escaped, cut to `width` characters."""
    cut = text if len(text) <= width else text[: width - 1] + "…"
    return json.dumps(cut, ensure_ascii=not (cut.isprintable() and is_encodable(cut)))
