"""Words for what became of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from steelyard.checkpoints.signatures import FileChange, Happened
from steelyard.reports.text import plain

_SAID: Final = 300
_NAME: Final = 500
_HUB_NOTES: Final = ".cache/huggingface/"


def change_line(change: FileChange, why: str = "") -> str:
    """Say on one line what became of a file: its name, then what is known."""
    name = plain(change.path, _NAME)
    if change.path == ".":
        name = "the file"
    other = plain(change.other or "", _NAME)
    match change.happened:
        case Happened.RENAMED:
            return f"{name} (was {other})"
        case Happened.CHANGED if change.other:
            return f"{name} (holds what was {other})"
        case Happened.CHANGED if why:
            return f"{name} ({plain(why, _SAID)})"
        case _:
            return name


def change_lines(
    changes: Iterable[FileChange], why: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Say what became of each file: what happened, and to which."""
    told = why or {}
    return [(each.happened.value, change_line(each, told.get(each.path, ""))) for each in changes]


def left_by_the_hub(changes: Iterable[FileChange]) -> bool:
    """Tell whether files were added by `hf download`, which nobody signs."""
    return any(
        each.happened is Happened.ADDED and each.path.startswith(_HUB_NOTES) for each in changes
    )
