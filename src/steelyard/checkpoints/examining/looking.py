"""One look at content of any kind, and at what lies in it."""

from __future__ import annotations

import re
from typing import Final

from steelyard.checkpoints.examining.archives import (
    BZIPPED,
    Member,
    loose_members,
    strict_members,
    zip_end,
)
from steelyard.checkpoints.examining.findings import Budget, Findings
from steelyard.checkpoints.examining.packed import (
    BZIP2,
    RAW_DEFLATE,
    Packed,
    packing_of,
)
from steelyard.checkpoints.examining.windows import Window
from steelyard.checkpoints.filenames import named_like_pickle
from steelyard.checkpoints.messagepack import may_be_messagepack, payloads
from steelyard.checkpoints.pickles import holds_pickle, interpret, looks_like_pickle
from steelyard.checkpoints.pickles.boxes import decoded, decoded_start, may_be_file
from steelyard.checkpoints.pickles.machine import EXTENSION
from steelyard.checkpoints.pickles.memo import Memo
from steelyard.checkpoints.pickles.values import Box, PickleStream
from steelyard.checkpoints.tars import is_tar
from steelyard.checkpoints.tars import members as tar_members
from steelyard.checkpoints.zip_members import NPY_MAGIC, NPY_PREFIX, npy_data_start
from steelyard.checkpoints.zips import DEFLATED, STORED
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

HEAD: Final = 512
_ZIP: Final = (b"PK\3\4", b"PK\5\6")
_UNREAD: Final = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
_OBJECTS: Final = rb"'[|<>=]?O\d*'"
"""How the header of an array says that its elements, or fields of them, are Python objects."""
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first of the five pickles of PyTorch's old layout; raw storages follow the last."""
_LEGACY_REST: Final = 4
_TORCH_TAR: Final = frozenset({"pickle", "storages", "tensors"})
_ZEROS: Final = 1 << 16
_ANY: Final = "?"
_SMALLEST_FILE: Final = 4


class Look:
    """Look at one file and at all that it holds.

    Args:
        findings: Where to put what is found.
        budget: What may still be done.
        remote: Whether each read is a request; then raw storages are not looked into.
    """

    def __init__(self, findings: Findings, budget: Budget, *, remote: bool = False) -> None:
        self._findings = findings
        self._budget = budget
        self._remote = remote

    def at(self, reader: ByteReader, name: str, *, expected: bool, depth: int = 0) -> None:
        """Look at content.

        Args:
            reader: The content.
            name: Its place.
            expected: Whether it is meant to be loaded as a pickle. Of anything else that looks
                like a pickle only one that imports something is reported.
            depth: How many containers it lies in.

        Raises:
            SourceError: If the bytes cannot be fetched.
        """
        nested = self._budget.limits.nested
        if depth > nested:
            self._findings.unread(name, f"more than {nested} containers lie in one another")
        elif self._may_go_on(name):
            try:
                self._content(reader, name, expected, depth)
            except CheckpointError as error:
                self._findings.failed(name, error)

    def _may_go_on(self, name: str) -> bool:
        """Count one more look, and say whether it may be had; say once where it may not."""
        findings, budget = self._findings, self._budget
        findings.inner += 1
        most = budget.limits.inner_files
        if findings.inner <= most and budget.opcodes > 0:
            return True
        if not findings.exhausted:
            findings.exhausted = True
            what = (
                f"more than {most} pickles and files lie in this one"
                if findings.inner > most
                else f"more than {budget.limits.examined_opcodes} opcodes lie in the pickles"
            )
            findings.unread(name, what)
        return False

    def _content(self, reader: ByteReader, name: str, expected: bool, depth: int) -> None:
        head = reader.read(0, min(HEAD, reader.size))
        if head.startswith(_ZIP):
            self._zip(reader, name, depth)
            return
        unread = next((what for magic, what in _UNREAD.items() if head.startswith(magic)), None)
        if unread is not None:
            self._findings.unread(name, f"{unread} is not read", 0)
            return
        packing = packing_of(head)
        if packing is not None:
            inner = f"{name}!{packing.name}"
            packed = Packed(inner, reader, 0, reader.size, packing, self._budget)
            if self._packed(packed, expected, depth):
                self._appended(reader, name, packed.end, depth)
                return
        known = True
        if head.startswith(NPY_MAGIC):
            self._array(reader, name, head, depth)
        elif is_tar(head):
            self._tar(reader, name, depth)
        elif looks_like_pickle(head) or (expected and holds_pickle(reader, self._budget.limits)):
            self._pickles(reader, name, 0, expected, depth)
        else:
            known = expected
        if may_be_messagepack(head) and self._messagepack(reader, name, depth):
            return
        if zip_end(reader, comment=known):
            # Some programs read it as what it begins with, others as what it ends with.
            self._zip(reader, f"{name}!zip", depth, certain=False)

    # --- containers ------------------------------------------------------------------------------

    def _zip(self, reader: ByteReader, name: str, depth: int, *, certain: bool = True) -> None:
        failed = None
        before = len(self._findings.pickles)
        try:
            members = strict_members(reader, self._budget.limits)
        except CheckpointError as error:
            failed = error
            members = list(loose_members(reader))
        storages = self._storages(members)
        for member in members:
            if member.name.startswith(storages) and member.method == STORED:
                # Raw elements, by the thousand: a glance at each, and none over a network.
                first = min(HEAD, member.size)
                if self._remote or not may_be_file(reader.read(member.start, first)):
                    continue
            self._member(reader, name, member, depth)
        if failed is not None and (certain or len(self._findings.pickles) > before):
            self._findings.failed(name, failed)

    def _storages(self, members: list[Member]) -> tuple[str, ...]:
        """Name the folders in which PyTorch keeps the elements of tensors."""
        return tuple(
            member.name.removesuffix(".pkl") + "/"
            for member in members
            if member.name.endswith(("data.pkl", "constants.pkl"))
        )

    def _member(self, reader: ByteReader, name: str, member: Member, depth: int) -> None:
        place = f"{name}!{_printable(member.name)}"
        expected = named_like_pickle(member.name)
        if member.method == STORED:
            inner = Window(place, reader, member.start, member.size)
            self.at(inner, place, expected=expected, depth=depth + 1)
            return
        packing = {DEFLATED: RAW_DEFLATE, BZIPPED: BZIP2}.get(member.method)
        if packing is None:
            self._findings.unread(place, f"it is compressed by method {member.method}, not read")
            return
        end = member.start + member.size
        packed = Packed(place, reader, member.start, end, packing, self._budget)
        try:
            head = packed.head(HEAD)
            if expected or may_be_file(head) or is_tar(head):
                self._unpacked(packed, expected, depth)
        except CheckpointError as error:
            self._findings.failed(place, error)

    def _tar(self, reader: ByteReader, name: str, depth: int) -> None:
        for member in tar_members(reader, self._budget.limits.inner_files):
            place = f"{name}!{_printable(member.name)}"
            if not member.is_file:
                if member.size:
                    self._findings.unread(place, "it is no file but says how long it is")
                continue
            if member.is_sparse:
                self._findings.unread(place, "it is a sparse file, which is not put together")
            expected = named_like_pickle(member.name) or member.name in _TORCH_TAR
            inner = Window(place, reader, member.start, member.size)
            self.at(inner, place, expected=expected, depth=depth + 1)

    def _packed(self, packed: Packed, expected: bool, depth: int) -> bool:
        """Look at what comes out of compressed data; say whether anything did.

        What begins like compressed data by accident gives nothing; so it is not reported.
        """
        try:
            if not packed.head(1):
                return False
        except Unsupported as error:
            self._findings.unread(packed.name, f"{error.what} ({error.fix})")
            return True
        self._unpacked(packed, expected, depth)
        return True

    def _unpacked(self, packed: Packed, expected: bool, depth: int) -> None:
        inner, failed = packed.unpacked()
        before = len(self._findings.pickles)
        self.at(inner, packed.name, expected=expected, depth=depth + 1)
        # Of a string that is damaged, what came out is all that any program would load.
        matters = expected or not depth or isinstance(failed, LimitExceeded)
        if failed is not None and (matters or len(self._findings.pickles) > before):
            self._findings.failed(packed.name, failed)

    def _array(self, reader: ByteReader, name: str, head: bytes, depth: int) -> None:
        """Look at an array: one of Python objects is a pickle behind a header."""
        if len(head) < NPY_PREFIX:
            return
        start = npy_data_start(head)
        if start > reader.size:
            return
        if re.search(_OBJECTS, reader.read(0, min(start, 1 << 16))):
            self._pickles(reader, name, start, True, depth)

    def _messagepack(self, reader: ByteReader, name: str, depth: int) -> bool:
        """Look at what an object of MessagePack holds as bytes; what is none is nothing to load.

        Say whether it ends with a zip that is in order, which no other program reads as another.
        """
        limits = self._budget.limits
        ends_in_order = False
        try:
            for payload in payloads(reader, min(limits.opcodes, self._budget.opcodes)):
                self._budget.opcodes -= 1
                ends_in_order = False
                if payload.kind == "string" or payload.size < _SMALLEST_FILE:
                    continue
                head = reader.read(payload.offset, min(HEAD, payload.size))
                if may_be_file(head):
                    place = f"{name}!{payload.kind} at byte {payload.offset}"
                    inner = Window(place, reader, payload.offset, payload.size)
                    before = len(self._findings.problems)
                    self.at(inner, place, expected=False, depth=depth + 1)
                    at_end = payload.offset + payload.size == reader.size
                    sound = len(self._findings.problems) == before
                    ends_in_order = at_end and sound and head.startswith(_ZIP)
        except LimitExceeded as error:
            self._findings.failed(name, error)
            return False
        except CheckpointError:
            return False
        return ends_in_order

    # --- pickles ---------------------------------------------------------------------------------

    def _pickles(
        self, reader: ByteReader, name: str, start: int, expected: bool, depth: int
    ) -> None:
        """Look at pickles in a row, with nothing or zeros between them."""
        at, left = start, 0
        while True:
            stream = self._stream(reader, name, at, expected)
            if stream is None:
                return
            self._boxes(reader, name, stream, depth)
            if not stream.complete:
                return
            if at == start and type(stream.value) is int and stream.value == LEGACY_MAGIC:
                left = _LEGACY_REST + 1
            left -= 1
            if left == 0:
                # Storages follow: elements of tensors, which nothing loads.
                return
            at = _behind_zeros(reader, stream.end_offset)
            if at >= reader.size:
                return
            if not looks_like_pickle(reader.read(at, min(HEAD, reader.size - at))):
                self._appended(reader, name, at, depth)
                return

    def _appended(self, reader: ByteReader, name: str, at: int, depth: int) -> None:
        """Look at what follows the end of something, which some programs go on to read."""
        at = _behind_zeros(reader, at)
        if at < reader.size:
            place = f"{name}!appended at byte {at}"
            rest = Window(place, reader, at, reader.size - at)
            self.at(rest, place, expected=False, depth=depth + 1)

    def _stream(
        self, reader: ByteReader, name: str, at: int, expected: bool, *, end: int | None = None,
        amid: Memo | None = None,
    ) -> PickleStream | None:  # fmt: skip
        """Interpret one pickle and report it; None where there is none to speak of."""
        limits = self._budget.limits
        if not self._may_go_on(name):
            return None
        try:
            stream = interpret(
                reader, name, at, limits, end=end, keep=False, amid=amid, most=self._budget.opcodes
            )
        except CheckpointError as error:
            if expected:
                self._findings.failed(name, error)
            return None
        self._budget.opcodes -= stream.opcodes
        if not expected and not (stream.imports and _named_as_in_python(stream)):
            # What imports nothing does nothing.
            return stream if stream.complete else None
        self._findings.imports.extend(stream.imports)
        self._findings.problems.extend(stream.problems)
        self._findings.pickles.append(name)
        return stream

    def _boxes(self, reader: ByteReader, name: str, stream: PickleStream, depth: int) -> None:
        """Look at strings and bytes of a pickle that may be files."""
        for box in stream.boxes:
            place = f"{name}!{box.kind} at byte {box.offset}"
            if box.kind == "array":
                end = box.offset + box.length
                self._stream(reader, place, box.offset, False, end=end, amid=stream.memo)
            elif box.kind == "bytes":
                inner = Window(place, reader, box.offset, box.length)
                self.at(inner, place, expected=box.loaded, depth=depth + 1)
            else:
                self._text(reader, name, box, depth)

    def _text(self, reader: ByteReader, name: str, box: Box, depth: int) -> None:
        """Look at a string, as base64 where it is that, and as bytes written as characters."""
        text = box.text
        if text is None:
            length = min(box.length, self._budget.limits.string_bytes)
            text = reader.read(box.offset, length).decode("utf-8", "replace")
            if length < box.length:
                place = f"{name}!string at byte {box.offset}"
                self._findings.unread(place, f"a string of {box.length} bytes is too long")
        if may_be_file(decoded_start(text)):
            place = f"{name}!base64 at byte {box.offset}"
            data = decoded(text)
        else:
            place = f"{name}!string at byte {box.offset}"
            try:
                data = text.encode("latin-1")
            except UnicodeEncodeError:
                data = text.encode("utf-8", "replace")
        self.at(BytesReader(place, data), place, expected=False, depth=depth + 1)


def _named_as_in_python(stream: PickleStream) -> bool:
    """Say whether imports are named as things in Python are, so that this is no accident."""
    words = [word for found in stream.imports for word in found.name.split(".")]
    named = any(
        _ANY not in found.name and not found.name.startswith(EXTENSION) for found in stream.imports
    )
    return named and all(word.isidentifier() or word == _ANY for word in words)


def _behind_zeros(reader: ByteReader, at: int) -> int:
    while at < reader.size:
        piece = reader.read(at, min(_ZEROS, reader.size - at))
        rest = piece.lstrip(b"\0")
        if rest:
            return at + len(piece) - len(rest)
        at += len(piece)
    return at


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in name)[:500]
