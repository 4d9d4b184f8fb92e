"""Words for texts, numbers and sizes, as they read in reports for people.

Everything that comes from a model's files passes `plain`, so that no card or tensor name can
move the cursor, color the screen or break out of a Markdown table.
"""

from __future__ import annotations

import sys
import unicodedata

_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
LONGEST = 200


def plain(text: str, longest: int = LONGEST) -> str:
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


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: `1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
