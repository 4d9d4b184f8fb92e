"""Compressed data: which kind it is, and its bytes as they come out, never more than allowed.

What data claims to unpack to is never believed: bytes are counted as they come out. Zstandard and
LZ4 need libraries that not everybody has (the extra `compressed`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from steelyard.checkpoints.examining.findings import Budget
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader, check_range

if TYPE_CHECKING:
    from typing import Protocol

    class _Decompressor(Protocol):
        @property
        def eof(self) -> bool: ...

        @property
        def unused_data(self) -> bytes | None: ...

        def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


PIECE: Final = 1 << 17
"""Most bytes that come out at a time."""
_READ: Final = 1 << 15
_KEPT: Final = 8_000_000
"""Unpacked data up to this length stays in memory; longer data is unpacked again when needed."""


_LZMA_MEMORY: Final = 1 << 28
_ENDLESS: Final = 1 << 62


class Packing(NamedTuple):
    """One way of compressing."""

    name: str
    magic: tuple[bytes, ...]
    make: Callable[[], Any]


class _Zlib:
    """A decompressor of zlib's with the manners of the others."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._waiting

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Give what comes out, also of what lies before the byte that makes no sense.

        A wrong checksum comes last, when a program that reads as it goes has loaded all the rest.
        """
        self._waiting += data
        step = len(self._waiting)
        while True:
            before = self._inner.copy()
            try:
                out = self._inner.decompress(self._waiting[:step], max_length)
            except zlib.error:
                self._inner = before
                if step < 2:
                    raise
                step //= 2
            else:
                self._waiting = self._inner.unconsumed_tail + self._waiting[step:]
                return out


class _Zstandard:
    """A decompressor of Zstandard with the manners of the others.

    The library's own gives all that comes out at once, so it is given little at a time: a block of
    128 KiB takes three bytes at least, and so no more than a few MiB come out of each step.
    """

    _STEP: Final = 96

    def __init__(self) -> None:
        library = _library("zstandard")
        self._error = library.ZstdError
        self._inner = library.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self._waiting

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        self._waiting += data
        out = b""
        while self._waiting and len(out) < max_length and not self._inner.eof:
            step, self._waiting = self._waiting[: self._STEP], self._waiting[self._STEP :]
            try:
                out += self._inner.decompress(step)
            except self._error as error:
                raise ValueError(str(error)) from None
        return out


def _failures() -> tuple[type[Exception], ...]:
    """Name what the decompressors raise for data that they do not understand."""
    failures: tuple[type[Exception], ...] = (
        zlib.error, OSError, EOFError, ValueError, RuntimeError, _library("lzma").LZMAError
    )  # fmt: skip
    return failures


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise Unsupported(
            f"data compressed with {name.partition('.')[0]} is not read without its library",
            fix="pip install 'steelyard[compressed]'",
        ) from None


def _lz4() -> _Decompressor:
    made: _Decompressor = _library("lz4.frame").LZ4FrameDecompressor()
    return made


def _bzip2() -> _Decompressor:
    made: _Decompressor = _library("bz2").BZ2Decompressor()
    return made


def _lzma() -> _Decompressor:
    made: _Decompressor = _library("lzma").LZMADecompressor(memlimit=_LZMA_MEMORY)
    return made


RAW_DEFLATE: Final = Packing("deflate", (), lambda: _Zlib(-zlib.MAX_WBITS))
BZIP2: Final = Packing("bzip2", (b"BZh",), _bzip2)
PACKINGS: Final = (
    Packing("gzip", (b"\x1f\x8b\x08",), lambda: _Zlib(16 + zlib.MAX_WBITS)),
    BZIP2,
    Packing("xz", (b"\xfd7zXZ\0",), _lzma),
    Packing("lzma", (b"]\0\0",), _lzma),
    Packing("zstandard", (b"\x28\xb5\x2f\xfd",), _Zstandard),
    Packing("lz4", (b"\4\x22\x4d\x18",), _lz4),
    Packing("zlib", (b"x\1", b"x\x5e", b"x\x9c", b"x\xda"), lambda: _Zlib(zlib.MAX_WBITS)),
)  # fmt: skip


def packing_of(head: bytes) -> Packing | None:
    """Tell how data that begins with `head` is compressed; None if it does not seem to be."""
    for packing in PACKINGS:
        if head.startswith(packing.magic):
            return packing
    return None


class Packed:
    """Compressed data in a file.

    Args:
        name: How to name what comes out.
        reader: The file.
        start: Where the data begins.
        end: Where it ends at the latest.
        packing: How it is compressed.
        budget: What may come out.
    """

    def __init__(
        self,
        name: str,
        reader: ByteReader,
        start: int,
        end: int,
        packing: Packing,
        budget: Budget,
    ) -> None:
        self.name = name
        self.packing = packing
        self.end = end
        """Where it ends; known once all has come out."""
        self._reader = reader
        self._start = start
        self._stop = end
        self._budget = budget

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes that come out; frames that follow each other are one.

        Raises:
            CheckpointError: If something does not unpack.
            LimitExceeded: If too much comes out.
        """
        at = self._start
        inner = self._made()
        waiting = b""
        while True:
            if not waiting and getattr(inner, "needs_input", True):
                waiting = self._reader.read(at, min(_READ, self._stop - at))
                at += len(waiting)
                if not waiting:
                    break
            try:
                out = inner.decompress(waiting, PIECE)
            except _failures() as why:
                raise self.broken(f"it does not unpack: {why}", at) from None
            waiting = b""
            if out:
                self._budget.unpack(len(out), self.name)
                yield out
            if inner.eof:
                rest = inner.unused_data or b""
                at -= len(rest)
                self.end = at
                head = self._reader.read(at, min(16, self._stop - at))
                if not self.packing.magic or not head.startswith(self.packing.magic):
                    return
                inner = self._made()
        raise self.broken("it is cut short", at)

    def head(self, length: int) -> bytes:
        """Return how what comes out begins, as far as it unpacks.

        Raises:
            LimitExceeded: If nothing more may be unpacked.
            Unsupported: If a library is missing.
        """
        found = b""
        try:
            for piece in self.pieces():
                found += piece
                if len(found) >= length:
                    break
        except (LimitExceeded, Unsupported):
            raise
        except CheckpointError:
            # How it begins is all that is asked; whoever wants the rest is told.
            pass
        return found[:length]

    def unpacked(self) -> tuple[ByteReader, CheckpointError | None]:
        """Return what comes out, as a file, and what kept the rest from coming out."""
        kept: list[bytes] | None = []
        size = 0
        failed = None
        try:
            for piece in self.pieces():
                size += len(piece)
                if kept is not None:
                    kept.append(piece)
                if size > _KEPT:
                    kept = None
        except CheckpointError as error:
            failed = error
        if kept is not None:
            return BytesReader(self.name, b"".join(kept)), failed
        return _Again(self, size), failed

    def _made(self) -> _Decompressor:
        made: _Decompressor = self.packing.make()
        return made

    def broken(self, what: str, offset: int) -> CheckpointError:
        """Build the error for data that does not unpack."""
        return CheckpointError(
            f"{self.packing.name} data is damaged: {what}",
            why="the file is cut short, or made to be read by some programs only",
            fix="compare the file's SHA-256 with the publisher's",
            file=self.name,
            offset=offset,
        )


class _Again(ByteReader):
    """Read what comes out of compressed data forward; going back unpacks it from the start."""

    def __init__(self, packed: Packed, size: int) -> None:
        self.name = packed.name
        self.size = size
        self._packed = packed
        self._pieces = packed.pieces()
        self._at = 0
        self._kept = b""
        """What came out last, from `_at` on."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        check_range(self.name, self.size, offset, length)
        if offset < self._at:
            self._pieces, self._at, self._kept = self._packed.pieces(), 0, b""
        while self._at + len(self._kept) < offset + length:
            piece = next(self._pieces, None)
            if piece is None:
                raise self._packed.broken("it no longer unpacks to as much as before", offset)
            drop = min(max(offset - self._at, 0), len(self._kept))
            self._kept = self._kept[drop:] + piece
            self._at += drop
        start = offset - self._at
        return self._kept[start : start + length]

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes."""
        return memoryview(self.read(offset, length))

    def close(self) -> None:
        """Do nothing: the file belongs to the caller."""


class PackedStream(ByteReader):
    """Read what comes out of compressed data forward, with no more than is needed at hand."""

    def __init__(self, packed: Packed) -> None:
        self.name = packed.name
        # How long it is, nobody knows before; where it ends, reading says.
        self.size = _ENDLESS
        self._pieces = packed.pieces()
        self._at = 0
        self._kept = b""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`, which never lies before the last read's."""
        while self._at + len(self._kept) < offset + length:
            drop = min(max(offset - self._at, 0), len(self._kept))
            piece = next(self._pieces, b"")
            if not piece:
                raise Truncated("the archive ends here", file=self.name)
            self._kept = self._kept[drop:] + piece
            self._at += drop
        start = offset - self._at
        if start < 0:
            raise Truncated("the archive was read past this", file=self.name)
        return self._kept[start : start + length]

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes."""
        return memoryview(self.read(offset, length))

    def close(self) -> None:
        """Do nothing: the file belongs to the caller."""
