"""What zip archives hold, read as strictly as can be and then as loosely as can be.

A zip that contradicts itself is read differently by different programs. It is reported as not
fully read, and then every local header in it is followed, whatever flags and the directory say,
so that what one of those programs would load is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.zips import DEFLATED, STORED, directory
from steelyard.sources.base import ByteReader

BZIPPED: Final = 12
_LOCAL = struct.Struct("<4s5H3L2H")
_MARK: Final = b"PK\3\4"
_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
_COMMENT: Final = 0xFFFF
_CENTRAL: Final = b"PK\1\2"
_PIECE: Final = 1 << 20
_MOST_LOOSE: Final = 10_000
_FULL32: Final = 0xFFFFFFFF


class Member(NamedTuple):
    """One file in an archive."""

    name: str
    method: int
    start: int
    """Where its bytes begin."""
    size: int
    """How many they are, as stored."""


def zip_end(reader: ByteReader, *, comment: bool) -> bool:
    """Say whether a file ends as a zip does, so that some programs read it as one.

    Args:
        reader: The file.
        comment: Whether to look behind a comment too, which takes a longer read.
    """
    if reader.size < _END_BYTES:
        return False
    last = reader.read(reader.size - _END_BYTES, _END_BYTES)
    if last.startswith(_END) or not comment:
        return last.startswith(_END)
    length = min(reader.size, _END_BYTES + _COMMENT)
    tail = reader.read(reader.size - length, length)
    found = tail.rfind(_END)
    if found < 0 or found + _END_BYTES > len(tail):
        return False
    stated = int.from_bytes(tail[found + 20 : found + 22], "little")
    return found + _END_BYTES + stated <= len(tail) and _CENTRAL in tail[:found]


def strict_members(reader: ByteReader, limits: Limits) -> list[Member]:
    """List the members of a zip that is in order.

    Raises:
        CheckpointError: If it is not.
    """
    return [
        Member(member.name, member.method, member.data_offset, member.compressed_size)
        for member in directory(reader, limits)
        if not member.name.endswith("/")
    ]


def loose_members(reader: ByteReader) -> Iterator[Member]:
    """Yield whatever follows something that looks like a local header."""
    count = 0
    for at in _marks(reader):
        count += 1
        if count > _MOST_LOOSE or at + _LOCAL.size > reader.size:
            return
        fields = _LOCAL.unpack(reader.read(at, _LOCAL.size))
        method, packed, size, name_length, extra = (fields[3], *fields[7:11])
        start = at + _LOCAL.size + name_length + extra
        if start > reader.size:
            continue
        name = reader.read(at + _LOCAL.size, name_length).decode("utf-8", "replace")
        length = size if method == STORED else packed
        # A length that is nought, full or too much tells nothing: take what there is.
        if length in (0, _FULL32) or start + length > reader.size or method == DEFLATED:
            length = reader.size - start
        if not name.endswith("/"):
            yield Member(name, method, start, length)


def _marks(reader: ByteReader) -> Iterator[int]:
    """Yield where local headers seem to begin."""
    overlap = len(_MARK) - 1
    for base in range(0, reader.size, _PIECE):
        start = max(base - overlap, 0)
        piece = reader.read(start, min(base + _PIECE, reader.size) - start)
        found = piece.find(_MARK)
        while found >= 0:
            yield start + found
            found = piece.find(_MARK, found + 1)
