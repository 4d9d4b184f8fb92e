"""Bytes that are already in memory, read like any other file."""

from __future__ import annotations

from steelyard.errors import Truncated
from steelyard.sources.base import ByteReader


def check_range(name: str, size: int, offset: int, length: int) -> None:
    """Refuse a range that is not wholly inside a file of `size` bytes.

    Raises:
        Truncated: If it is not.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise Truncated(
            f"wants {length} bytes at byte {offset}, but the file ends at {size}",
            why="the file is cut short, or a length in it is wrong",
            fix="download the file again and compare its SHA-256 with the publisher's",
            file=name,
            offset=min(max(offset, 0), size),
        )


class BytesReader(ByteReader):
    """Read ranges of a `bytes` object."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        check_range(self.name, self.size, offset, length)
        return self._data[offset : offset + length]

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes without a copy."""
        check_range(self.name, self.size, offset, length)
        return memoryview(self._data)[offset : offset + length]

    def close(self) -> None:
        """Do nothing: the bytes belong to the caller."""
