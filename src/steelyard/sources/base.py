"""Where bytes live: what every source offers.

A source lists files and gives ranged reads of them, nothing more. Paths within a source are
POSIX, relative, never absolute and never contain `..`; a file that would break that rule is
listed under `skipped`, not among the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

SINGLE_KINDS = frozenset({"file", "url"})
"""Kinds of sources that hold one file and show nothing of what lies beside it."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source."""

    path: str
    """POSIX path within the source."""
    size: int
    """Length in bytes."""
    sha256: str | None = None
    """SHA-256 as stated by the source (LFS on a hub), 64 lowercase hex digits; not checked."""


class SkipReason(StrEnum):
    """Why a file of a source is not read."""

    ESCAPES = "escapes"
    """A link that leads out of the source."""
    BROKEN_LINK = "broken_link"
    """A link that leads nowhere, or in a circle."""
    NOT_REGULAR = "not_regular"
    """A device, pipe or socket."""
    UNREADABLE = "unreadable"
    """Permission or input/output trouble."""
    TOO_MANY = "too_many"
    """Beyond the limit on files; stands once, for all that follow."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is there but is not read, and why. A value, not an exception."""

    path: str
    reason: SkipReason
    detail: str = ""


class ByteReader(Protocol):
    """Read ranges of one file. Not thread-safe; open one for each thread."""

    name: str
    """The file's path within its source."""
    size: int
    """The file's length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            Truncated: If the range is not wholly inside the file.
            SourceError: If the bytes cannot be fetched.
        """

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes without a copy where the source allows (a memory map).

        The view is valid until the reader is closed.
        """

    def close(self) -> None:
        """Release the file; reading afterwards is an error."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class Source(Protocol):
    """A place that holds the files of one model."""

    spec: str
    """As the user wrote it."""
    kind: str
    """`folder`, `file`, `hf-cache`, `url` or `hub`."""
    revision: str | None
    """The commit, where the source has one (40 hex digits)."""

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files, sorted by path."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """What lies there but is not read, sorted by path."""

    @property
    def bytes_read(self) -> int:
        """Bytes read or fetched so far, of all files."""

    def open(self, path: str) -> ByteReader:
        """Open a listed file for ranged reads.

        Raises:
            SourceNotFound: If `path` is not among `files`.
            SourceError: If it cannot be opened.
        """

    def local_path(self, path: str) -> Path | None:
        """Name the file on this machine's disk, or None where the bytes are remote."""

    def close(self) -> None:
        """Release what the source holds."""
