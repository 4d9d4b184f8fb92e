"""What a text holds that a reader does not see, or that leads elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

_MOST: Final = 20
_HIDDEN: Final = re.compile(
    "[\u00ad\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\U000e0000-\U000e0fff]+"
    # Joiners belong within some scripts and emoji, not beside ASCII.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
"""Zero-width and bidirectional characters, tags and variation selectors beyond the usual ones.

Source: Unicode Technical Standard 39, section 5.4 (Optional Detection), and "Trojan Source"
(CVE-2021-42574).
"""
_ADDRESS: Final = re.compile(r"(?i)\b(?:https?|ftp|wss?)://[^\s\"'<>{}\\)\]]{1,300}")
_PLACEHOLDERS: Final = frozenset(
    {"example.com", "example.org", "json-schema.org", "www.w3.org", "localhost"}
)
"""Hosts that name a standard or nobody at all."""


def invisible(text: str) -> Iterator[tuple[str, int]]:
    """Yield the runs of invisible or bidirectional characters, named, with their line."""
    body = text[1:] if text.startswith("\ufeff") else text
    for found, _ in zip(_HIDDEN.finditer(body), range(_MOST), strict=False):
        first = found[0][0]
        name = unicodedata.name(first, f"U+{ord(first):04X}").lower()
        count = f" and {len(found[0]) - 1} more" if len(found[0]) > 1 else ""
        yield f"invisible characters ({name}{count})", body.count("\n", 0, found.start()) + 1


def addresses(text: str) -> Iterator[tuple[str, int]]:
    """Yield the addresses that a text names, with their line."""
    for found, _ in zip(_ADDRESS.finditer(text), range(_MOST), strict=False):
        try:
            host = urlsplit(found[0]).hostname or ""
        except ValueError:
            host = ""
        if host not in _PLACEHOLDERS:
            yield found[0], text.count("\n", 0, found.start()) + 1
