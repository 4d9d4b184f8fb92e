"""Progress on a terminal: one bar on stderr, after a second, never in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE: Final = 1.0
"""Seconds before the bar appears: short work needs none."""


class TerminalProgress:
    """Draw the progress of one task at a time."""

    def __init__(self, *, quiet: bool) -> None:
        self._enabled = sys.stderr is not None and sys.stderr.isatty() and not quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name, self._total, self._done, self._began = "", 0, 0, 0.0

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` bytes; 0 if nobody knows how many."""
        self._name, self._total, self._done = task, total, 0
        self._began = time.monotonic()

    def advance(self, amount: int) -> None:
        """Add to what is done, and show it once the task has taken a while."""
        self._done += amount
        if not self._enabled:
            return
        if self._bar is None and time.monotonic() - self._began > _PATIENCE:
            self._show()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
            TransferSpeedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(self._name, total=self._total or None, completed=self._done)
        self._bar.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar, whatever happened."""
        self.stop()
