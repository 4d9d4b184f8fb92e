"""Bytes of a file, read forward and stepped over, for programs that read as they go.

A pickle does not say how long it is, and may lie before gigabytes of tensors. The `Cursor`
therefore reads in pieces that start small, and steps over long content without reading it.
"""

from __future__ import annotations

from typing import Final

from steelyard.checkpoints.limits import Limits
from steelyard.errors import CheckpointError, Truncated
from steelyard.sources.base import ByteReader

FIRST_READ: Final = 4096
LARGEST_READ: Final = 1 << 18
_PEEKED: Final = 512


class Cursor:
    """Read a range of a file forward, in pieces that grow from 4 KiB to 256 KiB.

    Args:
        reader: The file.
        start: First byte of the range.
        end: First byte after it; never beyond `reader.size`.
        file: How errors name the file.
        shift: What is added to a position in `reader` to get the offset that is reported.
        limits: How long a line or a kept text may be.
    """

    __slots__ = (
        "_end",
        "_file",
        "_next_read",
        "_reader",
        "_shift",
        "at",
        "base",
        "limits",
        "piece",
        "skipped",
    )

    def __init__(
        self, reader: ByteReader, start: int, end: int, file: str, shift: int, limits: Limits
    ) -> None:
        self.limits = limits
        self.piece = b""
        """What is in memory of the file; steps that run millions of times look into it."""
        self.base = start + shift
        """Where it begins, as reported to people."""
        self.at = 0
        """The next byte in it."""
        self.skipped: bytes | None = None
        """How the content begins that was stepped over last; None where nobody wants to know."""
        self._reader = reader
        self._file = file
        self._shift = shift
        self._end = end
        self._next_read = FIRST_READ

    @property
    def offset(self) -> int:
        """Say where the next byte lies, as reported to people."""
        return self.base + self.at

    @property
    def left(self) -> int:
        """Count the bytes between here and the end of the range."""
        return self._end + self._shift - self.base - self.at

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes.

        Raises:
            Truncated: If there are not so many.
        """
        stop = self.at + length
        if stop > len(self.piece):
            self._need(length)
            self._fill(length)
            stop = length
        chunk = self.piece[self.at : stop]
        self.at = stop
        return chunk

    def skip(self, length: int) -> None:
        """Step over the next `length` bytes without reading them.

        Raises:
            Truncated: If there are not so many.
        """
        self._need(length)
        if self.skipped is not None:
            self.skipped = self._peek(min(length, _PEEKED))
        if self.at + length <= len(self.piece):
            self.at += length
        else:
            self.base += self.at + length
            self.piece, self.at = b"", 0

    def line(self) -> tuple[bytes, int]:
        """Return the bytes before the next newline, and how many they are; step over it.

        A line longer than `limits.name_bytes` is stepped over and its first bytes returned.

        Raises:
            Truncated: If no newline comes.
            CheckpointError: If none comes within `limits.string_bytes`.
        """
        kept = b""
        length = 0
        while length <= self.limits.string_bytes:
            if self.at == len(self.piece):
                self._need(1)
                self._fill(1)
            found = self.piece.find(b"\n", self.at)
            stop = len(self.piece) if found < 0 else found
            part = self.piece[self.at : min(stop, self.at + self.limits.name_bytes + 1)]
            kept = (kept + part)[: self.limits.name_bytes + 1]
            length += stop - self.at
            self.at = stop if found < 0 else stop + 1
            if found >= 0:
                return kept, length
        raise self.error(f"a line is longer than {self.limits.string_bytes} bytes")

    def error(self, what: str, offset: int | None = None) -> CheckpointError:
        """Describe what is wrong at `offset`, or here."""
        return CheckpointError(
            what,
            why="the pickle is damaged, or these bytes are not a pickle",
            fix="compare the file's SHA-256 with the publisher's; do not load it",
            file=self._file,
            offset=self.offset if offset is None else offset,
        )

    def _peek(self, length: int) -> bytes:
        """Return the next `length` bytes without moving; reads them if they are not at hand."""
        if self.at + length > len(self.piece):
            self._fill(length)
        return self.piece[self.at : self.at + length]

    def _need(self, length: int) -> None:
        if length > self.left:
            raise Truncated(
                f"the pickle wants {length} bytes where {self.left} are left",
                why="the file is cut short, or a length in it is wrong",
                fix="download the file again and compare its SHA-256 with the publisher's",
                file=self._file,
                offset=self.offset,
            )

    def _fill(self, length: int) -> None:
        """Read a piece that begins here and holds at least `length` bytes."""
        self.base += self.at
        start = self.base - self._shift
        wanted = min(max(length, self._next_read), self._end - start)
        self.piece, self.at = self._reader.read(start, wanted), 0
        self._next_read = min(self._next_read * 2, LARGEST_READ)
