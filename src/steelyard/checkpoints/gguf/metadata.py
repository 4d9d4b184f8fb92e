"""The metadata of a GGUF file: a list of typed keys and values before the tensor table.

A value is one of twelve scalar types or an array of any type. Arrays hold vocabularies and can
be long, so only the first items are kept (`Limits.kept_items`). For every array under `key`, a
synthetic entry `key#length` states the number of items in the file. A file's own keys that end
in `#length` are left out and reported, so that a synthetic entry can be believed. An array of
arrays is walked for its length, but None stands for its items.

Source: docs/gguf.md in ggml-org/ggml, section "File Structure".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from steelyard.checkpoints.gguf.cursor import ASK_PUBLISHER, Cursor
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.tensors import ArrayPlace, MetadataValue, Problem, ProblemKind, Scalar
from steelyard.errors import CheckpointError, LimitExceeded

LENGTH_SUFFIX = "#length"
"""What follows an array's key in the synthetic entry that states its number of items."""

_NUMBERS: Mapping[int, tuple[str, int]] = MappingProxyType(
    {
        0: ("B", 1),
        1: ("b", 1),
        2: ("H", 2),
        3: ("h", 2),
        4: ("I", 4),
        5: ("i", 4),
        6: ("f", 4),
        7: ("B", 1),
        10: ("Q", 8),
        11: ("q", 8),
        12: ("d", 8),
    }
)
"""For each value type of fixed size: its `struct` character and its bytes."""
UINT32 = 4
_BOOL = 7
_STRING = 8
_ARRAY = 9

_SMALLEST_ENTRY = 8 + 4 + 1
"""Bytes of an entry with an empty key and a one-byte value."""
_MARKED = 1024
"""Strings of an array from one mark to the next."""
_ARRAY_HEADER = 4 + 8
"""Bytes of an array's item type and count."""


@dataclass(slots=True)
class Entries:
    """The metadata as read."""

    values: dict[str, MetadataValue] = field(default_factory=dict)
    types: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each key, its value type and the offset of its entry."""
    arrays: dict[str, ArrayPlace] = field(default_factory=dict)
    """Where the arrays lie of which not all items are kept."""
    problems: list[Problem] = field(default_factory=list)
    nested: int = 0
    """Arrays within arrays that were passed over."""


def check_count(cursor: Cursor, count: int, smallest: int, most: int, what: str) -> None:
    """Refuse a count of things, of at least `smallest` bytes each, that cannot be true.

    Raises:
        Truncated: If that many do not fit into the rest of the file.
        LimitExceeded: If there are more than `most`.
    """
    if count * smallest > cursor.remaining:
        cursor.require(count * smallest, f"{what} ({count} stated)")
    if count > most:
        raise cursor.error(
            f"{what}: {count} items stated, but at most {most} are allowed",
            fix="raise the limit if you trust the file",
            kind=LimitExceeded,
        )


def read_name(cursor: Cursor, limits: Limits, what: str) -> str:
    """Read a key or a tensor's name.

    Raises:
        CheckpointError: If it is not UTF-8, too long, or cut off.
    """
    start = cursor.position
    raw = cursor.counted(limits.name_bytes, what)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise cursor.error(
            f"{what} is not UTF-8", why=error.reason, fix=ASK_PUBLISHER, offset=start
        ) from None


def read_entries(cursor: Cursor, count: int, limits: Limits) -> Entries:
    """Read `count` keys and values, from the first to the last byte of the metadata.

    Raises:
        CheckpointError: If they are damaged, ambiguous or beyond a limit.
    """
    check_count(cursor, count, _SMALLEST_ENTRY, limits.metadata_keys, "the metadata")
    entries = Entries()
    for _ in range(count):
        start = cursor.position
        key = read_name(cursor, limits, "a metadata key")
        if key in entries.types:
            raise cursor.error(
                f"metadata key {key!r} stands twice",
                why="readers would disagree on which value counts",
                fix=ASK_PUBLISHER,
                offset=start,
            )
        kind = cursor.unsigned(4, f"the type of {key!r}")
        entries.types[key] = (kind, start)
        _Value(cursor, limits, key, entries, f"the value of {key!r}").read(kind)
    return entries


@dataclass(frozen=True, slots=True)
class _Value:
    """Reads the value of one key into `entries`."""

    cursor: Cursor
    limits: Limits
    key: str
    entries: Entries
    what: str
    """How errors call the value; written once, for it is needed for every item."""

    def read(self, kind: int) -> None:
        start = self.cursor.position
        length: int | None = None
        value: MetadataValue
        if kind == _ARRAY:
            value, length = self._array()
        else:
            value = self._items(kind, 1)[0]
        if self.key.endswith(LENGTH_SUFFIX):
            self._note(f"a key that ends in {LENGTH_SUFFIX} is left out", start)
            return
        self.entries.values[self.key] = value
        if length is not None:
            self.entries.values[self.key + LENGTH_SUFFIX] = length

    def _array(self) -> tuple[MetadataValue, int]:
        """Read the first items of an array, and move past the others."""
        start = self.cursor.position
        kind, count = self._array_header()
        if kind == _ARRAY:
            self._skip(kind, count, depth=1)
            self._note("an array of arrays: only its length is kept", start, understood=False)
            return None, count
        kept = min(count, self.limits.kept_items)
        first = self.cursor.position
        items = self._items(kind, kept)
        marks = self._skip_marked(kind, kept, count, first)
        if kept < count:
            code = "" if kind == _STRING else _NUMBERS[kind][0]
            end, order = self.cursor.position, self.cursor.byteorder
            self.entries.arrays[self.key] = ArrayPlace(
                self.cursor.name, code, count, first, end, marks, order
            )
        return items, count

    def _skip_marked(
        self, kind: int, kept: int, count: int, first: int
    ) -> tuple[tuple[int, int], ...]:
        """Move past the items that are not kept, and note where some of the strings begin."""
        if kind != _STRING:
            self._skip(kind, count - kept, depth=1)
            return ()
        marks = [(0, first)]
        for start in range(kept, count, _MARKED):
            marks.append((start, self.cursor.position))
            self._skip(kind, min(_MARKED, count - start), depth=1)
        return tuple(marks)

    def _array_header(self) -> tuple[int, int]:
        kind = self.cursor.unsigned(4, self.what)
        count = self.cursor.unsigned(8, self.what)
        smallest = self._smallest(kind)
        check_count(self.cursor, count, smallest, self.limits.array_items, self.what)
        return kind, count

    def _smallest(self, kind: int) -> int:
        """Bytes that a value of a type takes at least."""
        if kind == _STRING:
            return 8
        if kind == _ARRAY:
            return _ARRAY_HEADER
        if kind in _NUMBERS:
            return _NUMBERS[kind][1]
        raise self._unknown(kind)

    def _unknown(self, kind: int) -> CheckpointError:
        return self.cursor.error(
            f"metadata {self.key!r} has value type {kind}, but GGUF has types 0 to 12 only",
            offset=self.entries.types[self.key][1],
        )

    def _items(self, kind: int, count: int) -> tuple[Scalar, ...]:
        """Read `count` values of one type that is not an array."""
        if kind == _STRING:
            return tuple(self._text() for _ in range(count))
        if kind not in _NUMBERS:
            raise self._unknown(kind)
        start = self.cursor.position
        numbers = self.cursor.numbers(_NUMBERS[kind][0], count, self.what)
        if kind != _BOOL:
            return numbers
        if any(number > 1 for number in numbers):
            self._note("a boolean is neither 0 nor 1, and taken as true", start)
        return tuple(number != 0 for number in numbers)

    def _text(self) -> str:
        start = self.cursor.position
        raw = self.cursor.counted(self.limits.string_bytes, self.what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self._note("a string is not UTF-8; what could not be read is replaced", start)
            return raw.decode("utf-8", errors="replace")

    def _skip(self, kind: int, count: int, depth: int) -> None:
        """Move past `count` items of an array that is nested `depth` deep."""
        if kind == _STRING:
            self.cursor.skip_counted(count, self.limits.string_bytes, self.what)
        elif kind != _ARRAY:
            self.cursor.skip(count * self._smallest(kind), self.what)
        elif depth >= self.limits.depth:
            raise self.cursor.error(
                f"arrays in {self.key!r} are nested more than {self.limits.depth} deep",
                fix=ASK_PUBLISHER,
                kind=LimitExceeded,
            )
        else:
            self.entries.nested += count
            if self.entries.nested > self.limits.opcodes:
                raise self.cursor.error(
                    f"more than {self.limits.opcodes} arrays lie in arrays",
                    fix=ASK_PUBLISHER,
                    kind=LimitExceeded,
                )
            for _ in range(count):
                inner, length = self._array_header()
                self._skip(inner, length, depth + 1)

    def _note(self, what: str, offset: int, *, understood: bool = True) -> None:
        kind = ProblemKind.ODD_METADATA if understood else ProblemKind.NOT_FULLY_READ
        text = f"metadata {self.key!r}: {what}"
        self.entries.problems.append(Problem(kind, text, self.cursor.name, offset))
