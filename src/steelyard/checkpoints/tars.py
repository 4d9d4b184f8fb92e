"""Walk a tar from header to header, as Python's `tarfile` does, which is what loaders use.

A tar says in several places how long a member is and what it is called, and programs disagree on
which to believe. What is between two headers is not read. Followed are ustar, GNU's long names,
pax headers (their `size` too) and headers of Unix 7; links, folders and devices have no data,
whatever their size says; a kind that nobody knows is a file.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; the GNU tar manual,
"Basic Tar Format"; CPython, `Lib/tarfile.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from steelyard.errors import CheckpointError, LimitExceeded, Truncated
from steelyard.sources.base import ByteReader

BLOCK: Final = 512
HARD_LINK, SYMBOLIC_LINK = b"1", b"2"

_WITHOUT_DATA: Final = frozenset(b"%d" % kind for kind in range(1, 7))
"""Links, devices, folders and pipes."""
_FOLDER: Final = b"5"
_SPARSE: Final = b"S"
_LONG: Final[Mapping[bytes, str]] = {b"L": "path", b"K": "linkpath"}
"""Members of GNU's that hold the name, or the target, of the one behind them."""
_OF_NEXT, _OF_ALL = (b"x", b"X"), b"g"
"""Members of pax that hold records on the one behind them, or on all."""
_LONGEST: Final = 1 << 20
"""Bytes of names and records that are read for one member."""
_CHECKSUM: Final = slice(148, 156)


class TarMember(NamedTuple):
    """One member, under its whole name."""

    name: str
    kind: bytes
    target: str
    """Where a link leads; empty for what is none."""
    start: int
    size: int
    """Of what is no file nothing but 0 makes sense: programs differ on what follows another."""
    is_file: bool
    is_sparse: bool
    """Whether its bytes are laid out anew when it is unpacked."""
    is_certain: bool
    """Whether its header has ustar's mark, or the right checksum."""


@dataclass(slots=True)
class _Said:
    """What members of their own say of the members behind them."""

    of_next: dict[str, str] = field(default_factory=dict)
    of_all: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        """Give what is said of the next member."""
        return self.of_next.get(key, self.of_all.get(key))

    def is_sparse(self) -> bool:
        """Tell whether the next member is sparse in one of GNU's three ways of saying so by pax."""
        return any(key.startswith("GNU.sparse.") for key in (*self.of_next, *self.of_all))


def is_tar(head: bytes) -> bool:
    """Tell a tar by its first block."""
    return head[257:262] == b"ustar"


def members(reader: ByteReader, most: int) -> Iterator[TarMember]:
    """Yield what a tar holds, in order.

    Args:
        reader: The tar; only what is asked of it is read, from front to end.
        most: Headers that are looked at.

    Raises:
        LimitExceeded: If there are more, or names are longer than what is read.
        CheckpointError: If a header makes no sense, or a member is cut off.
    """
    at, said = 0, _Said()
    for _ in range(most):
        if at + BLOCK > reader.size:
            return
        try:
            header = reader.read(at, BLOCK)
        except Truncated:
            # Compressed data does not say how long it is.
            return
        if not header.strip(b"\0"):
            return
        kind, size, start = header[156:157], _number(header[124:136]), at + BLOCK
        if size is None:
            raise _damaged(reader, start)
        if kind in _LONG or kind in _OF_NEXT or kind == _OF_ALL:
            _take(reader, said, kind, start, size)
            at = start + _padded(size)
            continue
        member, follows = _member(header, said, start, size)
        if member.is_file and start + max(member.size, follows) > reader.size:
            raise _damaged(reader, start)
        yield member
        at, said = start + _padded(follows), _Said(of_all=said.of_all)
    raise _exceeded(reader, f"is an archive of which only the first {most} members are looked at")


def _member(header: bytes, said: _Said, start: int, size: int) -> tuple[TarMember, int]:
    """Describe a member, and say how many bytes follow its header."""
    kind, name = header[156:157], _text(header[:100])
    prefix = _text(header[345:500]) if is_tar(header) else ""
    name = said.get("path") or (f"{prefix}/{name}" if prefix else name)
    if kind == b"\0" and name.endswith("/"):
        kind = _FOLDER
    link = kind in (HARD_LINK, SYMBOLIC_LINK)
    target = (said.get("linkpath") or _text(header[157:257])) if link else ""
    is_file = kind not in _WITHOUT_DATA
    # Records on one member move what follows; those on all say only how much of it is read.
    follows = _decimal(said.of_next.get("size"), size) if is_file else 0
    member = TarMember(
        name, kind, target, start,
        size=_decimal(said.get("size"), size) if is_file else size,
        is_file=is_file,
        is_sparse=kind == _SPARSE or said.is_sparse(),
        is_certain=is_tar(header) or _has_right_checksum(header),
    )  # fmt: skip
    return member, follows


def _take(reader: ByteReader, said: _Said, kind: bytes, start: int, size: int) -> None:
    """Read what a member says of others."""
    if size > _LONGEST:
        raise _exceeded(reader, f"is an archive with names of {size} bytes, more than {_LONGEST}")
    if start + size > reader.size:
        raise _damaged(reader, start)
    body = reader.read(start, size)
    if kind in _LONG:
        said.of_next[_LONG[kind]] = _text(body)
    elif kind == _OF_ALL:
        said.of_all |= _records(body)
    else:
        said.of_next |= _records(body)


def _records(body: bytes) -> dict[str, str]:
    """Read the records of a pax header: length, a space, key, `=`, value, a line feed."""
    found: dict[str, str] = {}
    at = 0
    while at < len(body):
        digits, space, _ = body[at : at + 12].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        key, _, value = body[at + len(digits) + 1 : at + int(digits)].partition(b"=")
        text = value.removesuffix(b"\n").decode("utf-8", "replace")
        found[key.decode("utf-8", "replace")] = text
        at += int(digits)
    return found


def _number(digits: bytes) -> int | None:
    """Read a number: octal digits, or, where it begins with 0x80, base 256; None if it is none."""
    if digits[:1] == b"\x80":
        return int.from_bytes(digits[1:], "big")
    text = digits.strip(b"\0 ")
    try:
        number = int(text, 8) if text else 0
    except ValueError:
        return None
    return number if number >= 0 else None


def _decimal(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else default


def _has_right_checksum(header: bytes) -> bool:
    stated = _number(header[_CHECKSUM])
    return stated == sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _exceeded(reader: ByteReader, what: str) -> LimitExceeded:
    return LimitExceeded(
        what,
        fix="unpack it where nothing can be harmed, and audit what comes out",
        file=reader.name,
    )


def _damaged(reader: ByteReader, offset: int) -> CheckpointError:
    return CheckpointError(
        "the tar is damaged",
        fix="download the file again and compare its SHA-256 with the publisher's",
        file=reader.name,
        offset=offset,
    )
