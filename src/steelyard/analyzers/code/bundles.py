"""Python files and notebooks within archives: zip and tar, compressed or not, and in one another.

Archives are told by their bytes. Each member that is named like Python is read within bounds, and
named where it could not be; what else lies there is not unpacked. Nearly all of it runs only if
somebody unpacks and runs it. Two kinds of archive are loaded as they are: TorchServe's, whose
manifest names a file to import, and those of `torch.package`, which are Python packages.

Source: TorchServe, "Model archiver" (`MAR-INF/MANIFEST.json`); PyTorch, `torch.package`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.code.archives import MOST_MEMBERS
from steelyard.analyzers.code.reading import Rider
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import parse_json
from steelyard.checkpoints.examining.archives import Member, loose_members, strict_members
from steelyard.checkpoints.examining.findings import Budget
from steelyard.checkpoints.examining.packed import (
    RAW_DEFLATE,
    Packed,
    PackedStream,
    packing_of,
)
from steelyard.checkpoints.examining.windows import Window
from steelyard.checkpoints.filenames import named_like_weights
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tars import is_tar
from steelyard.checkpoints.tars import members as tar_members
from steelyard.checkpoints.zips import DEFLATED, STORED
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

HEAD: Final = 512
SEPARATOR: Final = "!"
"""What stands between an archive and its member in a place."""
_ZIP: Final = (b"PK\3\4", b"PK\5\6")
_GZIP: Final = b"\x1f\x8b"
_MOST_UNPACKED: Final = 64_000_000
_MOST_KEPT: Final = 16_000_000
_MOST_MEMBERS: Final = 100_000
_MOST_LOOSE: Final = 1_000_000_000
"""Bytes of damaged archives that are searched for members."""
_LONGEST_NAME: Final = 300
_MANIFEST: Final = "MAR-INF/MANIFEST.json"
_LONGEST_MANIFEST: Final = 1_000_000
_PACKAGE: Final = (".data/extern_modules", ".data/python_version")
_CLOSED: Final = frozenset(
    {".json", ".md", ".txt", ".py", ".ipynb", ".yaml", ".yml", ".csv", ".safetensors", ".gguf",
     ".onnx", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".gif",
     ".webp", ".bmp", ".tiff", ".svg", ".wav", ".mp3", ".flac", ".ogg", ".mp4", ".tsv", ".jsonl",
     ".xml", ".html", ".js", ".css", ".parquet", ".arrow", ".pyc", ".so"}
)  # fmt: skip
"""Names of what nobody unpacks, whatever it holds."""


@dataclass(slots=True)
class Bundles:
    """Unpack what archives of one model hold, as far as all of it together may take.

    Args:
        wanted: Told a member's name, gives the bytes of the longest that is read; 0 for none.
    """

    wanted: Callable[[str], int]
    loaded: set[str] = field(default_factory=set)
    """Places of members that a library imports when it opens the archive."""
    members: int = _MOST_MEMBERS
    loose: int = _MOST_LOOSE
    budget: Budget = field(default_factory=lambda: Budget(Limits(unpacked_bytes=_MOST_UNPACKED)))

    def within(self, reader: ByteReader) -> Iterator[Rider]:
        """Yield the Python files in a file, if it is an archive, and those that were not read."""
        yield from self._content(reader, reader.name, 0)

    def _content(self, reader: ByteReader, place: str, depth: int) -> Iterator[Rider]:
        if depth > DEFAULT_LIMITS.nested:
            yield Rider(place, unread=f"lies in more than {DEFAULT_LIMITS.nested} archives")
            return
        head = reader.read(0, min(HEAD, reader.size))
        try:
            if head.startswith(_ZIP):
                yield from self._zip(reader, place, depth)
            elif is_tar(head):
                yield from self._tar(reader, place, depth)
            elif packing_of(head) is not None:
                yield from self._packed(reader, head, place, depth)
        except CheckpointError as error:
            # What is damaged is told where pickles are looked for, and a long `.tar.gz` where
            # names that lead out are.
            told = depth == 0 and head.startswith(_GZIP)
            if isinstance(error, LimitExceeded) and not told:
                yield Rider(place, unread=error.what)

    def _packed(self, reader: ByteReader, head: bytes, place: str, depth: int) -> Iterator[Rider]:
        packing = packing_of(head)
        if packing is None:
            return
        packed = Packed(place, reader, 0, reader.size, packing, self.budget)
        inner = packed.head(HEAD)
        if is_tar(inner):
            yield from self._tar(PackedStream(packed), place, depth)
        elif inner.startswith(_ZIP):
            yield from self._content(_unpacked(packed), place, depth + 1)

    def _tar(self, reader: ByteReader, place: str, depth: int) -> Iterator[Rider]:
        for member in (each for each in tar_members(reader, MOST_MEMBERS) if each.is_file):
            longest = self.wanted(member.name)
            if not longest and not _may_open(member.name):
                continue
            self._count()
            inner = Window(_place(place, member.name), reader, member.start, member.size)
            if longest:
                yield _read(inner, longest)
            elif _is_archive(inner.read(0, min(HEAD, inner.size))):
                if isinstance(reader, PackedStream) and inner.size > _MOST_KEPT:
                    yield Rider(inner.name, unread=f"is an archive of {inner.size} bytes in one")
                    continue
                # What is compressed is read forward only, but a zip from its end.
                kept = isinstance(reader, PackedStream)
                whole = BytesReader(inner.name, inner.read(0, inner.size)) if kept else inner
                yield from self._content(whole, inner.name, depth + 1)

    def _zip(self, reader: ByteReader, place: str, depth: int) -> Iterator[Rider]:
        try:
            members = strict_members(reader, DEFAULT_LIMITS)
        except CheckpointError:
            # What lies loose may overlap, each in the next, and all is looked at every time.
            self.loose -= reader.size
            if self.loose < 0:
                raise LimitExceeded("holds too many damaged archives in one another") from None
            members = list(loose_members(reader))
        self._note_loaded(reader, members, place)
        for member in members:
            longest = self.wanted(member.name)
            if not longest and not _may_open(member.name):
                continue
            self._count()
            if longest:
                yield self._member(reader, member, place, longest)
            elif member.method in (STORED, DEFLATED):
                yield from self._nested(reader, member, place, depth)

    def _nested(
        self, reader: ByteReader, member: Member, place: str, depth: int
    ) -> Iterator[Rider]:
        name = _place(place, member.name)
        if member.method == STORED:
            inner: ByteReader = Window(name, reader, member.start, member.size)
        else:
            if not _is_archive(_inflated_head(reader, member)):
                return
            end = member.start + member.size
            packed = Packed(name, reader, member.start, end, RAW_DEFLATE, self.budget)
            inner = _unpacked(packed)
        yield from self._content(inner, name, depth + 1)

    def _member(self, reader: ByteReader, member: Member, place: str, longest: int) -> Rider:
        """Read one member of a zip, or say why not."""
        name = _place(place, member.name)
        if member.method == STORED:
            return _read(Window(name, reader, member.start, member.size), longest)
        if member.method != DEFLATED:
            return Rider(name, unread=f"is compressed by method {member.method}, not read")
        end = member.start + member.size
        packed = Packed(name, reader, member.start, end, RAW_DEFLATE, self.budget)
        data = bytearray()
        try:
            for piece in packed.pieces():
                data += piece
                if len(data) > longest:
                    return Rider(name, unread=f"is longer than {longest} bytes")
        except CheckpointError as error:
            return Rider(name, unread=error.what)
        return Rider(name, bytes(data))

    def _note_loaded(self, reader: ByteReader, members: list[Member], place: str) -> None:
        """Note what TorchServe or `torch.package` would import from an archive."""
        by_name = {member.name: member for member in members}
        if _MANIFEST in by_name:
            rider = self._member(reader, by_name[_MANIFEST], place, _LONGEST_MANIFEST)
            handler = _handler(rider)
            if handler:
                self.loaded.add(_place(place, handler))
        roots = {name.removesuffix(end) for name in by_name for end in _PACKAGE
                 if name.endswith(end)}  # fmt: skip
        for root in roots:
            self.loaded |= {_place(place, name) for name in by_name if name.startswith(root)}

    def _count(self) -> None:
        """Count a member that is looked into.

        Raises:
            LimitExceeded: If there were too many.
        """
        self.members -= 1
        if self.members < 0:
            raise LimitExceeded(f"comes after the first {_MOST_MEMBERS} members of archives")


def _read(inner: Window, longest: int) -> Rider:
    if inner.size > longest:
        return Rider(inner.name, unread=f"is {inner.size} bytes long, more than {longest}")
    try:
        return Rider(inner.name, inner.read(0, inner.size))
    except CheckpointError as error:
        return Rider(inner.name, unread=error.what)


def _unpacked(packed: Packed) -> ByteReader:
    """Unpack an archive, or as much of one that is damaged as comes out.

    Raises:
        LimitExceeded: If more comes out than is allowed.
    """
    inner, failed = packed.unpacked()
    if isinstance(failed, LimitExceeded):
        raise failed
    return inner


def _inflated_head(reader: ByteReader, member: Member) -> bytes:
    """Inflate how a member begins; nothing where it does not inflate."""
    data = reader.read(member.start, min(2 * HEAD, member.size))
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, HEAD)
    except zlib.error:
        return b""


def _handler(rider: Rider) -> str:
    """Name the Python file that a manifest of TorchServe has imported, if it is one."""
    try:
        manifest = parse_json(rider.data, rider.path, duplicates="keep_last")
    except CheckpointError:
        return ""
    model = manifest.get("model") if isinstance(manifest, dict) else None
    handler = model.get("handler") if isinstance(model, dict) else None
    if not isinstance(handler, str):
        return ""
    module = handler.partition(":")[0].removesuffix(".py")
    return f"{module}.py"


def may_hold(path: str) -> bool:
    """Tell by its name whether anybody would unpack a file."""
    return PurePosixPath(path).suffix.lower() not in _CLOSED


def _may_open(name: str) -> bool:
    """Tell whether a member may be an archive to look into: weights in an archive are not."""
    weights = named_like_weights(name) and not name.endswith(".mar")
    return not name.endswith("/") and may_hold(name) and not weights


def _is_archive(head: bytes) -> bool:
    return head.startswith(_ZIP) or is_tar(head) or packing_of(head) is not None


def _place(archive: str, name: str) -> str:
    return f"{archive}{SEPARATOR}{clean(name, _LONGEST_NAME)}"
