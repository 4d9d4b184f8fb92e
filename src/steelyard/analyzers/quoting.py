"""Show a stranger's words on one line: without control characters, and shortened."""

from __future__ import annotations


def clean(text: str, width: int = 200) -> str:
    """Put `text` on one line, drop what does not print, and cut it to `width` characters."""
    head = " ".join(text[: 4 * width].split())
    shown = "".join(character for character in head if character.isprintable())
    return shown if len(shown) <= width else shown[: width - 1] + "…"
