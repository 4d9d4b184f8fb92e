"""Read the headers of NumPy's `.npy` and `.npz` files.

A `.npy` file is a magic number, a version, the length of its header, the header (a Python
dictionary literal with three entries) and the elements. The literal is taken apart here by a
grammar of its own, because Python's is far larger than what a header may hold. Arrays of Python
objects hold a pickle instead of elements: they become no tensor, and are reported. An `.npz` is
a zip archive of `.npy` files.

Source: the NumPy format specification (NEP 1, and `numpy.lib.format`), versions 1.0 to 3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from steelyard.checkpoints.data import stored_bytes
from steelyard.checkpoints.documents import shown
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.tensors import (
    DTYPE_BITS,
    PLAIN,
    Checkpoint,
    Problem,
    ProblemKind,
    Tensor,
)
from steelyard.checkpoints.zip_members import (
    NPY_HEADER_BYTES,
    NPY_MAGIC,
    NPY_PREFIX,
    npy_data_start,
    stream,
)
from steelyard.checkpoints.zips import STORED, ZipMember, directory
from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.sources.base import ByteReader

_DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "b1": "BOOL",
        "i1": "I8",
        "u1": "U8",
        "i2": "I16",
        "u2": "U16",
        "f2": "F16",
        "i4": "I32",
        "u4": "U32",
        "f4": "F32",
        "i8": "I64",
        "u8": "U64",
        "f8": "F64",
        "c8": "C64",
        "c16": "C128",
    }
)
"""NumPy's type codes without their byte order, and the names used here."""

_MOST_DIGITS: Final = 20
_DEFLATE_RATIO: Final = 1032
"""No deflate stream gives more than this many bytes for each of its own."""

_LOOK: Final = 1 << 8
_KEYS: Final = frozenset({"descr", "fortran_order", "shape"})
_TOKEN = re.compile(r"\s*+('[^'\\]*+'|True|False|[0-9]++L?|[\[\](){},:])\s*+")
_TYPE = re.compile(r"([<>|=])([a-zA-Z][0-9]++)")
_OBJECTS: Final = "Python objects, that is a pickle"
_FIX: Final = "save the array again with NumPy"


@dataclass(frozen=True, slots=True)
class _Records:
    """An element type that is a list of fields."""

    objects: bool
    """True when a field is a Python object."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One `.npy` file: alone, or within an archive."""

    name: str
    """The array's name."""
    file: str
    offset: int
    """Where it, or the archive member that holds it, begins in `file`."""
    size: int
    """Its length in bytes, uncompressed."""
    member: str | None = None
    """The archive member, when it is compressed."""

    def wrong(self, why: str) -> CheckpointError:
        """Build the error for a header that cannot be."""
        return CheckpointError(
            f"the .npy header of array {shown(self.name)} is wrong",
            why=why,
            fix=_FIX,
            file=self.file,
            offset=self.offset,
        )


_Value = str | bool | tuple[int, ...] | _Records


def read_npy(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read the header of one `.npy` file; the array is named as the file, without `.npy`.

    Raises:
        Truncated: If the file ends before its header or its elements do.
        LimitExceeded: If the header asks for more than the limits allow.
        CheckpointError: If the header breaks the format.
    """
    place = _Place(PurePosixPath(reader.name).stem, reader.name, 0, reader.size)
    tensor, problems = _array(place, _look(reader, 0, reader.size), limits)
    return Checkpoint("numpy", (reader.name,), (tensor,) if tensor else (), problems=problems)


def read_npz(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read the header of each array of an `.npz` archive; of compressed ones, only the start.

    Raises:
        Truncated: If an array ends before its header or its elements do.
        LimitExceeded: If the archive or a header asks for more than the limits allow.
        CheckpointError: If the archive or a header breaks its format.
    """
    tensors: list[Tensor] = []
    problems: list[Problem] = []
    others: list[ZipMember] = []
    for member in directory(reader, limits):
        if not member.name.endswith(".npy"):
            others += [] if member.name.endswith("/") else [member]
            continue
        tensor, found = _member(reader, member, limits)
        tensors += [tensor] if tensor else []
        problems += found
    if len(tensors) > limits.tensors:
        raise LimitExceeded(
            f"holds {len(tensors)} arrays, more than the limit `tensors` = {limits.tensors}",
            fix="if the file is genuine, raise the limit",
            file=reader.name,
        )
    if others:
        few = ", ".join(shown(member.name) for member in others[:3])
        what = f"{len(others)} of the archive's members are no arrays ({few}) and not read"
        place = others[0].header_offset
        problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, reader.name, place))
    tensors.sort(key=lambda tensor: tensor.name)
    return Checkpoint("numpy", (reader.name,), tuple(tensors), problems=tuple(problems))


def _member(
    reader: ByteReader, member: ZipMember, limits: Limits
) -> tuple[Tensor | None, tuple[Problem, ...]]:
    name = member.name.removesuffix(".npy")
    start = member.data_offset
    if member.method == STORED:
        place = _Place(name, reader.name, start, member.size)
        return _array(place, _look(reader, start, member.size), limits)
    place = _Place(name, reader.name, start, member.size, member.name)
    if member.size > (member.compressed_size + 1) * _DEFLATE_RATIO:
        raise CheckpointError(
            f"the archive member {shown(member.name)} claims to inflate to {member.size} bytes",
            why=f"its {member.compressed_size} bytes cannot hold so much",
            fix=_FIX,
            file=reader.name,
            offset=member.header_offset,
        )
    return _array(place, _inflated_look(reader, member, place), limits)


def _look(reader: ByteReader, offset: int, size: int) -> bytes:
    """Return the start of a `.npy` file: the whole header and perhaps a little more."""
    start = reader.read(offset, min(size, _LOOK))
    if len(start) < NPY_PREFIX:
        return start
    end = min(npy_data_start(start), NPY_PREFIX + NPY_HEADER_BYTES, size)
    return start if end <= len(start) else reader.read(offset, end)


def _inflated_look(reader: ByteReader, member: ZipMember, place: _Place) -> bytes:
    """Return the start of a compressed `.npy` file, inflating no more than is needed."""
    start = bytearray()
    for piece in stream(reader, member, _LOOK):
        start += piece
        most = npy_data_start(start) if len(start) >= NPY_PREFIX else NPY_PREFIX
        if len(start) >= min(most, NPY_PREFIX + NPY_HEADER_BYTES) and len(start) >= NPY_PREFIX:
            break
        if len(start) > place.size:
            raise place.wrong("it inflates to more than the archive states")
    return bytes(start)


def _array(
    place: _Place, start: bytes, limits: Limits
) -> tuple[Tensor | None, tuple[Problem, ...]]:
    """Make a tensor of a `.npy` header, or a problem where elements are no plain numbers."""
    header, data_start = _header(place, start)
    descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if isinstance(fortran, bool) and isinstance(shape, tuple):
        match = _TYPE.fullmatch(descr) if isinstance(descr, str) else None
        dtype = _DTYPES.get(match[2]) if match else None
    else:
        raise place.wrong("`shape` is not a tuple, or `fortran_order` is neither True nor False")
    where = place.offset + (0 if place.member else data_start)
    if dtype is None or match is None:
        what = f"array {shown(place.name)} {_unread(place, descr)}"
        # What objects hold is examined for code elsewhere; nothing in them is a number.
        objects = _OBJECTS in what
        kind = ProblemKind.OTHER_CONTENT if objects else ProblemKind.NOT_FULLY_READ
        return None, (Problem(kind, what, place.file, where),)
    order, code = match.groups()
    wide = DTYPE_BITS[dtype] > 8
    if order == "=" or (order == "|" and wide):
        raise place.wrong(f"the element type {shown(order + code)} does not state its byte order")
    tensor = Tensor(
        place.name,
        dtype,
        shape,
        PLAIN,
        place.file,
        None if place.member else where,
        stored_bytes(
            dtype, shape, name=place.name, file=place.file, offset=place.offset, limits=limits
        ),
        strides=_fortran_strides(shape) if fortran else None,
        member=place.member,
        byteorder="big" if order == ">" and wide else "little",
    )
    return tensor, _rest(place, tensor, data_start)


def _rest(place: _Place, tensor: Tensor, data_start: int) -> tuple[Problem, ...]:
    """Report bytes behind the elements.

    Raises:
        Truncated: If there are too few for the elements.
    """
    where = place.offset + (0 if place.member else data_start)
    stored = place.size - data_start
    if stored < tensor.nbytes:
        raise Truncated(
            f"array {shown(place.name)} takes {tensor.nbytes} bytes, but {stored} are stored",
            why="the file is cut short, or its shape is wrong",
            fix="download the file again, or save the array again",
            file=place.file,
            offset=where,
        )
    if stored == tensor.nbytes:
        return ()
    what = f"{stored - tensor.nbytes} bytes follow the elements of array {shown(place.name)}"
    after = where if place.member else where + tensor.nbytes
    return (Problem(ProblemKind.UNUSED_BYTES, what, place.file, after),)


def _unread(place: _Place, descr: _Value) -> str:
    """Say why an array's elements are not read."""
    if isinstance(descr, _Records):
        if descr.objects:
            return f"holds records with {_OBJECTS}, which can run code when it is loaded"
        return "holds records, not numbers"
    if not isinstance(descr, str):
        raise place.wrong("`descr` is neither a text nor a list of fields")
    if descr in ("|O", "O"):
        return f"holds {_OBJECTS}, which can run code when it is loaded"
    return f"holds elements of the type {shown(descr)}, which are no plain numbers"


def _fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides of column-major elements; None where row-major is the same."""
    if 0 in shape or sum(size > 1 for size in shape) < 2:
        return None
    strides, step = [], 1
    for size in shape:
        strides.append(step)
        step *= size
    return tuple(strides)


def _header(place: _Place, start: bytes) -> tuple[dict[str, _Value], int]:
    """Take the header apart; also return where the elements begin."""
    if not start.startswith(NPY_MAGIC):
        raise place.wrong("it does not start with the magic number of .npy files")
    if len(start) < NPY_PREFIX or len(start) < min(
        npy_data_start(start), NPY_PREFIX + NPY_HEADER_BYTES
    ):
        raise Truncated(
            f"the .npy header of array {shown(place.name)} is cut short",
            why=f"only {len(start)} bytes are there",
            fix="download the file again, or save the array again",
            file=place.file,
            offset=place.offset,
        )
    if start[6] not in (1, 2, 3) or start[7] != 0:
        raise Unsupported(
            f"array {shown(place.name)} is of .npy version {start[6]}.{start[7]}",
            why="only the versions 1.0, 2.0 and 3.0 are known",
            fix=_FIX,
            file=place.file,
            offset=place.offset,
        )
    data_start = npy_data_start(start)
    if data_start > NPY_PREFIX + NPY_HEADER_BYTES:
        raise LimitExceeded(
            f"the .npy header of array {shown(place.name)} takes {data_start} bytes, more than "
            f"{NPY_HEADER_BYTES}",
            why="no array of numbers needs so many",
            fix=_FIX,
            file=place.file,
            offset=place.offset,
        )
    body = start[10 if start[6] == 1 else 12 : data_start]
    # Latin-1 up to version 2, UTF-8 in version 3; they differ only within names of fields.
    text = body.decode("utf-8" if start[6] == 3 else "latin-1", "replace")
    try:
        return _literal(_words(text)), data_start
    except _Malformed as error:
        raise place.wrong(str(error)) from None


class _Malformed(Exception):  # noqa: N818  never leaves this module
    """A header is not the literal of a dictionary with the three entries."""


def _words(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _Malformed(f"it cannot hold {shown(text[position : position + 20])}")
        yield match[1]
        position = match.end()


def _literal(words: Iterator[str]) -> dict[str, _Value]:
    """Read `{'descr': ..., 'fortran_order': ..., 'shape': ..., }`, in any order."""
    entries: dict[str, _Value] = {}
    if next(words, "") != "{":
        raise _Malformed("it is not a dictionary")
    word = next(words, "")
    while word != "}":
        key = word.strip("'")
        if key in entries or key not in _KEYS or next(words, "") != ":":
            raise _Malformed(f"{shown(key)} does not belong there")
        entries[key] = _value(words)
        word = next(words, "")
        if word == ",":
            word = next(words, "")
        elif word != "}":
            raise _Malformed("an entry does not end")
    if len(entries) != len(_KEYS) or next(words, None) is not None:
        raise _Malformed("it is not a dictionary of `descr`, `fortran_order` and `shape`")
    return entries


def _value(words: Iterator[str]) -> _Value:
    word = next(words, "")
    if word.startswith("'"):
        return word.strip("'")
    if word in ("True", "False"):
        return word == "True"
    if word == "(":
        return _shape(words)
    if word == "[":
        return _records(words)
    raise _Malformed("an entry has no value that NumPy writes")


def _shape(words: Iterator[str]) -> tuple[int, ...]:
    """Read the rest of a tuple of whole numbers (`L` behind them is Python 2's)."""
    sizes: list[int] = []
    word = next(words, "")
    while word != ")":
        digits = word.removesuffix("L")
        if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            raise _Malformed("`shape` is not a tuple of whole numbers")
        sizes.append(int(digits))
        word = next(words, "")
        if word == ",":
            word = next(words, "")
        elif word != ")" or len(sizes) == 1:
            raise _Malformed("`shape` is not a tuple of whole numbers")
    return tuple(sizes)


def _records(words: Iterator[str]) -> _Records:
    """Pass over the rest of a list of fields, noting whether one is a Python object."""
    depth, objects = 1, False
    while depth:
        word = next(words, "")
        if word == "":
            raise _Malformed("a list does not end")
        depth += (word == "[") - (word == "]")
        objects = objects or word in ("'|O'", "'O'")
    return _Records(objects)
