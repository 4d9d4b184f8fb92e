"""What is different between two models, as Markdown: for a pull request or release notes."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.reports.markdown import escape
from steelyard.reports.text import plain
from steelyard.sealing.differences import Differences
from steelyard.sealing.reports.difference_words import headline, notes, parts


def render(said: Differences) -> str:
    """Return the differences as GitHub-flavored Markdown; names add neither markup nor links."""
    return "\n\n".join(_blocks(said)) + "\n"


def _blocks(said: Differences) -> Iterator[str]:
    yield f"**{escape(headline(said))}**"
    for part in parts(said):
        yield f"## {part.title}"
        listed = [f"- **{line.kind}** {escape(line.text)}" for line in part.lines]
        yield "\n".join(listed)
        for line in part.lines:
            if line.lines:
                yield _fenced(line.lines)
    if notes(said):
        yield "\n".join(f"- *note:* {escape(note)}" for note in notes(said))


def _fenced(lines: tuple[str, ...]) -> str:
    """Write a difference as code, behind a fence that no line of it can close."""
    shown = [line[:1] + _kept(line[1:]) for line in lines]
    longest = max((_ticks(line) for line in shown), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}diff", *shown, fence])


def _kept(text: str) -> str:
    blanks = len(text) - len(text.lstrip(" "))
    return " " * min(blanks, 40) + plain(text, 500)


def _ticks(text: str) -> int:
    """Return the longest run of backticks."""
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest
