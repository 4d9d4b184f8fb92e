"""Read the text attributes of an HDF5 file's root group, and nothing else of it.

Keras keeps the configuration of a model, code included, in such an attribute (`model_config`).
An HDF5 file begins with a superblock that says where the root group's object header lies; the
header is a run of messages, perhaps continued elsewhere, and attributes are among them. A text of
variable length lies in a global heap. Attributes that a group keeps in a fractal heap (more than
eight, in files for new libraries only) are refused, not passed over.

Source: HDF5 File Format Specification, version 3.0, sections II.A, III.E, IV.A.1, IV.A.2.d,
IV.A.2.m and IV.A.2.v, https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.base import ByteReader

MAGIC: Final = b"\x89HDF\r\n\x1a\n"

_MOST_BLOCKS: Final = 200
_LARGEST_BLOCK: Final = 4_000_000
_MOST_MESSAGES: Final = 20_000
_MOST_OBJECTS: Final = 70_000
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15
_FIXED_TEXT, _VARIABLE = 3, 9
_FIX: Final = "download the file again; do not load it until this is explained"


def superblock(reader: ByteReader) -> int | None:
    """Find where a file's superblock lies; None where it is no HDF5 file.

    It lies at the start, or behind a block of the user's own of 512 bytes, 1024, and so on.
    """
    start = 0
    while start + len(MAGIC) <= reader.size:
        if reader.read(start, len(MAGIC)) == MAGIC:
            return start
        start = 512 if start == 0 else start * 2
    return None


def root_texts(
    reader: ByteReader, names: Collection[str], limits: Limits = DEFAULT_LIMITS
) -> Mapping[str, str]:
    """Return the text attributes of these names that the root group has.

    Args:
        reader: The HDF5 file.
        names: Names of attributes that are wanted; others are not read.
        limits: What the file may ask for.

    Raises:
        Unsupported: If attributes are stored in a way that is not read.
        CheckpointError: If the file is malformed or cut short.
        LimitExceeded: If it asks for more than the limits allow.
    """
    file = _File(reader, limits)
    texts: dict[str, str] = {}
    for kind, body, offset in file.messages():
        if kind == _ATTRIBUTE:
            found = file.attribute(body, names, offset)
            if found is not None:
                texts[found[0]] = found[1]
        elif kind == _ATTRIBUTE_INFO and file.is_dense(body):
            raise file.unsupported("keeps its attributes in a fractal heap", offset)
    return texts


@dataclass(slots=True)
class _Block:
    """A run of messages in the file."""

    offset: int
    length: int


class _File:
    """One HDF5 file: its sizes of offsets and lengths, and where its root group lies."""

    def __init__(self, reader: ByteReader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._base = 0
        start = superblock(reader)
        if start is None:
            raise self.malformed("has no HDF5 superblock", 0)
        head = self._read(start, 12)
        version = head[8]
        if version in (0, 1):
            sizes = self._read(start + 13, 2)
            at = 24 if version == 0 else 28
        elif version in (2, 3):
            sizes = head[9:11]
            at = 12
        else:
            raise self.unsupported(f"has a superblock of version {version}", start + 8)
        self._o, self._l = sizes[0], sizes[1]
        if self._o not in (2, 4, 8) or self._l not in (2, 4, 8):
            raise self.malformed(f"has offsets of {self._o} and lengths of {self._l} bytes", start)
        self._base = self._number(start + at, self._o)
        # Behind the base lie three addresses, then the root group; in old files its name first.
        behind = 5 if version < 2 else 3
        self._root = self._address(start + at + behind * self._o)

    def messages(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield type, body and offset of each message of the root group's header."""
        head = self._read(self._root, 16)
        if head[:4] == b"OHDR":
            blocks, order, kept = [self._new_header(head)], bool(head[5] & 4), 4
        elif head[0] == 1:
            blocks, order, kept = [_Block(self._root + 16, _int(head[8:12]))], False, 0
        else:
            raise self.malformed("has no object header where its root group should be", self._root)
        seen = messages = 0
        while blocks:
            block = blocks.pop(0)
            seen += 1
            if seen > _MOST_BLOCKS or block.length > _LARGEST_BLOCK:
                raise self.exceeded("has an object header of too many or too large blocks", block)
            data = self._read(block.offset, block.length)
            if kept and seen > 1 and data[:4] != b"OCHK":
                raise self.malformed("has a header block without its mark", block.offset)
            at, end = (4 if kept and seen > 1 else 0), len(data) - (kept if seen > 1 else 0)
            step = 8 if not kept else (6 if order else 4)
            while at + step <= end:
                messages += 1
                if messages > _MOST_MESSAGES:
                    raise self.exceeded("has too many messages in a header", block)
                kind = _int(data[at : at + 2]) if not kept else data[at]
                size = _int(data[at + 2 : at + 4] if not kept else data[at + 1 : at + 3])
                body = data[at + step : at + step + size]
                if at + step + size > end:
                    raise self.malformed("has a message that leaves its header", block.offset + at)
                if kind == _CONTINUATION:
                    where, length = body[: self._o], body[self._o : self._o + self._l]
                    blocks.append(_Block(self._base + _int(where), _int(length)))
                yield kind, body, block.offset + at + step
                at += step + size

    def _new_header(self, head: bytes) -> _Block:
        """Find the first messages of a header of version 2."""
        flags = head[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        return _Block(self._root + at + width, self._number(self._root + at, width))

    def is_dense(self, body: bytes) -> bool:
        """Tell whether an attribute info message points to a heap that exists."""
        at = 2 + (2 if len(body) > 1 and body[1] & 1 else 0)
        address = body[at : at + self._o]
        return len(address) == self._o and address != b"\xff" * self._o

    def attribute(self, body: bytes, names: Collection[str], offset: int) -> tuple[str, str] | None:
        """Read an attribute message; None where it is not wanted or holds no text."""
        if len(body) < 8:
            raise self.malformed("has an attribute that is cut short", offset)
        version, flags = body[0], body[1]
        if version not in (1, 2, 3):
            raise self.unsupported(f"has an attribute of version {version}", offset)
        sizes = [_int(body[at : at + 2]) for at in (2, 4, 6)]
        parts, at = [], 9 if version == 3 else 8
        for size in sizes:
            parts.append(body[at : at + size])
            at += size + (-size % 8 if version == 1 else 0)
        name = parts[0].rstrip(b"\0").decode("utf-8", "replace")
        if name not in names:
            return None
        if version > 1 and flags & 3:
            raise self.unsupported(f"keeps the type of the attribute {name!r} elsewhere", offset)
        kind, space = parts[1], parts[2]
        if len(kind) < 8 or self._elements(space, offset) != 1:
            return None
        value, width = body[at:], _int(kind[4:8])
        if kind[0] & 15 == _FIXED_TEXT:
            if width > len(value):
                raise self.malformed(f"has an attribute {name!r} that is cut short", offset)
            return name, value[:width].rstrip(b"\0").decode("utf-8", "replace")
        if kind[0] & 15 == _VARIABLE and len(value) >= 8 + self._o:
            length = _int(value[:4])
            address = self._base + _int(value[4 : 4 + self._o])
            index = _int(value[4 + self._o : 8 + self._o])
            return name, self._heap_text(address, index, length)
        return None

    def _elements(self, space: bytes, offset: int) -> int:
        """Count the elements of a dataspace."""
        if len(space) < 4 or space[0] not in (1, 2):
            raise self.unsupported("has a dataspace of a kind that is not read", offset)
        rank, at, count = space[1], 8 if space[0] == 1 else 4, 1
        for index in range(rank):
            count *= _int(space[at + index * self._l : at + (index + 1) * self._l])
        return count if rank or space[0] == 1 or space[3] == 0 else 0

    def _heap_text(self, address: int, index: int, length: int) -> str:
        """Read an object of a global heap collection."""
        if length > self._limits.string_bytes:
            raise self.exceeded(f"has an attribute of {length} bytes", _Block(address, length))
        head = self._read(address, 8 + self._l)
        if head[:4] != b"GCOL":
            raise self.malformed("has no heap where an attribute's text should be", address)
        end = address + _int(head[8:])
        at = address + 8 + self._l
        for _ in range(_MOST_OBJECTS):
            if at + 8 + self._l > end:
                break
            entry = self._read(at, 8 + self._l)
            number, size = _int(entry[:2]), _int(entry[8:])
            if number == 0:
                break
            if number == index:
                if size < length or at + 8 + self._l + length > end:
                    break
                text = self._read(at + 8 + self._l, length)
                return text.rstrip(b"\0").decode("utf-8", "replace")
            at += 8 + self._l + size + -size % 8
        raise self.malformed("does not hold an attribute's text where it says", address)

    def _address(self, at: int) -> int:
        return self._base + self._number(at, self._o)

    def _number(self, at: int, width: int) -> int:
        return _int(self._read(at, width))

    def _read(self, offset: int, length: int) -> bytes:
        return self._reader.read(offset, length)

    def malformed(self, what: str, offset: int) -> CheckpointError:
        """Describe what no HDF5 file has."""
        return CheckpointError(
            what, why="the file is damaged", fix=_FIX, file=self._reader.name, offset=offset
        )

    def unsupported(self, what: str, offset: int) -> Unsupported:
        """Describe what HDF5 allows and this reader does not read."""
        return Unsupported(
            what,
            why="Keras writes no such files",
            fix="save the model again in the .keras format",
            file=self._reader.name,
            offset=offset,
        )

    def exceeded(self, what: str, block: _Block) -> LimitExceeded:
        """Describe a file that asks for too much."""
        return LimitExceeded(
            what,
            why="no model needs so much",
            fix=_FIX,
            file=self._reader.name,
            offset=block.offset,
        )


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")
