"""Stream one member of a zip archive, inflated as it comes, never held whole.

`zips` lists the members and reads small ones; this is for members that are as long as a tensor.
A member named `.npy` carries a header of its own, which `payload` leaves out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from steelyard.checkpoints.zips import DEFLATED, ZipMember
from steelyard.errors import CheckpointError
from steelyard.sources.base import ByteReader

NPY_MAGIC: Final = b"\x93NUMPY"
NPY_PREFIX: Final = 12
"""Bytes of a `.npy` file that tell how long its header is, in every version."""
NPY_HEADER_BYTES: Final = 1 << 16
"""Longest `.npy` header that is read; NumPy itself stops at 10,000 characters."""

_PIECE: Final = 1 << 18
_FIX: Final = "download the file again and compare its SHA-256 with the publisher's"


def npy_data_start(prefix: bytes | bytearray) -> int:
    """Return where the elements of a `.npy` file begin, from its first `NPY_PREFIX` bytes.

    Source: the NumPy format specification (NEP 1): two bytes of length in version 1, four
    afterwards.
    """
    width = 2 if prefix[6] == 1 else 4
    return 8 + width + int.from_bytes(prefix[8 : 8 + width], "little")


def stream(reader: ByteReader, member: ZipMember, piece: int = _PIECE) -> Iterator[bytes]:
    """Yield a member's bytes in pieces of at most `piece` bytes, inflated if need be.

    Raises:
        CheckpointError: If they do not inflate.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    end = member.data_offset + member.compressed_size
    for start in range(member.data_offset, end, piece):
        packed = reader.read(start, min(piece, end - start))
        if member.method != DEFLATED:
            yield packed
            continue
        while not inflater.eof:
            try:
                plain = inflater.decompress(packed, piece)
            except zlib.error as error:
                raise _broken(reader, member, f"it does not inflate: {error}") from None
            packed = inflater.unconsumed_tail
            if plain:
                yield plain
            elif not packed:
                break


def payload(reader: ByteReader, member: ZipMember) -> Iterator[bytes]:
    """Yield a member's bytes in small pieces, without the header if it is a `.npy` file.

    Raises:
        CheckpointError: If they do not inflate, or the header is not one.
    """
    pieces = stream(reader, member)
    if not member.name.endswith(".npy"):
        yield from pieces
        return
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) < NPY_PREFIX:
            continue
        start = npy_data_start(head)
        if not head.startswith(NPY_MAGIC) or start > NPY_PREFIX + NPY_HEADER_BYTES:
            raise _broken(reader, member, "it does not start like a .npy file")
        if len(head) >= start:
            yield bytes(head[start:])
            break
    yield from pieces


def _broken(reader: ByteReader, member: ZipMember, why: str) -> CheckpointError:
    return CheckpointError(
        f"the archive member {member.name!r} cannot be read",
        why=why,
        fix=_FIX,
        file=reader.name,
        offset=member.data_offset,
    )
