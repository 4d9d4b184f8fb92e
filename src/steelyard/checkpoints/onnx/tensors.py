"""Read one ONNX `TensorProto`: what the tensor is and where its bytes lie.

ONNX keeps a tensor's elements in one of four ways: as raw little-endian bytes; as a packed run of
`float` or `double`, which has the same bytes; as a run of varints (`int32_data`, `int64_data`,
`uint64_data`), which must be decoded before they are elements; or in another file beside the
model, which the model names. That last name is an attacker's to choose, so it is resolved within
the source and never touches the file system.

Source: TensorProto in https://github.com/onnx/onnx/blob/main/onnx/onnx.in.proto
and https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from steelyard.checkpoints import tensors
from steelyard.checkpoints.onnx.protobuf import (
    I32,
    I64,
    LEN,
    VARINT,
    Field,
    Span,
    Wire,
    signed64,
    tag,
)
from steelyard.checkpoints.onnx.varints import LONGEST_VARINT, numbers
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded, Truncated

FLOAT_DATA, INT32_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA = 4, 5, 7, 10, 11
"""The typed fields of a TensorProto."""


class ElementType(NamedTuple):
    """One value of `TensorProto.DataType`."""

    name: str
    """As ONNX names it."""
    dtype: str
    """As Steelyard names it; empty for text."""
    stored_in: int
    """The typed field that may hold its elements."""


ELEMENT_TYPES: Mapping[int, ElementType] = MappingProxyType(
    {
        1: ElementType("FLOAT", "F32", FLOAT_DATA),
        2: ElementType("UINT8", "U8", INT32_DATA),
        3: ElementType("INT8", "I8", INT32_DATA),
        4: ElementType("UINT16", "U16", INT32_DATA),
        5: ElementType("INT16", "I16", INT32_DATA),
        6: ElementType("INT32", "I32", INT32_DATA),
        7: ElementType("INT64", "I64", INT64_DATA),
        8: ElementType("STRING", "", 6),
        9: ElementType("BOOL", "BOOL", INT32_DATA),
        10: ElementType("FLOAT16", "F16", INT32_DATA),
        11: ElementType("DOUBLE", "F64", DOUBLE_DATA),
        12: ElementType("UINT32", "U32", UINT64_DATA),
        13: ElementType("UINT64", "U64", UINT64_DATA),
        14: ElementType("COMPLEX64", "C64", FLOAT_DATA),
        15: ElementType("COMPLEX128", "C128", DOUBLE_DATA),
        16: ElementType("BFLOAT16", "BF16", INT32_DATA),
        17: ElementType("FLOAT8E4M3FN", "F8_E4M3", INT32_DATA),
        18: ElementType("FLOAT8E4M3FNUZ", "F8_E4M3FNUZ", INT32_DATA),
        19: ElementType("FLOAT8E5M2", "F8_E5M2", INT32_DATA),
        20: ElementType("FLOAT8E5M2FNUZ", "F8_E5M2FNUZ", INT32_DATA),
        21: ElementType("UINT4", "U4", INT32_DATA),
        22: ElementType("INT4", "I4", INT32_DATA),
        23: ElementType("FLOAT4E2M1", "F4", INT32_DATA),
        24: ElementType("FLOAT8E8M0", "F8_E8M0", INT32_DATA),
        25: ElementType("UINT2", "U2", INT32_DATA),
        26: ElementType("INT2", "I2", INT32_DATA),
        27: ElementType("FLOAT6E2M3", "F6_E2M3", INT32_DATA),
        28: ElementType("FLOAT6E3M2", "F6_E3M2", INT32_DATA),
    }
)
"""`TensorProto.DataType` by number."""

_STRING = 8
_EXTERNAL = 1
_WIDTHS: Mapping[int, int] = MappingProxyType({FLOAT_DATA: 4, DOUBLE_DATA: 8})
_TYPED = frozenset({FLOAT_DATA, INT32_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA})
_LOOSE: Mapping[int, int] = MappingProxyType(
    {FLOAT_DATA: I32, DOUBLE_DATA: I64, INT32_DATA: VARINT, INT64_DATA: VARINT, UINT64_DATA: VARINT}
)
_MOST_ELEMENTS = 2**63 - 1
_DRIVE = re.compile(r"[A-Za-z]:")
_FIX = "get the file again from its publisher; do not load it until this is explained"


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as its message states it, before it has a name of its own in the table."""

    name: str
    """As stated; perhaps empty."""
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    file: str
    offset: int | None
    nbytes: int
    at: int
    """Where its message lies."""
    stored: int | None = None
    """As in `Tensor`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lies: its own path, and the size of every file around it."""

    file: str
    siblings: Mapping[str, int]


@dataclass(slots=True)
class _Run:
    """What one typed field holds so far."""

    pieces: int = 0
    """Packed runs that are not empty, and elements that stand alone."""
    offset: int = 0
    """First byte of the last of them."""
    length: int = 0
    """Its bytes."""
    packed: int = 0
    """Bytes of all packed runs."""
    loose: int = 0
    """Elements that stand alone."""


@dataclass(slots=True)
class _Draft:
    """The fields of a TensorProto as they come by."""

    span: Span
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    name: str = ""
    raw: Field | None = None
    runs: dict[int, _Run] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    location: int = 0
    segmented: bool = False


def read_tensor(wire: Wire, span: Span, place: Place) -> Stored | Problem:
    """Read the TensorProto at `span`.

    Returns:
        The tensor, or a problem where it is one that Steelyard has to leave out: text, a type
        it does not know, a chunk of a tensor, or bytes in a file that is not there.

    Raises:
        CheckpointError: If it contradicts itself, its file or the file it names.
    """
    draft = _draft(wire, span)
    kind = ELEMENT_TYPES.get(draft.data_type)
    if kind is None:
        return _left_out(f"a tensor of unknown type {draft.data_type}", wire, span)
    if draft.data_type == _STRING:
        return _left_out("a tensor of text (STRING), which holds no numbers", wire, span)
    if draft.segmented:
        return _left_out("a chunk (segment) of a tensor", wire, span)
    elements = _elements(draft, wire)
    nbytes = (elements * DTYPE_BITS[kind.dtype] + 7) // 8
    if draft.location == _EXTERNAL:
        return _external(draft, kind, nbytes, wire, place)
    encoding, offset, stored = _inline(draft, kind, elements, nbytes, wire)
    shape, at = tuple(draft.dims), span.offset
    return Stored(draft.name, kind.dtype, shape, encoding, place.file, offset, nbytes, at, stored)


def resolve(model: str, location: str, at: int | None = None) -> str:
    """Name the file that `location`, an external data entry at byte `at` of `model`, means.

    Law: the result is a relative POSIX path that stays within the source.

    Raises:
        CheckpointError: If it is absolute, has a drive letter, a backslash or a NUL, or leaves
            the source.
    """
    why = ""
    if not location:
        why = "it is empty"
    elif "\0" in location or "\\" in location:
        why = "it has a NUL or a backslash, which no POSIX path should"
    elif location.startswith("/") or _DRIVE.match(location):
        why = "it is absolute, and may only be relative to the model's folder"
    else:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(model), location))
        if path != "." and path != ".." and not path.startswith(("../", "/")):
            return path
        why = "it leads out of the source"
    raise CheckpointError(
        f"keeps tensor data in {location!r}, which is refused",
        why=why,
        fix=_FIX,
        file=model,
        offset=at,
    )


def read_dims(wire: Wire, message: Field, dims: list[int]) -> None:
    """Add the dimensions of one `dims` field, packed or single.

    Raises:
        LimitExceeded: If there are more than `Limits.rank`.
    """
    most = wire.limits.rank
    if message.wire == VARINT:
        dims.append(signed64(message.value))
    else:
        values = wire.packed_varints(message, most, "the shape of a tensor")
        dims.extend(signed64(value) for value in values)
    if len(dims) > most:
        raise LimitExceeded(
            f"has a tensor of more than {most} dimensions",
            why="Limits.rank allows no more; real models stay far below it",
            fix="raise the limit if you trust the file",
            file=wire.name,
            offset=message.offset,
        )


def _draft(wire: Wire, span: Span) -> _Draft:
    """Walk the message once and keep what matters; payloads are not read."""
    draft = _Draft(span)
    for part in wire.fields(span):
        if part.number in _TYPED:
            _add_run(draft, part)
        elif part.number == 1 and part.wire in {VARINT, LEN}:
            read_dims(wire, part, draft.dims)
        elif part.tag == tag(2, VARINT):
            draft.data_type = part.value
        elif part.tag == tag(3, LEN):
            draft.segmented = True
        elif part.tag == tag(8, LEN):
            draft.name = wire.text(part, wire.limits.name_bytes, "the name of a tensor")
        else:
            _add_place(draft, part, wire)
    return draft


def _add_run(draft: _Draft, part: Field) -> None:
    """Count a typed field; a wire type that does not fit it makes it an unknown field."""
    run = draft.runs.setdefault(part.number, _Run())
    if part.tag == tag(part.number, LEN) and part.length:
        run.packed += part.length
    elif part.wire == _LOOSE[part.number]:
        run.loose += 1
    else:
        return
    run.pieces += 1
    run.offset, run.length = part.offset, part.length


def _add_place(draft: _Draft, part: Field, wire: Wire) -> None:
    """Take a field that says where the bytes lie."""
    if part.tag == tag(9, LEN):
        if draft.raw is not None:
            raise _wrong(draft, wire, "has raw_data twice", "only one of them can be meant")
        draft.raw = part
    elif part.tag == tag(14, VARINT):
        draft.location = part.value
    elif part.tag == tag(13, LEN):
        limit = wire.limits.name_bytes
        key, value = wire.entry(draft.span.inner(part), limit)
        if key not in {"location", "offset", "length"}:
            return
        if value is None or key in draft.external:
            raise _wrong(
                draft, wire, f"has an unusable external_data entry {key!r}", "too long, or twice"
            )
        draft.external[key] = value


def _elements(draft: _Draft, wire: Wire) -> int:
    """Multiply the dimensions, refusing negative ones and products past 2^63."""
    if any(size < 0 for size in draft.dims):
        raise _wrong(draft, wire, f"has the shape {draft.dims}", "a dimension is negative")
    count = 0 if 0 in draft.dims else 1
    for size in draft.dims:
        count *= size
        if count > _MOST_ELEMENTS:
            raise _wrong(draft, wire, f"has the shape {draft.dims}", "it overflows 64 bits")
    return count


def _inline(
    draft: _Draft, kind: ElementType, elements: int, nbytes: int, wire: Wire
) -> tuple[str, int | None, int | None]:
    """Find the bytes inside the model file: the encoding, the offset, and `Tensor.stored`.

    A run of varints is not read: its length is checked against the shortest and the longest that
    so many varints can be.
    """
    runs = {number: run for number, run in draft.runs.items() if run.packed or run.loose}
    if draft.raw is not None and (draft.raw.length or not runs):
        if runs:
            raise _wrong(draft, wire, "has raw_data and typed data", "only one can be meant")
        _check_size(draft, draft.raw.length, nbytes, wire)
        return PLAIN, draft.raw.offset, None
    if not runs:
        _check_size(draft, 0, nbytes, wire)
        return PLAIN, draft.span.offset, None
    if set(runs) != {kind.stored_in}:
        fields = ", ".join(map(str, sorted(runs)))
        raise _wrong(
            draft,
            wire,
            f"keeps {kind.name} elements in field {fields}",
            f"ONNX keeps them in field {kind.stored_in}",
        )
    run = runs[kind.stored_in]
    width = _WIDTHS.get(kind.stored_in)
    whole = run.pieces == 1
    if width is not None:
        _check_size(draft, run.packed + run.loose * width, nbytes, wire)
        return (PLAIN, run.offset, None) if whole else (tensors.SCATTERED, None, None)
    entries = numbers(kind.dtype, elements)
    packed = entries - run.loose
    if not packed <= run.packed <= packed * LONGEST_VARINT:
        stored = f"{run.packed} bytes and {run.loose} single numbers"
        raise _wrong(draft, wire, f"needs {entries} numbers", f"it holds {stored} of varints")
    return (tensors.VARINT, run.offset, run.length) if whole else (tensors.SCATTERED, None, None)


def _check_size(draft: _Draft, stored: int, nbytes: int, wire: Wire) -> None:
    if stored != nbytes:
        raise _wrong(
            draft,
            wire,
            f"needs {nbytes} bytes for the shape {draft.dims}, but holds {stored}",
            "its shape, its type or its data is wrong",
        )


def _external(
    draft: _Draft, kind: ElementType, nbytes: int, wire: Wire, place: Place
) -> Stored | Problem:
    """Find the bytes in another file of the source, which must be there and be long enough."""
    path = resolve(place.file, draft.external.get("location", ""), draft.span.offset)
    offset = _number(draft, "offset", 0, wire)
    length = _number(draft, "length", nbytes, wire)
    _check_size(draft, length, nbytes, wire)
    size = place.siblings.get(path)
    if size is None:
        return Problem(
            ProblemKind.MISSING_SHARD,
            f"keeps tensor data in {path!r}, which is not there",
            place.file,
            draft.span.offset,
        )
    if offset + length > size:
        raise Truncated(
            f"is {size} bytes long, but {place.file} places tensor {draft.name!r} at bytes "
            f"{offset} to {offset + length}",
            why="the data file is cut short, or belongs to another model",
            fix=_FIX,
            file=path,
            offset=min(offset, size),
        )
    return Stored(
        draft.name, kind.dtype, tuple(draft.dims), PLAIN, path, offset, nbytes, draft.span.offset
    )


def _number(draft: _Draft, key: str, default: int, wire: Wire) -> int:
    """Read an external_data entry that is a decimal number of bytes."""
    text = draft.external.get(key)
    if text is None:
        return default
    if len(text) > 19 or not (text.isascii() and text.isdigit()):
        raise _wrong(draft, wire, f"has the external {key} {text[:40]!r}", "it is not a number")
    return int(text)


def _left_out(what: str, wire: Wire, span: Span) -> Problem:
    return Problem(ProblemKind.NOT_FULLY_READ, f"{what}, is left out", wire.name, span.offset)


def _wrong(draft: _Draft, wire: Wire, what: str, why: str) -> CheckpointError:
    """Describe a tensor that cannot be what it says."""
    return CheckpointError(
        f"tensor {draft.name!r} {what}", why=why, fix=_FIX, file=wire.name, offset=draft.span.offset
    )
