"""GGUF: one file with metadata and weights, for llama.cpp and its kin.

The file is a header (magic, version, two counts), metadata, a table of tensors, and then their
data, each tensor at a multiple of `general.alignment`. Byte order is not written down: the
version, 1 to 3, is a small number only when read in the right one. ggml states dimensions
fastest first; here they are reversed, so that shapes read as in every other format.

Large models are split: `name-00001-of-00003.gguf` and so on are whole GGUF files, with all
metadata in the first. `read` reads any one of them, and `merge` joins them.

Source: docs/gguf.md in ggml-org/ggml; versions 2 and 3 (version 1 had 32-bit lengths).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from steelyard.checkpoints.gguf.cursor import ASK_PUBLISHER, FETCH_AGAIN, ByteOrder, Cursor
from steelyard.checkpoints.gguf.metadata import LENGTH_SUFFIX as LENGTH_SUFFIX
from steelyard.checkpoints.gguf.metadata import (
    UINT32,
    Entries,
    check_count,
    read_entries,
    read_name,
)
from steelyard.checkpoints.gguf.split import merge as merge
from steelyard.checkpoints.gguf.split import split_name as split_name
from steelyard.checkpoints.gguf.types import REMOVED, TYPES, GgmlType
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind, Tensor
from steelyard.errors import LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader

MAGIC = b"GGUF"
"""The first four bytes, in either byte order."""
DEFAULT_ALIGNMENT = 32
"""Bytes; for files without `general.alignment`."""

_VERSIONS = (2, 3)
_SMALLEST_TENSOR = 8 + 4 + 4 + 8
"""Bytes of a table entry with an empty name and no dimensions."""
_LARGEST_DIMENSION = 2**63 - 1
"""ggml's dimensions are signed 64-bit integers."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of the tensor table, before the start of the data is known."""

    name: str
    type: GgmlType
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the start of the data."""
    nbytes: int
    place: int
    """Where this row stands in the file."""


def read(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read the header of one GGUF file: metadata and tensor table, no weights.

    `metadata` has the file's own keys. For each array it also has `<key>#length`, the number of
    items in the file, because only the first `limits.kept_items` are kept.

    Raises:
        Truncated: If the file ends before what it announces.
        LimitExceeded: If it asks for more than `limits` allow.
        Unsupported: If it is of version 1, or uses an element type that is not known.
        CheckpointError: If it is not GGUF, or contradicts itself.
        SourceError: If it cannot be read.
    """
    cursor = Cursor(reader, limit=limits.header_bytes)
    _read_version(cursor)
    tensor_count = cursor.unsigned(8, "the tensor count")
    key_count = cursor.unsigned(8, "the metadata count")
    cursor.require(tensor_count * _SMALLEST_TENSOR, f"a table of {tensor_count} tensors")
    entries = read_entries(cursor, key_count, limits)
    alignment = _alignment(cursor, entries)
    table = _read_table(cursor, tensor_count, alignment, limits)
    base = _padded(cursor.position, alignment)
    table.sort(key=lambda entry: (entry.start, entry.nbytes, entry.name))
    _check_layout(cursor, table, base)
    problems = (*entries.problems, *_unused(cursor, table, base, alignment))
    tensors = (_tensor(entry, base, reader.name, cursor.byteorder) for entry in table)
    return Checkpoint(
        format="gguf",
        files=(reader.name,),
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        metadata=entries.values,
        problems=problems,
        arrays=entries.arrays,
    )


def _read_version(cursor: Cursor) -> None:
    """Check magic and version, and learn the byte order from the latter."""
    if cursor.size < len(MAGIC) or cursor.take(len(MAGIC)) != MAGIC:
        raise cursor.error(
            "this is not a GGUF file", why=f"it does not start with {MAGIC!r}", offset=0
        )
    raw = cursor.take(4, "the version")
    if raw[:2] == b"\0\0":
        cursor.byteorder = "big"
    version = int.from_bytes(raw, cursor.byteorder)
    if version in _VERSIONS:
        return
    if version == 1:
        why, fix = "version 1, of August 2023, had 32-bit lengths", "convert it with llama.cpp"
    else:
        why, fix = "versions 2 and 3 are known", "look for a newer Steelyard"
    raise cursor.error(
        f"GGUF version {version} is not supported", why=why, fix=fix, offset=4, kind=Unsupported
    )


def _alignment(cursor: Cursor, entries: Entries) -> int:
    value = entries.values.get("general.alignment", DEFAULT_ALIGNMENT)
    kind, place = entries.types.get("general.alignment", (UINT32, 0))
    if kind == UINT32 and isinstance(value, int) and value > 0 and value & (value - 1) == 0:
        return value
    raise cursor.error(
        f"general.alignment is {value!r}, but must be a power of two, of type uint32",
        offset=place,
    )


def _read_table(cursor: Cursor, count: int, alignment: int, limits: Limits) -> list[_Entry]:
    check_count(cursor, count, _SMALLEST_TENSOR, limits.tensors, "the tensor table")
    table: list[_Entry] = []
    seen: set[str] = set()
    for _ in range(count):
        entry = _read_entry(cursor, limits)
        if entry.name in seen:
            raise cursor.error(
                f"tensor {entry.name!r} stands twice",
                why="readers would disagree on which one counts",
                fix=ASK_PUBLISHER,
                offset=entry.place,
            )
        if entry.start % alignment:
            raise cursor.error(
                f"the data of {entry.name!r} is not aligned",
                why=f"offset {entry.start} is not a multiple of {alignment}",
                offset=entry.place,
            )
        seen.add(entry.name)
        table.append(entry)
    return table


def _read_entry(cursor: Cursor, limits: Limits) -> _Entry:
    place = cursor.position
    name = read_name(cursor, limits, "a tensor's name")
    what = f"the table entry of {name!r}"
    rank = cursor.unsigned(4, what)
    if rank > limits.rank:
        raise cursor.error(
            f"{name!r} has {rank} dimensions, but at most {limits.rank} are allowed",
            offset=place,
            kind=LimitExceeded,
        )
    fastest_first = [cursor.unsigned(8, what) for _ in range(rank)]
    ggml_type = _known_type(cursor, cursor.unsigned(4, what), name, place)
    start = cursor.unsigned(8, what)
    if any(size > _LARGEST_DIMENSION for size in fastest_first):
        raise cursor.error(f"{name!r} has a dimension of 2**63 or more", offset=place)
    row = fastest_first[0] if fastest_first else 1
    if row % ggml_type.block_elements:
        raise cursor.error(
            f"{name!r} has rows of {row} elements",
            why=f"{ggml_type.name} packs {ggml_type.block_elements} elements into a block",
            offset=place,
        )
    shape = tuple(reversed(fastest_first))
    return _Entry(name, ggml_type, shape, start, ggml_type.nbytes(prod(shape)), place)


def _known_type(cursor: Cursor, type_id: int, name: str, place: int) -> GgmlType:
    known = TYPES.get(type_id)
    if known is not None:
        return known
    if type_id in REMOVED:
        why = "ggml has removed this type"
        fix = "ask the publisher for a file in a current type"
        what = f"{name!r} has type {REMOVED[type_id]} ({type_id})"
    else:
        why = "the file is damaged, newer than this Steelyard, or made by a fork of llama.cpp"
        fix = f"look for a newer Steelyard; else {FETCH_AGAIN}"
        what = f"{name!r} has an unknown ggml type, {type_id}"
    raise cursor.error(what, why=why, fix=fix, offset=place, kind=Unsupported)


def _padded(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _check_layout(cursor: Cursor, table: Sequence[_Entry], base: int) -> None:
    """Refuse tensors that reach outside the file or into one another; `table` is by offset."""
    previous: _Entry | None = None
    for entry in table:
        if base + entry.start + entry.nbytes > cursor.size:
            raise cursor.error(
                f"the data of {entry.name!r} reaches beyond the end of the file",
                why=f"{entry.type.name} {list(entry.shape)} at byte {base + entry.start}, "
                f"but the file ends at {cursor.size}",
                offset=entry.place,
                kind=Truncated,
            )
        if not entry.nbytes:
            continue
        if previous is not None and entry.start < previous.start + previous.nbytes:
            raise cursor.error(
                f"tensors {previous.name!r} and {entry.name!r} overlap",
                why=f"the first ends at byte {base + previous.start + previous.nbytes}, "
                f"the second starts at {base + entry.start}; a fork of llama.cpp may also have "
                "given another size to a type",
                fix=ASK_PUBLISHER,
                offset=entry.place,
            )
        previous = entry


def _unused(
    cursor: Cursor, table: Iterable[_Entry], base: int, alignment: int
) -> Iterable[Problem]:
    """Tell of bytes that are neither a tensor's nor padding; `table` is by offset."""
    gaps = 0
    total = 0
    first: tuple[int, str] = (0, "")
    end = base
    for entry in table:
        if not entry.nbytes:
            continue
        gap = base + entry.start - end
        if gap:
            first = first if gaps else (end, entry.name)
            gaps += 1
            total += gap
        end = _padded(base + entry.start + entry.nbytes, alignment)
    if gaps:
        what = f"{total} bytes in {gaps} gaps belong to no tensor; the first is before {first[1]!r}"
        yield Problem(ProblemKind.UNUSED_BYTES, what, cursor.name, first[0])
    if cursor.size > end:
        what = f"{cursor.size - end} bytes after the last tensor belong to none"
        yield Problem(ProblemKind.UNUSED_BYTES, what, cursor.name, end)


def _tensor(entry: _Entry, base: int, file: str, byteorder: ByteOrder) -> Tensor:
    return Tensor(
        name=entry.name,
        dtype=entry.type.dtype,
        shape=entry.shape,
        encoding=entry.type.encoding,
        file=file,
        offset=base + entry.start,
        nbytes=entry.nbytes,
        byteorder=byteorder,
    )
