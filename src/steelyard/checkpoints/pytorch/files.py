"""Take PyTorch files apart: which pickles they hold, and where their storages lie.

There are two layouts. Since 1.6 a file is a zip: `*/data.pkl` is the object, `*/data/KEY` the
bytes of each storage; TorchScript adds `*/code/` and `*/constants.pkl` with `*/constants/KEY`.
Before, a file was five pickles in a row (a magic number, the protocol, facts on the machine, the
object, the list of storage keys) followed by each storage: its count of items, then its items,
always little-endian (`torch/serialization.py`, `torch/csrc/generic/serialization.cpp`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.pickles import HEAD, interpret, looks_like_pickle
from steelyard.checkpoints.pickles.values import Pairs, PickleStream, Value, items_of
from steelyard.checkpoints.pytorch.tensors import (
    Locate,
    Place,
    StorageReference,
    storage_reference,
    wrong,
)
from steelyard.checkpoints.tensors import Problem, ProblemKind
from steelyard.checkpoints.zips import STORED, ZipMember, directory, read_member
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first pickle of the old layout."""
OLD_PROTOCOL: Final = 1001
"""The second."""
MOST_PICKLES: Final = 100_000
"""Pickles that are read in one file; a plain pickle of tensors holds five for each."""

_COUNT = struct.Struct("<q")
_BYTEORDER_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Found:
    """One pickle of a file."""

    stream: PickleStream
    reader: ByteReader
    """What its offsets count in: the file, or the inflated member."""


@dataclass(frozen=True, slots=True)
class Root:
    """One object that may hold tensors."""

    value: Value
    locate: Locate | None
    """How to find its storages; None for a pickle that has no file around it."""
    prefix: str = ""


@dataclass(slots=True)
class Contents:
    """What was found in one file so far."""

    layout: str = "pickle"
    found: list[Found] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    byteorder: str = "little"
    problems: list[Problem] = field(default_factory=list)
    storages: set[str] = field(default_factory=set)
    """Members of a zip that hold storages."""
    used: set[str] = field(default_factory=set)
    """Those that a tensor lies on."""


class Pickles:
    """Interpret the pickles of one file under one budget.

    Args:
        limits: Bounds on all of them together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0

    @property
    def exhausted(self) -> bool:
        """Say whether no more pickles will be read."""
        return self._count >= MOST_PICKLES or self._limits.json_nodes <= 0

    def read(self, reader: ByteReader, start: int, end: int, contents: Contents) -> PickleStream:
        """Interpret the pickle at `start` and add it to `contents`.

        Raises:
            CheckpointError: If there is none, or there were too many.
        """
        if self.exhausted:
            raise LimitExceeded(
                f"the file holds more than {MOST_PICKLES} pickles, or too much in them",
                why="no checkpoint needs so many",
                fix="do not load the file",
                file=reader.name,
                offset=start,
            )
        self._count += 1
        stream = interpret(reader, reader.name, start, self._limits, end=end)
        self._limits = replace(
            self._limits,
            json_nodes=self._limits.json_nodes - stream.cost,
            opcodes=self._limits.opcodes - stream.opcodes,
        )
        contents.found.append(Found(stream, reader))
        contents.problems.extend(stream.problems)
        return stream


# --- pickles in a row ---------------------------------------------------------------------------


def open_pickles(
    reader: ByteReader, start: int, end: int, pickles: Pickles, contents: Contents
) -> None:
    """Read the range as pickles in a row: the old layout, or any pickles.

    Raises:
        CheckpointError: If the old layout begins but does not make sense.
    """
    first = pickles.read(reader, start, end, contents)
    if first.complete and type(first.value) is int and first.value == MAGIC:
        contents.layout = "legacy"
        _open_old(reader, first.end_offset, end, pickles, contents)
        return
    what = "this is a plain pickle, not a file that torch.save writes; only tensors are listed"
    contents.problems.append(Problem(ProblemKind.OTHER_CONTENT, what, reader.name, start))
    if first.complete:
        contents.roots.append(Root(first.value, None))
        read_on(reader, first.end_offset, end, pickles, contents)


def read_on(reader: ByteReader, start: int, end: int, pickles: Pickles, contents: Contents) -> None:
    """Read the pickles that follow one that has ended, and report what else does."""
    first = start
    try:
        while start < end and looks_like_pickle(reader.read(start, min(HEAD, end - start))):
            stream = pickles.read(reader, start, end, contents)
            if start == first:
                what = "another pickle follows the end of the first; PyTorch would not read it"
                contents.problems.append(
                    Problem(ProblemKind.OTHER_CONTENT, what, reader.name, start)
                )
            start = stream.end_offset
            if not stream.complete:
                return
    except CheckpointError as error:
        contents.problems.append(
            Problem(ProblemKind.NOT_FULLY_READ, error.what, reader.name, start)
        )
        return
    if start < end:
        contents.problems.append(
            Problem(
                ProblemKind.UNUSED_BYTES,
                f"{end - start} bytes follow the end of the pickle",
                reader.name,
                start,
            )
        )


def _open_old(
    reader: ByteReader, start: int, end: int, pickles: Pickles, contents: Contents
) -> None:
    at = start
    streams = []
    for _ in range(4):
        stream = pickles.read(reader, at, end, contents)
        if not stream.complete:
            return
        streams.append(stream)
        at = stream.end_offset
    version, machine, main, keys = streams
    if version.value != OLD_PROTOCOL:
        what = "the file states a protocol other than 1001, the only one there ever was"
        contents.problems.append(Problem(ProblemKind.ODD_METADATA, what, reader.name, start))
    if not isinstance(machine.value, Pairs):
        what = "the file does not say what machine wrote it"
        contents.problems.append(Problem(ProblemKind.ODD_METADATA, what, reader.name, start))
    places, at = _old_places(reader, keys, _references(main, reader.name), end)
    if at < end:
        what = f"{end - at} bytes follow the last storage"
        contents.problems.append(Problem(ProblemKind.UNUSED_BYTES, what, reader.name, at))

    def locate(key: str, nbytes: int, offset: int) -> Place:
        place = places.get(key)
        if place is None or place.nbytes != nbytes:
            raise wrong(reader.name, offset, f"storage {key[:100]} is not in the file as described")
        return place

    contents.roots.append(Root(main.value, locate))


def _references(stream: PickleStream, file: str) -> dict[str, StorageReference]:
    """Collect the storages that a pickle refers to, by key."""
    found: dict[str, StorageReference] = {}
    for persistent in stream.persistents:
        reference = storage_reference(persistent, file)
        if reference is not None:
            found.setdefault(reference.key, reference)
    return found


def _old_places(
    reader: ByteReader,
    keys: PickleStream,
    references: Mapping[str, StorageReference],
    end: int,
) -> tuple[dict[str, Place], int]:
    """Find each storage behind the pickles; also say where the last one ends.

    Only the pickled references tell how long an item is, so a key that nothing refers to, or of
    an unknown type, ends the reading.
    """
    places: dict[str, Place] = {}
    at = keys.end_offset
    listed = items_of(keys.value)
    if listed is None:
        raise wrong(reader.name, at, "the list of storage keys is not a list")
    for key in listed:
        key = str(key) if isinstance(key, int) else key
        reference = references.get(key) if isinstance(key, str) else None
        if reference is None or reference.element is None or reference.key in places:
            raise wrong(reader.name, at, "a storage is listed that no tensor describes, or twice")
        count = _COUNT.unpack(reader.read(at, _COUNT.size))[0]
        if count != reference.count:
            what = f"storage {reference.key[:100]} states {count} items, its tensors say "
            raise wrong(reader.name, at, f"{what}{reference.count}")
        nbytes = count * reference.element.size
        at += _COUNT.size
        if nbytes > end - at:
            what = f"storage {reference.key[:100]} takes {nbytes} bytes where {end - at} are left"
            raise wrong(reader.name, at, what)
        places[reference.key] = Place(at, nbytes)
        at += nbytes
    return places, at


# --- zip ----------------------------------------------------------------------------------------


def open_zip(reader: ByteReader, limits: Limits, pickles: Pickles, contents: Contents) -> None:
    """Read the file as a zip.

    Raises:
        CheckpointError: If the archive is broken.
        Unsupported: If it holds no `data.pkl`.
    """
    members = {member.name: member for member in directory(reader, limits)}
    prefix = _prefix(members, reader.name)
    script = any(
        name == f"{prefix}constants.pkl" or name.startswith(f"{prefix}code/") for name in members
    )
    contents.layout = "torchscript" if script else "zip"
    contents.byteorder = _byteorder(reader, members.get(f"{prefix}byteorder"), contents)
    inflated = limits.header_bytes
    folders = {f"{prefix}data.pkl": "data/", f"{prefix}constants.pkl": "constants/"}
    contents.storages.update(
        name
        for name in members
        if name.startswith(tuple(prefix + part for part in folders.values()))
    )
    # The object itself comes first, so that others cannot use up its budget. PyTorch finds members
    # whatever their case.
    for name in sorted(
        (name for name in members if name.lower().endswith(".pkl")),
        key=lambda name: (name != f"{prefix}data.pkl", name not in folders, name),
    ):
        member = members[name]
        try:
            stream = _read_pickle(reader, member, inflated, pickles, contents)
        except CheckpointError as error:
            if name == f"{prefix}data.pkl":
                raise
            contents.problems.append(
                Problem(ProblemKind.NOT_FULLY_READ, f"{name}: {error.what}", reader.name)
            )
            continue
        inflated -= member.size if member.method != STORED else 0
        if stream.complete and name in folders:
            main = name == f"{prefix}data.pkl"
            locate = _locator(reader.name, members, prefix + folders[name], contents.used)
            contents.roots.append(Root(stream.value, locate, "" if main else "constants"))
    if script:
        what = "holds code as TorchScript, which is looked at for what it calls"
        contents.problems.append(Problem(ProblemKind.OTHER_CONTENT, what, reader.name))


def _prefix(members: Mapping[str, ZipMember], file: str) -> str:
    """Find the folder of `data.pkl`; PyTorch takes that of the first member."""
    first = next(iter(members), "").partition("/")[0] + "/"
    found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if f"{first}data.pkl" in members:
        return first
    if len(found) != 1:
        raise Unsupported(
            f"the zip holds {len(found)} members named data.pkl" if found else "no data.pkl",
            why="this is not a zip that torch.save writes",
            fix="point at the checkpoint itself, or unpack the archive",
            file=file,
        )
    return found[0].removesuffix("data.pkl")


def _byteorder(reader: ByteReader, member: ZipMember | None, contents: Contents) -> str:
    """Read the byte order; files from before 2.1 do not state it and are little-endian."""
    if member is None:
        return "little"
    order = (
        read_member(reader, member, _BYTEORDER_BYTES).strip()
        if member.size <= _BYTEORDER_BYTES
        else b""
    )
    if order in (b"little", b"big"):
        return order.decode()
    what = "the byte order is neither little nor big; little is assumed"
    contents.problems.append(
        Problem(ProblemKind.ODD_METADATA, what, reader.name, member.data_offset)
    )
    return "little"


def _read_pickle(
    reader: ByteReader, member: ZipMember, inflated: int, pickles: Pickles, contents: Contents
) -> PickleStream:
    start, end = member.data_offset, member.data_offset + member.size
    source = reader
    if member.method != STORED:
        data = read_member(reader, member, inflated)
        source = BytesReader(f"{reader.name}!{member.name}", data)
        start, end = 0, len(data)
    stream = pickles.read(source, start, end, contents)
    if stream.complete:
        read_on(source, stream.end_offset, end, pickles, contents)
    return stream


def _locator(file: str, members: Mapping[str, ZipMember], folder: str, used: set[str]) -> Locate:
    def locate(key: str, nbytes: int, offset: int) -> Place:
        member = members.get(folder + key)
        if member is None:
            raise wrong(file, offset, f"storage {key[:100]} is not in the file")
        if member.size < nbytes:
            what = f"storage {key[:100]} holds {member.size} bytes, its tensors want {nbytes}"
            raise wrong(file, offset, what)
        used.add(member.name)
        stored = member.method == STORED
        return Place(
            member.data_offset if stored else None, nbytes, None if stored else member.name
        )

    return locate
