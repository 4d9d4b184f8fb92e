"""Names of archive members that lead out of the folder to which the archive is unpacked.

Source: CWE-22 and CWE-59; PKWARE APPNOTE.TXT 6.3.10, section 4.3.12; POSIX.1-2017, pax: ustar.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.examining import Budget
from steelyard.checkpoints.examining.packed import Packed, PackedStream, packing_of
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tars import SYMBOLIC_LINK, TarMember, is_tar, members
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = 20
"""Bytes of what says where the end of a zip64 archive is."""
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
TAIL: Final = 65_536 + _END.size
"""Bytes of a file's end in which the end of a zip lies, the longest comment included."""
_DRIVE: Final = re.compile(r"[A-Za-z]:")
MOST_MEMBERS: Final = 20_000
"""Members of one tar that are looked at."""
_MOST_INFLATED: Final = 64_000_000
_MOST: Final = 50


class ZipDirectory(NamedTuple):
    """Where a zip's central directory lies, as its end says; the archive need not be sound."""

    start: int
    size: int
    entries: int
    stated: int
    """Where it would begin if nothing stood before the archive."""
    is_whole: bool
    """Whether the comment behind it fits into the file."""


def zip_directory(reader: ByteReader, longest: int = TAIL) -> ZipDirectory | None:
    """Find the directory of a zip by its end, as Python's `zipfile` does; None where there is none.

    Args:
        reader: The file; anything may stand before the archive.
        longest: Bytes of the file's end that are looked at.
    """
    length = min(reader.size, longest)
    base = reader.size - length
    tail = reader.read(base, length)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        return None
    _, _, _, _, count, size, stated, comment = _END.unpack_from(tail, found)
    is_whole = found + _END.size + comment <= len(tail)
    end = base + found
    large = end - _LOCATOR - _END64.size
    if large >= 0 and reader.read(end - _LOCATOR, 4) == b"PK\6\7":
        # A second end, for large archives, stands between the directory and the first.
        mark, *_, counted, sized, begins = _END64.unpack(reader.read(large, _END64.size))
        if mark == b"PK\6\6":
            count, size, stated, end = counted, sized, begins, large
    return ZipDirectory(end - size, size, count, stated, is_whole) if size <= end else None


def zip_names(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """Give the names in a zip's central directory as they stand; none where it has none.

    The archive need not be sound: this is to see what a careless program would unpack.
    """
    directory = zip_directory(reader)
    if directory is None or directory.size > limits.header_bytes // 10:
        return []
    start, size, count, *_ = directory
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
    told = 0
    for member in _tar_members(reader, head):
        folder = member.name.rpartition("/")[0] if member.kind == SYMBOLIC_LINK else ""
        out = leads_out(member.name)
        if out or (member.target and leads_out(member.target, folder)):
            what = f"the member {member.name!r} " + (
                "leads" if out else f"links to {member.target!r}, which leads"
            )
            yield Remark("escape", clean(f"{what} out of the archive"))
            told += 1
            if told >= _MOST:
                return


def _tar_members(reader: ByteReader, head: bytes) -> Iterator[TarMember]:
    """Yield members up to where the tar makes no sense, which is told where pickles are looked for.

    Raises:
        LimitExceeded: If there are more members, longer names or more bytes than are looked at.
    """
    packing = None if is_tar(head) else packing_of(head)
    budget = Budget(Limits(unpacked_bytes=_MOST_INFLATED))
    inner: ByteReader = reader
    if packing is not None:
        inner = PackedStream(Packed(reader.name, reader, 0, reader.size, packing, budget))
    try:
        for member in members(inner, MOST_MEMBERS):
            if not member.is_certain:
                return
            yield member
    except LimitExceeded:
        if budget.unpacked >= 0:
            raise
        raise LimitExceeded(
            f"is an archive of which only the first {_MOST_INFLATED} bytes are looked at",
            fix="unpack it where nothing can be harmed, and audit what comes out",
            file=reader.name,
        ) from None
    except CheckpointError:
        return


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
