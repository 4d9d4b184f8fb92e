"""Read JSON, YAML and plain text that a stranger wrote.

`json.loads` and `yaml.safe_load` trust their input: a few megabytes of brackets exhaust the
stack, a page of aliases exhausts the memory, a key given twice silently wins. Here the
nesting, the number of values and the longest string are measured before anything is built,
keys given twice are an error, and whatever is wrong is said with its line (or, inside a binary
file, its byte offset). What comes out is plain: None, bool, int, float, str, list and dict with
text keys, every number within the range of a double and every text encodable as UTF-8.

YAML is read by the core schema of YAML 1.2 (section 10.3.2), as the Hub itself reads a model
card: `no` is a text (a language, most often) and not false, and dates stay texts.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from steelyard.checkpoints.documents.values import (
    Duplicates,
    JsonValue,
    OutOfRange,
    exceeds,
    finite_number,
    is_encodable,
    shown,
    whole_number,
)
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader

_BLOCK: Final = 1 << 20
_NODE_BYTES: Final = 100
_NOT_ASCII: Final = 0x80
_NOT_BASIC: Final = 0xF0
"""First byte, in UTF-8, of a character beyond the basic plane."""
_QUOTE: Final = ord('"')
_SURROGATE_ESCAPE: Final = r"\\u[dD][89a-fA-F]"
_STRING: Final = r'"(?:[^"\\]|\\.)*+"?+'  # possessive: no memory, no going back


@dataclass(frozen=True, slots=True)
class _Place:
    """Turn positions in a text into lines or, within a binary file, byte offsets."""

    file: str
    text: str
    base: int | None
    """Where the text starts in a binary file; None for a document that people read."""

    def error(
        self, what: str, position: int, kind: type[CheckpointError] = CheckpointError
    ) -> CheckpointError:
        """Build the error for the character at `position`."""
        before = self.text[:position]
        offset = len(before.encode()) + (self.base or 0)
        return kind(
            what,
            fix="correct the file, or download it again",
            file=self.file,
            offset=offset,
            line=before.count("\n") + 1 if self.base is None else None,
        )


class _Constant(Exception):  # noqa: N818  never leaves this module
    """`NaN` or `Infinity` stands where JSON knows no such number."""


class _Duplicate(Exception):  # noqa: N818  never leaves this module
    """One object has this key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def parse_json(
    data: bytes,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    duplicates: Duplicates = "error",
    allow_nan: bool = False,
    base: int | None = None,
) -> JsonValue:
    """Parse one JSON document (RFC 8259) within bounds.

    A byte order mark before it is tolerated (`starts_with_mark` tells whether there is one).

    Args:
        data: The document, UTF-8.
        file: Its name, for errors.
        limits: Bounds on values, nesting and strings; the length of `data` is the caller's.
        duplicates: What to do with a key that one object has twice.
        allow_nan: Take `NaN`, `Infinity` and numbers beyond a double, as Python writes them.
        base: Where `data` starts within a binary file; errors then name the byte, not the line.

    Raises:
        LimitExceeded: If it has too many values, too deep a nesting or too long a string.
        CheckpointError: If it is not JSON.
    """
    start = len(codecs.BOM_UTF8) if starts_with_mark(data) else 0
    data = data[start:]
    base = base if base is None else base + start
    nodes = _measure(data, file, limits, base or 0)
    _check_memory(data, nodes, file, limits)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            "not UTF-8",
            why=f"byte 0x{data[error.start]:02x} cannot stand here",
            fix="save the file as UTF-8",
            file=file,
            offset=error.start + (base or 0),
        ) from None
    place = _Place(file, text, base)
    value = _load(place, duplicates, allow_nan)
    if re.search(_SURROGATE_ESCAPE.encode(), data):
        _check_encodable(value, place)
    return value


def read_json(
    reader: ByteReader,
    limits: Limits = DEFAULT_LIMITS,
    *,
    duplicates: Duplicates = "error",
    allow_nan: bool = False,
) -> JsonValue:
    """Read and parse a whole JSON file; see `parse_json`.

    Raises:
        LimitExceeded: If it is longer than a document may be, too.
        CheckpointError: If it is not JSON.
    """
    data = _read_document(reader, limits)
    return parse_json(data, reader.name, limits, duplicates=duplicates, allow_nan=allow_nan)


_NODES = np.zeros(256, np.bool_)
_NODES[list(b",:[{")] = True
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def _measure(data: bytes, file: str, limits: Limits, base: int) -> int:
    """Refuse a document before it is parsed, from its brackets, commas and quotes.

    Values and keys together are at most one more than the commas, colons and opening brackets
    outside strings; this bound is returned.

    Raises:
        LimitExceeded: If it has too many values, too deep a nesting or too long a string.
    """
    if b"\\" in data:  # the lengths stay, so that offsets stay
        data = data.replace(rb"\\", b"  ").replace(rb"\"", b"  ")
    nodes, depth, inside, quote = 1, 0, 0, 0
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data, np.uint8, min(_BLOCK, len(data) - start), start)
        quotes = block == _QUOTE
        parity = np.cumsum(quotes, dtype=np.uint8)
        outside = ((parity + np.uint8(inside)) & 1) == 0
        nodes += int(np.count_nonzero(_NODES[block] & outside))
        levels = depth + np.cumsum(_STEPS[block] * outside, dtype=np.int32)
        if nodes > limits.json_nodes:
            exceeds("more values", "json_nodes", limits.json_nodes, file, offset=base + start)
        if int(levels.max()) > limits.depth:
            place = base + start + int(np.argmax(levels > limits.depth))
            exceeds("a deeper nesting", "depth", limits.depth, file, offset=place)
        marks = np.flatnonzero(quotes) + start
        edges = np.concatenate([[quote], marks, [start + block.size]])
        lengths = np.diff(edges)[1 - inside :: 2]
        if lengths.size and int(lengths.max()) > limits.string_bytes + 1:
            place = base + int(edges[1 - inside :: 2][np.argmax(lengths)])
            exceeds("a longer string", "string_bytes", limits.string_bytes, file, offset=place)
        depth, inside = int(levels[-1]), int(not outside[-1])
        quote = int(marks[-1]) if marks.size else quote
    return nodes


def _check_memory(data: bytes, nodes: int, file: str, limits: Limits) -> None:
    """Refuse a document that would take too much memory as text and as values.

    The bytes, the text and the strings cut from it are there at one time; one character beyond
    the basic plane makes Python keep four bytes for each.

    Raises:
        LimitExceeded: If it would.
    """
    highest = int(np.frombuffer(data, np.uint8).max(initial=0))
    width = 1 if highest < _NOT_ASCII else 2 if highest < _NOT_BASIC else 4
    if len(data) * (2 * width + 1) + nodes * _NODE_BYTES > limits.json_memory:
        exceeds("more memory", "json_memory", limits.json_memory, file)


def _load(place: _Place, duplicates: Duplicates, allow_nan: bool) -> JsonValue:
    """Run the parser of the standard library and place whatever it or our hooks refuse."""
    try:
        value: JsonValue = json.loads(
            place.text,
            object_pairs_hook=_unique if duplicates == "error" else dict,
            parse_int=whole_number,
            parse_float=float if allow_nan else finite_number,
            parse_constant=float if allow_nan else _refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise place.error(f"not JSON: {error.msg}", error.pos) from None
    except RecursionError:
        raise LimitExceeded("nested too deeply for the parser", file=place.file) from None
    except OutOfRange as error:
        found = _locate(place.text, re.escape(error.text))
        raise place.error(str(error), found, LimitExceeded) from None
    except _Constant as error:
        found = _locate(place.text, rf"{error}\b")
        raise place.error(f"`{error}` is not a JSON number", found) from None
    except _Duplicate as error:
        raise place.error(
            f"the key {shown(error.key)} stands twice in one object",
            _second(place.text, error.key),
        ) from None
    return value


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Build an object, refusing a key that it has already."""
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return result


def _refuse_constant(text: str) -> float:
    raise _Constant(text)


def _locate(text: str, pattern: str) -> int:
    """Find the first match of `pattern` outside strings; 0 if there is none."""
    for match in re.finditer(f"{_STRING}|({pattern})", text, re.DOTALL):
        if match[1] is not None:
            return match.start(1)
    return 0


def _second(text: str, key: str) -> int:
    """Find where an object gives `key` for the second time; the text is JSON up to there."""
    objects: list[bool] = []  # for each open object: does it have the key already?
    for match in re.finditer(rf"({_STRING})(\s*:)?|[{{}}]", text, re.DOTALL):
        if match[0] == "{":
            objects.append(False)
        elif match[0] == "}":
            objects.pop()
        elif match[2] is not None and _unquoted(match[1]) == key:
            if objects[-1]:
                return match.start()
            objects[-1] = True
    return 0


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if "\\" in text else text[1:-1]


def _check_encodable(value: JsonValue, place: _Place) -> None:
    r"""Refuse half of a surrogate pair (`"\ud800"`), which no UTF-8 can hold.

    Raises:
        CheckpointError: If a text has one.
    """
    waiting: list[Iterable[JsonValue]] = [[value]]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, list):
                waiting.append(item)
            elif isinstance(item, dict):
                waiting.extend((item.keys(), item.values()))
            elif isinstance(item, str) and not is_encodable(item):
                match = re.search(_SURROGATE_ESCAPE, place.text)
                raise place.error(
                    "a text holds half of a surrogate pair", match.start() if match else 0
                )


def parse_yaml(
    text: str,
    file: str,
    line_offset: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    *,
    duplicates: Duplicates = "error",
) -> JsonValue:
    """Parse one YAML document within bounds, by the core schema of YAML 1.2.

    Dates, `yes`, `no`, `.nan` and `.inf` stay texts; a key that is a number, a boolean or null
    becomes its text. Aliases and tags of one's own are refused: no model card needs them.

    Args:
        text: The document, without its `---` fences or with them.
        file: Its name, for errors.
        line_offset: How many lines of the file come before `text`.
        limits: Bounds on length, values, nesting and strings.
        duplicates: What to do with a key that one mapping has twice.

    Raises:
        LimitExceeded: If it is longer, larger or deeper than the limits allow.
        Unsupported: If it uses an alias or a tag of its own.
        CheckpointError: If it is not YAML.
    """
    # JSON alone is read more often, and PyYAML takes long to import.
    from steelyard.checkpoints.documents.yaml_events import build_yaml

    return build_yaml(text, file, line_offset, limits, duplicates)


@dataclass(frozen=True, slots=True)
class Text:
    """A text file as read."""

    value: str
    replaced: bool
    """True when some bytes were not UTF-8 and stand as U+FFFD."""
    mark: bool
    """True when the file starts with a byte order mark (it is not part of `value`)."""


def decode_text(data: bytes) -> Text:
    """Decode UTF-8, replacing what is not, and say whether that was needed."""
    mark = starts_with_mark(data)
    data = data[len(codecs.BOM_UTF8) :] if mark else data
    try:
        return Text(data.decode(), replaced=False, mark=mark)
    except UnicodeDecodeError:
        return Text(data.decode(errors="replace"), replaced=True, mark=mark)


def open_text(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Text:
    """Read a whole text file, and say whether it was clean UTF-8.

    Raises:
        LimitExceeded: If it is longer than a document may be.
    """
    return decode_text(_read_document(reader, limits))


def read_text(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> str:
    """Read a whole text file as UTF-8; see `open_text`, which also says what was replaced.

    Raises:
        LimitExceeded: If it is longer than a document may be.
    """
    return open_text(reader, limits).value


def starts_with_mark(data: bytes) -> bool:
    """Tell whether the bytes start with the byte order mark of UTF-8."""
    return data.startswith(codecs.BOM_UTF8)


def _read_document(reader: ByteReader, limits: Limits) -> bytes:
    if reader.size > limits.document_bytes:
        exceeds("more bytes", "document_bytes", limits.document_bytes, reader.name)
    return reader.read(0, reader.size)
