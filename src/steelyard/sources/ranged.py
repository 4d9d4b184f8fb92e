"""Ranges of a file on a server, fetched as they are asked for.

`RemoteFile` turns "bytes 100 to 199" into one range request (RFC 9110 section 14) and believes
nothing about the answer: the range, the total length and the entity tag must be those of the file
as it was found first, or the file has changed under the reader. `RangedReader` puts aligned
blocks and a bounded memory in front of it, reading further ahead while reads are sequential.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import httpx

from steelyard.errors import SourceError
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import check_range
from steelyard.sources.web import Web, refusal

BLOCK = 8 * 1024
"""Bytes in one block; every request for less is widened to blocks."""
READ_AHEAD_BLOCKS = 128
"""Most blocks fetched at once ahead of sequential reads: 1 MiB."""
MEMORY = 32 * 1024 * 1024
"""Bytes of blocks kept for one source."""
DIRECT = 4 * 1024 * 1024
"""Reads longer than this go past the blocks."""
PIECE = 16 * 1024 * 1024
"""Most bytes in one request."""
WHOLE = 16 * 1024 * 1024
"""Largest file that is taken whole from a server that cannot send ranges."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_STALE = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one version of a file from the next, as far as its server says."""

    etag: str | None = None
    modified: str | None = None

    @classmethod
    def of(cls, response: httpx.Response) -> Version:
        """Read it from a response's headers."""
        return cls(response.headers.get("ETag"), response.headers.get("Last-Modified"))

    def differs(self, other: Version) -> bool:
        """Tell whether two answers are certainly about different bytes."""
        if self.etag and other.etag:
            return self.etag.removeprefix("W/") != other.etag.removeprefix("W/")
        return bool(self.modified and other.modified and self.modified != other.modified)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file was found."""

    url: httpx.URL
    """Where its bytes come from, redirects followed."""
    size: int
    """Length in bytes."""
    version: Version


class Blocks:
    """The most recently used blocks of all files of a source, bounded. Thread-safe."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._room = memory
        self._lock = Lock()

    def get(self, name: str, index: int) -> bytes | None:
        """Return a block that is still kept."""
        with self._lock:
            block = self._kept.get((name, index))
            if block is not None:
                self._kept.move_to_end((name, index))
            return block

    def put(self, name: str, index: int, block: bytes) -> None:
        """Keep a block, dropping those used longest ago."""
        with self._lock:
            replaced = self._kept.pop((name, index), b"")
            self._kept[name, index] = block
            self._room += len(replaced) - len(block)
            while self._room < 0 and self._kept:
                self._room += len(self._kept.popitem(last=False)[1])


class RemoteFile:
    """One file on a server.

    Args:
        web: What asks.
        name: The file's path within its source.
        home: The address that stays valid.
        place: Where that address led; a signed one may expire, then `home` is asked again.
        pinned: True when `home` names content that cannot change (a commit), so that another
            server's different entity tag for it means nothing.
    """

    def __init__(
        self, web: Web, name: str, home: httpx.URL, place: Place, *, pinned: bool = False
    ) -> None:
        self.name = name
        self.size = place.size
        self._web = web
        self._home = home
        self._url = place.url
        self._version = place.version
        self._pinned = pinned
        self._whole: bytes | None = None

    def fetch(self, first: int, length: int) -> bytes:
        """Return exactly `length` (at least 1) bytes that lie within the file.

        Raises:
            SourceError: If the server does not give them, or gives others.
        """
        if self._whole is None:
            response, body = self._ask(first, length)
            if response.status_code == 206:
                if len(body) < length:
                    raise self._lied(f"it sent {len(body)} bytes of {length}", first)
                return body
            self._whole = self._checked_whole(body)
        return self._whole[first : first + length]

    def _ask(self, first: int, length: int) -> tuple[httpx.Response, bytes]:
        def room(response: httpx.Response) -> int:
            return self._room(response, first, length)

        headers = {"Range": f"bytes={first}-{first + length - 1}"}
        etag = self._version.etag
        if etag and not etag.startswith("W/") and not self._pinned:
            headers["If-Range"] = etag
        response, body = self._web.ask("GET", self._url, headers, room)
        if response.status_code in _STALE and self._url != self._home:
            self._url = self._home
            if self._pinned:
                self._version = Version()
            response, body = self._web.ask("GET", self._url, headers, room)
        if response.status_code == 416:
            raise self._lied(f"it says that there is no byte {first}", first)
        if response.status_code not in {200, 206}:
            raise refusal(response)
        self._url = response.url
        if not self._version.etag:
            self._version = Version.of(response)
        return response, body

    def _room(self, response: httpx.Response, first: int, length: int) -> int:
        """Judge an answer by its headers, and say how much of its body is wanted."""
        if response.status_code not in {200, 206}:
            return 0
        if self._version.differs(Version.of(response)):
            raise self._changed("its entity tag or date is a new one")
        check_plain(response, self.name)
        if response.status_code == 200:
            if self.size > WHOLE:
                raise no_ranges(self.name, self.size)
            return self.size + 1
        start, end, total = content_range(response)
        if total is not None and total != self.size:
            raise self._changed(f"it now has {total} bytes, not {self.size}")
        if (start, end) != (first, first + length - 1):
            raise self._lied(f"it sent the range {start}-{end}", first)
        return length

    def _checked_whole(self, body: bytes) -> bytes:
        if len(body) != self.size:
            more = "more" if len(body) > self.size else f"{len(body)}"
            raise self._changed(f"it sent {more} bytes, not {self.size}")
        return body

    def _changed(self, why: str) -> SourceError:
        return SourceError(
            "the file changed on the server while it was read",
            why=why,
            fix="run again; for a moving target, name a fixed revision or download the file",
            file=self.name,
        )

    def _lied(self, why: str, offset: int) -> SourceError:
        return SourceError(
            "the server's answer is not the range that was asked for",
            why=why,
            fix="download the file and name the local copy",
            file=self.name,
            offset=offset,
        )


class RangedReader(ByteReader):
    """Read ranges of a `RemoteFile` through blocks. Not thread-safe; open one per thread."""

    def __init__(self, remote: RemoteFile, blocks: Blocks) -> None:
        self.name = remote.name
        self.size = remote.size
        self._remote = remote
        self._blocks = blocks
        self._ahead = 1
        self._next = -1
        self._closed = False

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            Truncated: If the range is not wholly inside the file.
            SourceError: If the bytes cannot be fetched.
        """
        if self._closed:
            raise SourceError(
                "the file is already closed",
                fix="read it before its reader is closed",
                file=self.name,
            )
        check_range(self.name, self.size, offset, length)
        if not length:
            return b""
        if length > DIRECT:
            return self._direct(offset, length)
        first = offset // BLOCK
        blocks = self._load(first, (offset + length - 1) // BLOCK)
        start = offset - first * BLOCK
        return b"".join(blocks)[start : start + length]

    def view(self, offset: int, length: int) -> memoryview:
        """Return the same bytes as a view of a copy."""
        return memoryview(self.read(offset, length))

    def close(self) -> None:
        """Forget the file; its blocks stay with the source."""
        self._closed = True

    def _direct(self, offset: int, length: int) -> bytes:
        whole = bytearray()
        while len(whole) < length:
            piece = min(PIECE, length - len(whole))
            whole += self._remote.fetch(offset + len(whole), piece)
        return bytes(whole)

    def _load(self, first: int, last: int) -> list[bytes]:
        """Return the blocks `first` to `last`, fetching those that are missing at once."""
        found = {index: self._blocks.get(self.name, index) for index in range(first, last + 1)}
        missing = [index for index, block in found.items() if block is None]
        if missing:
            sequential = missing[0] == self._next
            self._ahead = min(self._ahead * 2, READ_AHEAD_BLOCKS) if sequential else 1
            end = max(missing[-1], missing[0] + self._ahead - 1)
            self._next = end + 1
            start = missing[0] * BLOCK
            fetched = self._remote.fetch(start, min((end + 1) * BLOCK, self.size) - start)
            for at in range(0, len(fetched), BLOCK):
                index, block = missing[0] + at // BLOCK, fetched[at : at + BLOCK]
                self._blocks.put(self.name, index, block)
                found[index] = block
        return [found[index] or b"" for index in range(first, last + 1)]


def content_range(response: httpx.Response) -> tuple[int, int, int | None]:
    """Return first byte, last byte and total length (None if unsaid) of a 206 answer.

    Raises:
        SourceError: If the header is missing or malformed.
    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        raise SourceError(
            "the server sends a part of the file without saying which",
            why="its answer has no usable Content-Range",
            fix="download the file and name the local copy",
        )
    first, last, total = match.groups()
    return int(first), int(last), None if total == "*" else int(total)


def check_plain(response: httpx.Response, name: str) -> None:
    """Refuse a body that is compressed although plain bytes were asked for.

    Raises:
        SourceError: If it is.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceError(
            "the server compresses the file on the way",
            why="ranges of compressed bytes are not ranges of the file",
            fix="download the file and name the local copy",
            file=name,
        )


def no_ranges(name: str, size: int | None) -> SourceError:
    """Return the error for a server that only sends whole files."""
    return SourceError(
        "the server cannot send parts of the file",
        why=f"it ignores range requests, and {size or 'an unknown number of'} bytes are too"
        f" many to fetch whole (limit {WHOLE})",
        fix="download the file and name the local copy",
        file=name,
    )
