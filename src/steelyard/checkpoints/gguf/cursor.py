"""Read a header from front to back, in few reads and little memory.

A header's length is not known before it has been read. The cursor fetches chunks that grow from
64 KiB to 1 MiB, so that a small header costs one small request over a network and a large one
does not cost hundreds; what is skipped over is not fetched. Every length is checked against the
end of the file, and against the longest header allowed, before a byte of it is asked for.
"""

from __future__ import annotations

import struct
from typing import Literal

from steelyard.errors import CheckpointError, LimitExceeded, Truncated
from steelyard.sources.base import ByteReader

ByteOrder = Literal["little", "big"]

FIRST_CHUNK = 64 * 1024
"""Bytes of the first read."""
LARGEST_CHUNK = 1024 * 1024
"""Bytes of the longest read, unless one string is longer."""

FETCH_AGAIN = "download the file again and compare its SHA-256 with the publisher's"
"""What to do about a file that seems damaged."""
ASK_PUBLISHER = "do not load the file; ask its publisher for a sound one"
"""What to do about a file that was written as it is, and is ambiguous."""


class Cursor:
    """A position in one file that moves forward only.

    Args:
        reader: The file.
        limit: Longest header, in bytes from the start of the file; going past it is refused.
        byteorder: Order of multi-byte numbers; may be set again once the file has told it.
    """

    def __init__(self, reader: ByteReader, *, limit: int, byteorder: ByteOrder = "little") -> None:
        self.name = reader.name
        self.size = reader.size
        self.byteorder: ByteOrder = byteorder
        self._reader = reader
        self._limit = limit
        self._end = min(reader.size, limit)
        self._chunk = FIRST_CHUNK
        self._buffer = b""
        self._base = 0
        self._at = 0

    @property
    def position(self) -> int:
        """The offset in the file of the next byte."""
        return self._base + self._at

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self.size - self.position

    def error(
        self,
        what: str,
        *,
        why: str = "",
        fix: str = FETCH_AGAIN,
        offset: int | None = None,
        kind: type[CheckpointError] = CheckpointError,
    ) -> CheckpointError:
        """Build an error, to be raised, that names the file and `offset` (here, if None)."""
        place = self.position if offset is None else offset
        return kind(what, why=why, fix=fix, file=self.name, offset=place)

    def require(self, length: int, what: str) -> None:
        """Refuse what is longer than the rest of the file, or than the header limit.

        Raises:
            Truncated: If `length` bytes from here are not wholly inside the file.
            LimitExceeded: If they reach beyond the longest header allowed.
        """
        if length <= self._end - self.position:
            return
        if length > self.remaining:
            raise self.error(
                f"{what} needs {length} bytes, but the file ends after {self.remaining} more",
                why="the file is cut short, or a length or count in it is wrong",
                kind=Truncated,
            )
        raise self.error(
            f"{what} reaches beyond the longest header allowed, {self._limit} bytes",
            fix="raise the limit header_bytes if you trust the file",
            kind=LimitExceeded,
        )

    def take(self, length: int, what: str = "a field") -> bytes:
        """Return the next `length` bytes and move past them."""
        if self._at + length > len(self._buffer):
            self._fill(length, what)
        start = self._at
        self._at += length
        return self._buffer[start : self._at]

    def skip(self, length: int, what: str = "a field") -> None:
        """Move past `length` bytes without fetching those that are not yet here."""
        self.require(length, what)
        self._at += length
        if self._at > len(self._buffer):
            self._base += self._at
            self._buffer = b""
            self._at = 0

    def unsigned(self, width: int, what: str = "a field") -> int:
        """Read an unsigned integer of `width` bytes."""
        return int.from_bytes(self.take(width, what), self.byteorder)

    def numbers(self, code: str, count: int, what: str = "a field") -> tuple[int | float, ...]:
        """Read `count` numbers of one of `struct`'s format characters."""
        packing = struct.Struct(f"{'<' if self.byteorder == 'little' else '>'}{count}{code}")
        return packing.unpack(self.take(packing.size, what))

    def counted(self, longest: int, what: str) -> bytes:
        """Read a byte string that follows its own length, a 64-bit count.

        Raises:
            Truncated: If the file ends first.
            LimitExceeded: If it is longer than `longest`.
        """
        start = self.position
        length = self.unsigned(8, what)
        self._check_counted(length, longest, what, start)
        return self.take(length, what)

    def skip_counted(self, count: int, longest: int, what: str) -> None:
        """Move past `count` byte strings, each after its own 64-bit length.

        A vocabulary has some 256,000 of them, so the loop works on local names.

        Raises:
            Truncated: If the file ends first.
            LimitExceeded: If one is longer than `longest`.
        """
        unpack = struct.Struct("<Q" if self.byteorder == "little" else ">Q").unpack_from
        buffer, at, held = self._buffer, self._at, len(self._buffer)
        for _ in range(count):
            after = at + 8
            if after > held:
                self._at = at
                self._fill(8, what)
                buffer, after, held = self._buffer, self._at + 8, len(self._buffer)
            (length,) = unpack(buffer, after - 8)
            at = after + length
            if length > longest or at > held:
                self._at = after
                self._check_counted(length, longest, what, self.position - 8)
                self.skip(length, what)
                buffer, at, held = self._buffer, self._at, len(self._buffer)
        self._at = at

    def _check_counted(self, length: int, longest: int, what: str, start: int) -> None:
        self.require(length, what)
        if length > longest:
            raise self.error(
                f"{what} is {length} bytes long, but at most {longest} are allowed",
                fix="raise the limit if you trust the file",
                offset=start,
                kind=LimitExceeded,
            )

    def _fill(self, length: int, what: str) -> None:
        """Fetch so that the buffer, which holds fewer, has `length` bytes from here."""
        held = len(self._buffer) - self._at
        self.require(length, what)
        start = self._base + len(self._buffer)
        wanted = max(length - held, min(self._chunk, self._end - start))
        fresh = self._reader.read(start, wanted)
        self._chunk = min(2 * self._chunk, LARGEST_CHUNK)
        self._base += self._at
        self._buffer = self._buffer[self._at :] + fresh
        self._at = 0
