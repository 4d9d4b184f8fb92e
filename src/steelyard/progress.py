"""How long work tells of itself, without the library ever printing.

A `Progress` is passed in by whoever draws it (the command line); the library reports to it
and works the same when nobody watches.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receive news of one long task at a time. Called from one thread only."""

    def start(self, task: str, total: int) -> None:
        """Begin `task`, which has `total` bytes to do; 0 if nobody knows how many."""

    def advance(self, amount: int) -> None:
        """Add `amount` bytes to what is done."""

    def stop(self) -> None:
        """End the task that was started last."""


class NoProgress:
    """Watch nothing."""

    def start(self, task: str, total: int) -> None:
        """Ignore the start."""

    def advance(self, amount: int) -> None:
        """Ignore the news."""

    def stop(self) -> None:
        """Ignore the end."""
