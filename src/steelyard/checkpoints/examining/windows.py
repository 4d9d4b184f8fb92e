"""Part of a file, read like a file of its own."""

from __future__ import annotations

from steelyard.sources.base import ByteReader
from steelyard.sources.memory import check_range


class Window(ByteReader):
    """Read a range of another reader, which stays open.

    Args:
        name: How to name it.
        reader: What it is part of.
        start: Where it begins there; the range must lie within.
        size: Its length in bytes.
    """

    def __init__(self, name: str, reader: ByteReader, start: int, size: int) -> None:
        self.name = name
        self.size = size
        self._reader = reader
        self._start = start

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        check_range(self.name, self.size, offset, length)
        return self._reader.read(self._start + offset, length)

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes without a copy where the other reader allows."""
        check_range(self.name, self.size, offset, length)
        return self._reader.view(self._start + offset, length)

    def close(self) -> None:
        """Do nothing: the other reader belongs to the caller."""
