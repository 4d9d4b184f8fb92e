"""The file of a registry: one that can be shared, checked by one digest, and searched in place.

    header      72 bytes: magic, version, words a signature, entries, bytes of all records, bytes
                of all sketches, digest
    ends        for each entry, where its record ends, and then where its sketch ends
    digests     for each entry, BLAKE3 of its sketch
    signatures  the first word of every entry, then the second word of every entry, ...
    records     one after another (what an entry is called and says of itself)
    sketches    one after another

All numbers are little-endian; docs/guide/registry.md is the full description. Everything before
the sketches is read and checked when the file is opened; a sketch is read and checked when
somebody asks for it. So a registry of 10 GB takes the memory of its first 1 %.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from steelyard.errors import CheckpointError, LimitExceeded, SourceError, Truncated, Unsupported
from steelyard.lineage.known.search import WORDS, Signature, Signatures
from steelyard.writing import whole_file

MAGIC: Final = b"\x8dSYREG\r\n"
VERSION: Final = 1
MOST_ENTRIES: Final = 2_000_000
MOST_RECORD: Final = 16_384
"""Bytes of one record."""
MOST_SKETCH: Final = 16_000_000
"""Bytes of one sketch."""
_MOST_FRONT: Final = 4_000_000_000
"""Bytes of everything before the sketches, which is read into memory."""
_HEADER: Final = struct.Struct("<8sIIQQQ32s")
_DIGESTED: Final = _HEADER.size - 32
_DIGEST_BYTES: Final = 32
_ENTRY_BYTES: Final = 8 + 8 + _DIGEST_BYTES + 8 * WORDS

Ends = NDArray[np.uint64]


class Shelf(Protocol):
    """Entries in order, wherever they lie."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> bytes:
        """Return what an entry says of itself."""

    def sketch(self, index: int) -> bytes:
        """Return the bytes of an entry's sketch; empty if it has none."""

    def size(self, index: int) -> int:
        """Return how many bytes its sketch has."""

    def digest(self, index: int) -> bytes:
        """Return BLAKE3 of its sketch, 32 bytes."""

    @property
    def signatures(self) -> Signatures:
        """Return all signatures, `WORDS` x entries."""

    def containing(self, part: bytes) -> Iterator[int]:
        """Yield the entries whose records contain `part`, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One entry in memory."""

    record: bytes
    sketch: bytes
    signature: Signature


class Stack:
    """Entries in memory."""

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def record(self, index: int) -> bytes:
        """Return what an entry says of itself."""
        return self._items[index].record

    def sketch(self, index: int) -> bytes:
        """Return the bytes of its sketch."""
        return self._items[index].sketch

    def size(self, index: int) -> int:
        """Return how many bytes its sketch has."""
        return len(self._items[index].sketch)

    def digest(self, index: int) -> bytes:
        """Return BLAKE3 of its sketch."""
        return blake3(self._items[index].sketch).digest()

    @property
    def signatures(self) -> Signatures:
        """Return all signatures, `WORDS` x entries."""
        block = np.zeros((WORDS, len(self._items)), np.uint64)
        for index, item in enumerate(self._items):
            block[:, index] = item.signature
        return block

    def containing(self, part: bytes) -> Iterator[int]:
        """Yield the entries whose records contain `part`."""
        return (index for index, item in enumerate(self._items) if part in item.record)


class Selection:
    """Entries of other shelves, in an order of one's own; nothing is copied."""

    def __init__(self, chosen: Sequence[tuple[Shelf, int]]) -> None:
        self._chosen = tuple(chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def record(self, index: int) -> bytes:
        """Return what an entry says of itself."""
        shelf, own = self._chosen[index]
        return shelf.record(own)

    def sketch(self, index: int) -> bytes:
        """Return the bytes of its sketch."""
        shelf, own = self._chosen[index]
        return shelf.sketch(own)

    def size(self, index: int) -> int:
        """Return how many bytes its sketch has."""
        shelf, own = self._chosen[index]
        return shelf.size(own)

    def digest(self, index: int) -> bytes:
        """Return BLAKE3 of its sketch."""
        shelf, own = self._chosen[index]
        return shelf.digest(own)

    @property
    def signatures(self) -> Signatures:
        """Return all signatures, `WORDS` x entries."""
        block = np.zeros((WORDS, len(self._chosen)), np.uint64)
        shelves = {id(shelf): shelf for shelf, _ in self._chosen}
        for key, shelf in shelves.items():
            places = [(at, own) for at, (its, own) in enumerate(self._chosen) if id(its) == key]
            to, where = np.array(places, np.intp).T
            block[:, to] = shelf.signatures[:, where]
        return block

    def containing(self, part: bytes) -> Iterator[int]:
        """Yield the entries whose records contain `part`."""
        return (index for index in range(len(self)) if part in self.record(index))


class Archive:
    """The entries of a file. Close it, or use it in a `with`.

    Law: `write` of an archive gives the bytes that it was read from.
    """

    def __init__(self, stream: BinaryIO, name: str = "registry") -> None:
        """Read and check everything but the sketches.

        Raises:
            CheckpointError: If it is not a registry, is damaged, or asks for too much.
        """
        self._stream, self._name = stream, name
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        head = stream.read(_HEADER.size)
        entries, records, sketches, stated = self._header(head, size)
        front = self._read(_HEADER.size, entries * _ENTRY_BYTES + records)
        if blake3(head[:_DIGESTED] + front, max_threads=blake3.AUTO).digest() != stated:
            raise self._damaged("the digest does not fit the contents")
        self.digest_text = f"b3:{stated.hex()}"
        cut = memoryview(front)
        self._record_ends = self._ends(cut[: 8 * entries], records, MOST_RECORD)
        self._sketch_ends = self._ends(cut[8 * entries : 16 * entries], sketches, MOST_SKETCH)
        self._digests = cut[16 * entries :]
        at = (16 + _DIGEST_BYTES) * entries
        words = np.frombuffer(cut[at : at + 8 * WORDS * entries], "<u8").reshape(WORDS, entries)
        self._signatures: Signatures = words.astype(np.uint64, copy=False)
        self._records = front[entries * _ENTRY_BYTES :]
        self._sketches_at = _HEADER.size + len(front)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file.

        Raises:
            SourceError: If it cannot be opened.
            CheckpointError: As above.
        """
        try:
            stream = path.open("rb")
        except OSError as error:
            why = error.strerror or str(error)
            raise SourceError("the registry cannot be opened", why=why, file=str(path)) from error
        try:
            return cls(stream, str(path))
        except OSError as error:
            stream.close()
            why = error.strerror or str(error)
            raise SourceError("the registry cannot be read", why=why, file=str(path)) from error
        except BaseException:
            stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __len__(self) -> int:
        return len(self._record_ends)

    def record(self, index: int) -> bytes:
        """Return what an entry says of itself."""
        start, end = _span(self._record_ends, index)
        return self._records[start:end]

    def size(self, index: int) -> int:
        """Return how many bytes its sketch has."""
        start, end = _span(self._sketch_ends, index)
        return end - start

    def digest(self, index: int) -> bytes:
        """Return BLAKE3 of its sketch, as the file states it."""
        return bytes(self._digests[_DIGEST_BYTES * index : _DIGEST_BYTES * (index + 1)])

    def sketch(self, index: int) -> bytes:
        """Return the bytes of its sketch.

        Raises:
            CheckpointError: If they are not those that were written.
        """
        start, end = _span(self._sketch_ends, index)
        found = self._read(self._sketches_at + start, end - start)
        if blake3(found).digest() != self.digest(index):
            raise self._damaged("a sketch does not fit its digest", self._sketches_at + start)
        return found

    @property
    def signatures(self) -> Signatures:
        """Return all signatures, `WORDS` x entries."""
        return self._signatures

    def containing(self, part: bytes) -> Iterator[int]:
        """Yield the entries whose records contain `part`."""
        at = self._records.find(part)
        while at >= 0:
            index = int(np.searchsorted(self._record_ends, np.uint64(at), side="right"))
            _, end = _span(self._record_ends, index)
            if at + len(part) <= end:
                yield index
                at = end - 1
            at = self._records.find(part, at + 1)

    def _header(self, head: bytes, size: int) -> tuple[int, int, int, bytes]:
        if head[: len(MAGIC)] != MAGIC:
            raise CheckpointError(
                "this is not a registry of sketches", file=self._name, offset=0,
                fix="name a file that `steelyard lineage export` wrote",
            )  # fmt: skip
        if len(head) < _HEADER.size:
            raise Truncated("the registry ends within its header", file=self._name, offset=size)
        _, version, words, entries, records, sketches, digest = _HEADER.unpack(head)
        if version != VERSION or words != WORDS:
            raise Unsupported(
                f"version {version} of registries (signatures of {words} words) is not read",
                file=self._name, offset=len(MAGIC),
                fix="use the version of Steelyard that wrote it, or a newer one",
            )  # fmt: skip
        front = entries * _ENTRY_BYTES + records
        if entries > MOST_ENTRIES or front > _MOST_FRONT:
            raise LimitExceeded(
                f"the registry states {entries} entries with {records} bytes of records",
                why=f"at most {MOST_ENTRIES} entries, and {_MOST_FRONT} bytes before the sketches",
                file=self._name, offset=16,
            )  # fmt: skip
        stated = _HEADER.size + front + sketches
        if stated > size:
            why = f"its header states {stated} bytes, and there are {size}"
            raise Truncated("the registry is cut short", why=why, file=self._name, offset=size)
        if stated < size:
            raise self._damaged(f"{size - stated} bytes follow its end", stated)
        return entries, records, sketches, digest

    def _ends(self, column: memoryview, total: int, most: int) -> Ends:
        ends = np.frombuffer(column, "<u8").astype(np.uint64)
        if len(ends) == 0:
            if total:
                raise self._damaged("it holds bytes that belong to no entry")
            return ends
        if int(ends[-1]) != total or (ends[1:] < ends[:-1]).any():
            raise self._damaged("its entries do not lie one after another")
        longest = int(np.diff(ends, prepend=np.uint64(0)).max())
        if longest > most:
            raise LimitExceeded(
                f"an entry takes {longest} bytes", why=f"at most {most}", file=self._name
            )
        return ends

    def _read(self, at: int, count: int) -> bytes:
        self._stream.seek(at)
        found = self._stream.read(count)
        if len(found) != count:
            # Somebody cut the file after it was opened.
            raise Truncated("the registry is cut short", file=self._name, offset=at + len(found))
        return found

    def _damaged(self, why: str, offset: int | None = None) -> CheckpointError:
        return CheckpointError(
            "the registry is damaged", why=why, fix="fetch or build it again",
            file=self._name, offset=offset,
        )  # fmt: skip


def _span(ends: Ends, index: int) -> tuple[int, int]:
    if not 0 <= index < len(ends):
        raise IndexError(index)
    return int(ends[index - 1]) if index else 0, int(ends[index])


class Sink(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take bytes."""


def write(shelf: Shelf, stream: Sink) -> str:
    """Write a registry; return its digest, `b3:` and 64 hex digits.

    The same entries in the same order give the same bytes. Sketches are written one by one.

    Raises:
        LimitExceeded: If there are more entries, or larger ones, than a registry may have.
    """
    entries = range(len(shelf))
    records = [shelf.record(index) for index in entries]
    sizes = [shelf.size(index) for index in entries]
    for what, longest, most in (
        ("entries", len(entries), MOST_ENTRIES),
        ("bytes in a record", max(map(len, records), default=0), MOST_RECORD),
        ("bytes in a sketch", max(sizes, default=0), MOST_SKETCH),
    ):
        if longest > most:
            raise LimitExceeded(f"{longest} {what} are too many", why=f"at most {most}")
    front = b"".join(
        (
            np.cumsum([len(record) for record in records], dtype="<u8").tobytes(),
            np.cumsum(sizes, dtype="<u8").tobytes(),
            *(shelf.digest(index) for index in entries),
            np.ascontiguousarray(shelf.signatures, "<u8").tobytes(),
            *records,
        )
    )
    total = sum(map(len, records)), sum(sizes)
    head = _HEADER.pack(MAGIC, VERSION, WORDS, len(entries), *total, bytes(32))[:_DIGESTED]
    digest = blake3(head + front, max_threads=blake3.AUTO).digest()
    stream.write(head + digest)
    stream.write(front)
    for index in entries:
        stream.write(shelf.sketch(index))
    return f"b3:{digest.hex()}"


def save(shelf: Shelf, path: Path) -> str:
    """Write a registry to a file, whole or not at all; return its digest.

    Raises:
        SourceError: If it cannot be written.
    """
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as stream:
            digest = write(shelf, stream)
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceError("the registry cannot be written", why=why, file=str(path)) from error
    return digest
