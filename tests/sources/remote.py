"""Files for a server to hold, and one of them read."""

from __future__ import annotations

from steelyard.sources.http import UrlSource

SIZE = 9 * 1024 * 1024 + 17
BIG = bytes(range(251)) * (SIZE // 251) + bytes(SIZE % 251)
SMALL = b"small file"


def read_all(source: UrlSource, offset: int = 0, length: int | None = None) -> bytes:
    with source.open(source.files[0].path) as reader:
        return reader.read(offset, reader.size - offset if length is None else length)
