"""Words for values: how facts, places and findings read in reports for people.

Everything that comes from a model's files passes `plain`, so that no card or tensor name can
move the cursor, color the screen or break out of a Markdown table.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from dataclasses import replace
from datetime import date

from steelyard.facts import Basis, Evidence, Fact, Interval, Value, term

_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_LONGEST = 200


def plain(text: str, longest: int = _LONGEST) -> str:
    """Return `text` on one line, without control, format or private characters, shortened."""
    cleaned = "".join(
        " " if char in "\n\r\t" else char
        for char in text[: longest * 4]
        if char in "\n\r\t" or not unicodedata.category(char).startswith("C")
    )
    words = " ".join(cleaned.split())
    if len(words) <= longest:
        return words
    cut = words[: longest - 1]
    whole = cut[: cut.rfind(" ")] if " " in cut[longest // 2 :] else cut
    return whole + "…"


def amount(number: int | float) -> str:
    """Write a number: whole ones with thousands separators, very large or small ones as 1.2e25."""
    if isinstance(number, int) and abs(number) > sys.float_info.max:
        return "more than 1.8e308"
    if isinstance(number, int) or (number.is_integer() and abs(number) < 1e15):
        return f"{int(number):,}" if abs(number) < 1e15 else f"{number:.3g}".replace("e+", "e")
    return f"{number:,.4g}" if 1e-3 <= abs(number) < 1e6 else f"{number:.3g}".replace("e+", "e")


def size(count: int) -> str:
    """Write a number of bytes in decimal units: `90.9 MB`."""
    value, unit = float(min(count, sys.maxsize)), 0
    while value >= 1000 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count:,} bytes" if unit == 0 else f"{value:.3g} {_BYTE_UNITS[unit]}"


def value_text(value: Value, unit: str = "", longest: int = _LONGEST) -> str:
    """Write a value for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        text = f"{amount(value.low)} to {amount(value.high)}"
        if value.high == math.inf:
            text = f"at least {amount(value.low)}"
        return f"{text} {unit}".strip()
    if isinstance(value, int | float):
        return size(int(value)) if unit == "bytes" else f"{amount(value)} {unit}".strip()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return plain(", ".join(sorted(value)), longest) if value else "none"
    return plain(value, longest)


def fact_text(fact: Fact) -> str:
    """Write a fact's value with its unit."""
    return value_text(fact.value, term(fact.name).unit)


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: `1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def place(evidence: Evidence) -> str:
    """Write where a fact comes from."""
    return plain(evidence.place, 100)


def places(fact: Fact, most: int = 2) -> str:
    """Write where a fact comes from, the first few places only.

    A measurement names its files; a declaration the line or field, too.
    """
    measured = fact.basis is Basis.MEASURED
    shown = (replace(e, field=None) if measured and e.file else e for e in fact.evidence)
    named = [text for text in dict.fromkeys(map(place, shown)) if text]
    rest = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + rest
