"""Read zip archives that may be hostile: PyTorch's and NumPy's.

A zip says everything twice, in its central directory and in a local header before each member,
and programs disagree on which to believe. Here both are read and must agree, members must not
overlap (as in archives that inflate to petabytes), and nothing is inflated beyond a limit that
the caller sets. Structure: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5, zip64 included.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader

STORED: Final = 0
DEFLATED: Final = 8

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<2H")

_COMMENT_MAX: Final = 0xFFFF
_FULL16: Final = 0xFFFF
_FULL32: Final = 0xFFFFFFFF
_ZIP64_FIELD: Final = 1
_ENCRYPTED: Final = 1 | 1 << 6 | 1 << 13
_SIZES_FOLLOW: Final = 1 << 3
_UTF8: Final = 1 << 11
_EXTRA_GUESS: Final = 128
"""Bytes read behind a local header's name; PyTorch pads headers to 64 bytes."""
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member, after its two headers were found to agree."""

    name: str
    method: int
    """`STORED` or `DEFLATED`."""
    compressed_size: int
    size: int
    crc32: int
    """As stated; PyTorch may be told to write one that is wrong, so it is not trusted."""
    header_offset: int
    """Where the local header begins."""
    data_offset: int
    """Where the member's bytes begin, from the local header."""


class _Entry(NamedTuple):
    """A member as the central directory states it."""

    raw_name: bytes
    flags: int
    member: ZipMember


def directory(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> tuple[ZipMember, ...]:
    """Read and check the list of members; in the order of the central directory.

    Costs one read at the end, one for the central directory and one small one for each member.

    Raises:
        CheckpointError: If this is not a zip, or its parts disagree, overlap or lie outside it.
        LimitExceeded: If it has more members, or longer names, than the limits allow.
        Unsupported: If it is encrypted, split, or compressed by anything but deflate.
    """
    start, size, count = _find_directory(reader)
    _check_directory_size(reader, start, size, count, limits)
    entries = _read_entries(reader, reader.read(start, size), start, count, limits)
    members = tuple(_with_local_header(reader, entry, start) for entry in entries)
    _check_overlaps(reader, members, start)
    return members


def read_member(reader: ByteReader, member: ZipMember, limit: int) -> bytes:
    """Return a member's bytes, inflated if need be; the stated CRC is not checked.

    Args:
        reader: The archive.
        member: One of its `directory`.
        limit: Most bytes to return.

    Raises:
        LimitExceeded: If the member is longer than `limit`.
        CheckpointError: If it does not inflate to the stated size.
    """
    if member.size > limit:
        raise LimitExceeded(
            f"{member.name} takes {member.size} bytes, more than {limit}",
            why="the archive may be made to exhaust memory",
            fix="raise the limit if you trust the file",
            file=reader.name,
            offset=member.data_offset,
        )
    if member.method == STORED:
        return reader.read(member.data_offset, member.size)
    return _inflate(reader, member)


def _inflate(reader: ByteReader, member: ZipMember) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    out = bytearray()
    position, end = member.data_offset, member.data_offset + member.compressed_size
    waiting = b""
    while not inflater.eof and len(out) <= member.size and (waiting or position < end):
        if not waiting:
            length = min(_PIECE, end - position)
            waiting = reader.read(position, length)
            position += length
        try:
            # One byte more than stated, to notice a member that holds more.
            out += inflater.decompress(waiting, member.size + 1 - len(out))
        except zlib.error as error:
            raise _damaged(reader, f"{member.name} does not inflate: {error}", position) from None
        waiting = inflater.unconsumed_tail
    if not inflater.eof or len(out) != member.size:
        raise _damaged(
            reader,
            f"{member.name} does not inflate to the {member.size} bytes it states",
            member.data_offset,
        )
    return bytes(out)


def _damaged(reader: ByteReader, what: str, offset: int | None = None) -> CheckpointError:
    return CheckpointError(
        what,
        why="the archive is damaged, or made to be read differently by different programs",
        fix="download the file again and compare its SHA-256 with the publisher's",
        file=reader.name,
        offset=offset,
    )


def _unsupported(reader: ByteReader, what: str, offset: int) -> Unsupported:
    return Unsupported(
        what,
        why="no program that writes checkpoints does so",
        fix="unpack the archive and store it again without",
        file=reader.name,
        offset=offset,
    )


def _find_directory(reader: ByteReader) -> tuple[int, int, int]:
    """Return where the central directory begins, its bytes and its members."""
    tail_size = min(reader.size, _END.size + _COMMENT_MAX + _LOCATOR.size)
    base = reader.size - tail_size
    tail = reader.read(base, tail_size)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        raise Truncated(
            "the zip has no end record",
            why="the file is cut short, or is not a zip",
            fix="download the file again and compare its SHA-256 with the publisher's",
            file=reader.name,
            offset=reader.size,
        )
    _, disk, start_disk, here, count, size, start, comment = _END.unpack_from(tail, found)
    if found + _END.size + comment != len(tail):
        raise _damaged(reader, "bytes follow the zip's end record", base + found)
    end = base + found
    locator = found - _LOCATOR.size
    stated = (disk, start_disk, here, count, size, start)
    if locator >= 0 and tail[locator : locator + 4] == b"PK\6\7":
        _, _, end, disks = _LOCATOR.unpack_from(tail, locator)
        if disks > 1:
            raise _unsupported(reader, "the zip is split over several files", base + locator)
        stated = _end64(reader, end, base + locator, stated)
    disk, start_disk, here, count, size, start = stated
    if disk or start_disk or here != count:
        raise _unsupported(reader, "the zip is split over several files", end)
    if start + size != end:
        raise _damaged(reader, "the zip's central directory is not where it should be", end)
    return start, size, count


def _end64(
    reader: ByteReader, offset: int, locator: int, narrow: tuple[int, ...]
) -> tuple[int, int, int, int, int, int]:
    """Read the zip64 end record, and check it against the narrow one (APPNOTE 4.3.14)."""
    if offset + _END64.size > locator:
        raise _damaged(reader, "the zip64 end record is not where it should be", locator)
    record = _END64.unpack(reader.read(offset, _END64.size))
    mark, length = record[0], record[1]
    if mark != b"PK\6\6" or offset + 12 + length != locator:
        raise _damaged(reader, "the zip64 end record is not where it should be", offset)
    wide: tuple[int, int, int, int, int, int] = record[4:]
    for small, large, full in zip(narrow, wide, (*[_FULL16] * 4, *[_FULL32] * 2), strict=True):
        if small not in (large, full):
            raise _damaged(reader, "the zip's two end records disagree", offset)
    return wide


def _check_directory_size(
    reader: ByteReader, start: int, size: int, count: int, limits: Limits
) -> None:
    for what, value, limit in (
        ("members", count, limits.members),
        ("bytes of central directory", size, limits.header_bytes),
    ):
        if value > limit:
            raise LimitExceeded(
                f"the zip has {value} {what}, more than {limit}",
                why="no checkpoint needs so many",
                fix="raise the limit if you trust the file",
                file=reader.name,
                offset=start,
            )
    if count * _CENTRAL.size > size:
        raise _damaged(reader, f"{count} members do not fit the zip's central directory", start)


def _read_entries(
    reader: ByteReader, data: bytes, start: int, count: int, limits: Limits
) -> list[_Entry]:
    entries = []
    names: set[str] = set()
    at = 0
    for _ in range(count):
        entry, at = _read_entry(reader, data, at, start, limits)
        if entry.member.name in names:
            raise _damaged(reader, f"the zip holds two members named {entry.member.name}", start)
        names.add(entry.member.name)
        entries.append(entry)
    if at != len(data):
        raise _damaged(reader, "bytes follow the last member of the central directory", start + at)
    return entries


def _read_entry(
    reader: ByteReader, data: bytes, at: int, start: int, limits: Limits
) -> tuple[_Entry, int]:
    """Decode the entry at `at`; also say where the next one begins (APPNOTE 4.3.12)."""
    offset = start + at
    if at + _CENTRAL.size > len(data):
        raise _damaged(reader, "the zip's central directory ends inside an entry", offset)
    fields = _CENTRAL.unpack_from(data, at)
    mark, _, _, flags, method, _, _, crc, packed, size, name_len, extra_len, note_len = fields[:13]
    disk, header = fields[13], fields[16]
    at += _CENTRAL.size
    stop = at + name_len + extra_len + note_len
    if mark != b"PK\1\2" or stop > len(data):
        raise _damaged(reader, "the zip's central directory holds a broken entry", offset)
    raw_name = data[at : at + name_len]
    extra = data[at + name_len : at + name_len + extra_len]
    size, packed, header, disk = _widen(reader, extra, (size, packed, header, disk), offset)
    name = _decode_name(reader, raw_name, flags, offset, limits)
    if flags & _ENCRYPTED:
        raise _unsupported(reader, f"{name} is encrypted", offset)
    if disk:
        raise _unsupported(reader, "the zip is split over several files", offset)
    if method not in (STORED, DEFLATED):
        raise _unsupported(reader, f"{name} is compressed by method {method}", offset)
    if method == STORED and size != packed:
        raise _damaged(reader, f"{name} is stored in {packed} bytes but states {size}", offset)
    member = ZipMember(name, method, packed, size, crc, header, -1)
    return _Entry(raw_name, flags, member), stop


def _widen(
    reader: ByteReader, extra: bytes, narrow: tuple[int, int, int, int], offset: int
) -> tuple[int, int, int, int]:
    """Replace fields that are full by those of the zip64 extra field (APPNOTE 4.5.3)."""
    full = (_FULL32, _FULL32, _FULL32, _FULL16)
    wanted = [index for index in range(4) if narrow[index] == full[index]]
    if not wanted:
        return narrow
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        body = extra[at : at + length]
        at += length
        if kind != _ZIP64_FIELD:
            continue
        layout = struct.Struct("<" + "".join("L" if index == 3 else "Q" for index in wanted))
        if len(body) != length or length < layout.size:
            raise _damaged(reader, "a zip64 field is too short", offset)
        wide = list(narrow)
        for index, value in zip(wanted, layout.unpack_from(body), strict=True):
            wide[index] = value
        return wide[0], wide[1], wide[2], wide[3]
    return narrow


def _decode_name(reader: ByteReader, raw: bytes, flags: int, offset: int, limits: Limits) -> str:
    """Decode a member's name and refuse one that would leave the folder it is unpacked to."""
    if len(raw) > limits.name_bytes:
        raise LimitExceeded(
            f"a member's name takes {len(raw)} bytes, more than {limits.name_bytes}",
            why="no checkpoint needs so long a name",
            fix="raise the limit if you trust the file",
            file=reader.name,
            offset=offset,
        )
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise _damaged(reader, "a member's name is not the UTF-8 it claims to be", offset) from None
    parts = name.replace("\\", "/").split("/")
    absolute = parts[0] == "" or parts[0][1:2] == ":"
    if absolute or ".." in parts or "\0" in name:
        raise _damaged(reader, f"a member is named {name!r}, which leads out of the zip", offset)
    return name


def _with_local_header(reader: ByteReader, entry: _Entry, end: int) -> ZipMember:
    """Check a member's local header against the directory, and find its bytes by it."""
    member, start = entry.member, entry.member.header_offset
    if start + _LOCAL.size > end:
        raise _damaged(reader, f"{member.name} lies outside the zip", start)
    length = min(_LOCAL.size + len(entry.raw_name) + _EXTRA_GUESS, end - start)
    head = reader.read(start, length)
    mark, _, flags, method, _, _, crc, packed, size, name_len, extra_len = _LOCAL.unpack_from(head)
    data_offset = start + _LOCAL.size + name_len + extra_len
    if mark != b"PK\3\4" or data_offset + member.compressed_size > end:
        raise _damaged(reader, f"{member.name} does not begin or end inside the zip", start)
    if data_offset > start + length:
        head = reader.read(start, data_offset - start)
    name_end = _LOCAL.size + name_len
    extra = head[name_end : name_end + extra_len]
    size, packed, _, _ = _widen(reader, extra, (size, packed, 0, 0), start)
    stated = (crc, packed, size)
    true = (member.crc32, member.compressed_size, member.size)
    # Bit 3: sizes follow the bytes, and the header may hold zeros instead (APPNOTE 4.4.4).
    blank = bool(flags & _SIZES_FOLLOW) and all(
        value in (0, right) for value, right in zip(stated, true, strict=True)
    )
    if (
        head[_LOCAL.size : name_end] != entry.raw_name
        or method != member.method
        or flags & _ENCRYPTED
        or not (blank or stated == true)
    ):
        raise _damaged(reader, f"the two headers of {member.name} disagree", start)
    return ZipMember(
        member.name,
        member.method,
        member.compressed_size,
        member.size,
        member.crc32,
        start,
        data_offset,
    )


def _check_overlaps(reader: ByteReader, members: tuple[ZipMember, ...], end: int) -> None:
    free_from = 0
    for member in sorted(members, key=lambda item: item.header_offset):
        if member.header_offset < free_from:
            raise _damaged(reader, f"{member.name} overlaps another member", member.header_offset)
        free_from = member.data_offset + member.compressed_size
    if free_from > end:
        raise _damaged(reader, "members overlap the zip's central directory", end)
