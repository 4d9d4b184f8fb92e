"""Names of archive members that lead out of the folder to which the archive is unpacked.

Source: CWE-22 and CWE-59; PKWARE APPNOTE.TXT 6.3.10, section 4.3.12; POSIX.1-2017, pax: ustar.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import LimitExceeded
from steelyard.sources.base import ByteReader

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = 20
"""Bytes of what says where the end of a zip64 archive is."""
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_TAIL: Final = 65_536 + _END.size
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_BLOCK: Final = 512
_MOST_MEMBERS: Final = 20_000
_MOST_INFLATED: Final = 64_000_000
_LINKS: Final = (b"1", b"2")
_LONG: Final = {b"L": b"path", b"K": b"linkpath", b"x": b""}
"""Members that hold the name or target of the one behind them: GNU's two, and pax's."""
_FILES: Final = (b"0", b"\0", b"7")
_LONGEST_NAME: Final = 65_536
_PIECE: Final = 1 << 20

Member = tuple[bytes, bytes, int]
"""A header block, the body where it holds a name, and where the body begins."""
_MOST: Final = 50


class TarMember(NamedTuple):
    """One member of a tar, under its whole name."""

    name: str
    kind: bytes
    target: str
    """Where a link leads; empty for what is none."""
    start: int
    size: int


def zip_names(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """Give the names in a zip's central directory as they stand; none where it has none.

    The archive need not be sound: this is to see what a careless program would unpack.
    """
    length = min(reader.size, _TAIL)
    base = reader.size - length
    tail = reader.read(base, length)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        return []
    _, _, _, _, count, size, _, _ = _END.unpack_from(tail, found)
    start = base + found - size
    if tail[max(found - _LOCATOR, 0) : found].startswith(b"PK\6\7"):
        # A second end, for large archives, stands between the directory and the first.
        at = int.from_bytes(tail[found - _LOCATOR + 8 : found - _LOCATOR + 16], "little")
        if at + _END64.size > reader.size:
            return []
        count, size = _END64.unpack(reader.read(at, _END64.size))[7:9]
        start = at - size
    if start < 0 or size > limits.header_bytes // 10:
        return []
    data = reader.read(start, size)
    names: list[str] = []
    at = 0
    while at + _CENTRAL.size <= len(data) and len(names) < min(count, limits.members):
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\1\2":
            break
        name, extra, note = fields[10:13]
        at += _CENTRAL.size
        names.append(data[at : at + name].decode("utf-8", "replace"))
        at += name + extra + note
    return names


def zip_escapes(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Iterator[Remark]:
    """Yield the members of a zip whose names lead out of it."""
    bad = [name for name in zip_names(reader, limits) if leads_out(name)]
    for name in bad[:_MOST]:
        yield Remark("escape", clean(f"the member {name!r} leads out of the archive"))


def tar_escapes(reader: ByteReader, head: bytes) -> Iterator[Remark]:
    """Yield the members of a tar, perhaps compressed by gzip, that lead out of it.

    Raises:
        LimitExceeded: If there are more members than are looked at.
    """
    packed = head.startswith(b"\x1f\x8b")
    told = 0
    for member in _named(_packed_members(reader) if packed else _plain_members(reader)):
        folder = member.name.rpartition("/")[0] if member.kind == b"2" else ""
        out = leads_out(member.name)
        if out or (member.target and leads_out(member.target, folder)):
            what = f"the member {member.name!r} " + (
                "leads" if out else f"links to {member.target!r}, which leads"
            )
            yield Remark("escape", clean(f"{what} out of the archive"))
            told += 1
            if told >= _MOST:
                return


def tar_files(reader: ByteReader) -> Iterator[TarMember]:
    """Yield the files of a tar that is not compressed, as far as it makes sense.

    Raises:
        LimitExceeded: If there are more members than are looked at.
        CheckpointError: If a name is cut off.
    """
    return (member for member in _named(_plain_members(reader)) if member.kind in _FILES)


def _named(members: Iterable[Member]) -> Iterator[TarMember]:
    """Give members their names, which may stand in members of their own before them."""
    long: dict[bytes, str] = {}
    for header, body, start in members:
        kind, name = header[156:157], _text(header[:100])
        if kind in _LONG:
            # What follows has this name or target in place of its own.
            long |= _records(body) if kind == b"x" else {_LONG[kind]: _text(body)}
            continue
        prefix = _text(header[345:500]) if header[257:262] == b"ustar" else ""
        full = long.get(b"path") or (f"{prefix}/{name}" if prefix else name)
        target = (long.get(b"linkpath") or _text(header[157:257])) if kind in _LINKS else ""
        long = {}
        yield TarMember(full, kind, target, start, _octal(header[124:136]))


def leads_out(name: str, folder: str = "") -> bool:
    """Tell whether a member's name leaves the folder to which it is unpacked."""
    path = name.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        return True
    depth = len([part for part in folder.split("/") if part not in ("", ".")])
    for part in path.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False


def is_tar(head: bytes) -> bool:
    """Tell a tar by its first block."""
    return head[257:262] == b"ustar"


def _plain_members(reader: ByteReader) -> Iterator[Member]:
    """Hop from header to header; what lies between is not read."""
    at = 0
    for _ in range(_MOST_MEMBERS):
        if at + _BLOCK > reader.size:
            return
        header = reader.read(at, _BLOCK)
        if not is_tar(header):
            return
        size = _octal(header[124:136])
        short = header[156:157] in _LONG and size <= _LONGEST_NAME
        length = max(0, min(size, reader.size - at - _BLOCK)) if short else 0
        yield header, reader.read(at + _BLOCK, length), at + _BLOCK
        at += _BLOCK + size + -size % _BLOCK
    raise _too_many(reader, f"{_MOST_MEMBERS} members")


def _packed_members(reader: ByteReader) -> Iterator[Member]:
    """Inflate a gzip stream as far as it is a tar, and yield its headers."""
    buffer = bytearray()
    skip = 0
    for piece in _inflated(reader):
        buffer += piece
        while True:
            dropped = min(skip, len(buffer))
            del buffer[:dropped]
            skip -= dropped
            if skip or len(buffer) < _BLOCK:
                break
            header = bytes(buffer[:_BLOCK])
            if not is_tar(header):
                return
            size = _octal(header[124:136])
            padded = size + -size % _BLOCK
            short = header[156:157] in _LONG and size <= _LONGEST_NAME
            if short and len(buffer) < _BLOCK + padded:
                break
            yield header, bytes(buffer[_BLOCK : _BLOCK + size]) if short else b"", -1
            skip = _BLOCK + padded


def _inflated(reader: ByteReader) -> Iterator[bytes]:
    """Inflate a gzip stream piece by piece; a broken one ends where it breaks.

    Raises:
        LimitExceeded: If it is longer than what is inflated.
    """
    inflater = zlib.decompressobj(wbits=31)
    left = _MOST_INFLATED
    for offset in range(0, reader.size, _PIECE):
        waiting = reader.read(offset, min(_PIECE, reader.size - offset))
        while waiting and not inflater.eof:
            try:
                plain = inflater.decompress(waiting, _PIECE)
            except zlib.error:
                return
            left -= len(plain)
            if left < 0:
                raise _too_many(reader, f"{_MOST_INFLATED} bytes")
            yield plain
            waiting = inflater.unconsumed_tail


def _too_many(reader: ByteReader, what: str) -> LimitExceeded:
    return LimitExceeded(
        f"is an archive of which only the first {what} are looked at",
        fix="unpack it where nothing can be harmed, and audit what comes out",
        file=reader.name,
    )


def _records(body: bytes) -> dict[bytes, str]:
    """Read the records of a pax header: length, a space, key, `=`, value, a line feed."""
    found: dict[bytes, str] = {}
    at = 0
    while at < len(body):
        digits, space, _ = body[at : at + 12].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        key, _, value = body[at + len(digits) + 1 : at + int(digits)].partition(b"=")
        found[key] = value.rstrip(b"\n").decode("utf-8", "replace")
        at += int(digits)
    return found


def _octal(field: bytes) -> int:
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return 0


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
