"""The bytes of a sketch.

    header       16 bytes: magic, version, length of the description
    description  JSON in ASCII: keys in order, no spaces, nothing that is empty
    matrices     for each: a float32 for each row, then an int8 for each element, row by row

An element is its int8 times the number of its row. The description says which matrices there are
and how large; their order is embedding, head, then weights and responses of each layer, then what
its attention writes, then matrices without a name. All numbers are little-endian;
docs/guide/registry.md is the full description.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.lineage.matrix import Sizes
from steelyard.lineage.relating.exchangeability import Order
from steelyard.lineage.relating.sketch_format import (
    LARGEST_STEP,
    MOST_LAYERS,
    MOST_TEXT,
    STEPS,
    SUMS,
    KeptColumns,
    KeptUnits,
    Packed,
    Sketch,
)

MAGIC: Final = b"\x8dSYSKE\r\n"
VERSION: Final = 1
_MOST_DESCRIPTION: Final = 1_000_000
_HEADER: Final = struct.Struct("<8sII")

_Text = Annotated[str, Field(max_length=MOST_TEXT)]
_Count = Annotated[int, Field(ge=0, le=10**12)]
_Small = Annotated[int, Field(ge=0, le=4096)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Sizes(_Model):
    hidden: _Count | None = None
    layers: _Count
    feed_forward: _Count | None = None
    vocabulary: _Count | None = None
    heads: _Count | None = None
    kv_heads: _Count | None = None
    experts: _Count | None = None
    norm: _Text | None = None


class _Columns(_Model):
    columns: _Small
    order: Annotated[Order, Field(strict=False)]


class _Units(_Model):
    count: _Small
    order: Annotated[Order, Field(strict=False)]
    shape: Annotated[list[_Count], Field(min_length=2, max_length=2)]
    layer: Annotated[int, Field(ge=0, lt=MOST_LAYERS)] | None = None
    name: _Text = ""
    turned: bool = False
    responses: bool = False


class _Description(_Model):
    sizes: _Sizes
    layers: Annotated[list[_Text], Field(max_length=MOST_LAYERS)] = []
    rows: Annotated[list[_Count], Field(max_length=4096)] = []
    tokens: Annotated[list[_Text], Field(max_length=4096)] | None = None
    embedding: _Columns | None = None
    head: _Columns | None = None
    role: _Text | None = None
    units: Annotated[list[_Units], Field(max_length=MOST_LAYERS)] = []
    writers: Annotated[list[_Units], Field(max_length=MOST_LAYERS)] = []
    tensors: Annotated[list[_Units], Field(max_length=256)] = []


def write(sketch: Sketch) -> bytes:
    """Write a sketch; the same sketch gives the same bytes."""
    text = _describe(sketch)
    return b"".join((_HEADER.pack(MAGIC, VERSION, len(text)), text, *map(_data, _kept(sketch))))


def _describe(sketch: Sketch) -> bytes:
    """Write the description."""
    said = _Description(
        sizes=_Sizes(**asdict(sketch.sizes)),
        layers=list(sketch.layers),
        rows=list(sketch.rows),
        tokens=None if sketch.tokens is None else list(sketch.tokens),
        embedding=_columns(sketch.embedding),
        head=_columns(sketch.head),
        role=sketch.role,
        units=[_units(each) for each in sketch.units],
        writers=[_units(each) for each in sketch.writers],
        tensors=[_units(each) for each in sketch.tensors],
    )
    return _canonical(said)


def _canonical(said: _Description) -> bytes:
    plain = said.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode("ascii")


def _columns(kept: KeptColumns | None) -> _Columns | None:
    return None if kept is None else _Columns(columns=kept.values.columns, order=kept.order)


def _units(kept: KeptUnits) -> _Units:
    return _Units(
        count=kept.weights.rows,
        order=kept.order,
        shape=list(kept.shape),
        layer=kept.layer,
        name=kept.name,
        turned=kept.turned,
        responses=kept.responses is not None,
    )


def _kept(sketch: Sketch) -> Iterator[Packed]:
    """Yield the matrices in the order of the file."""
    for columns in (sketch.embedding, sketch.head):
        if columns is not None:
            yield columns.values
    for units in (*sketch.units, *sketch.writers, *sketch.tensors):
        yield units.weights
        if units.responses is not None:
            yield units.responses


def _data(packed: Packed) -> bytes:
    return packed.data


class _Cutter:
    """Cuts matrices from bytes, whose number was checked before."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def matrix(self, rows: int, columns: int) -> Packed:
        start, self._at = self._at, self._at + _size(rows, columns)
        part = self._data[start : self._at]
        steps = np.frombuffer(part, "<f4", rows)
        if not ((steps >= 0) & (steps <= np.float32(LARGEST_STEP))).all():
            raise _damaged("the number of a row is out of range", start)
        if (np.frombuffer(part, np.int8, offset=4 * rows) < -STEPS).any():
            raise _damaged("an element is out of range", start)
        return Packed(rows, columns, part)


def _size(rows: int, columns: int) -> int:
    return rows * (4 + columns)


def read(data: bytes) -> Sketch:
    """Read a sketch; it comes from whoever made it.

    Raises:
        CheckpointError: If it is none, is damaged, or asks for too much.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CheckpointError("this is not a sketch of a model", offset=0)
    if len(data) < _HEADER.size:
        raise Truncated("the sketch ends within its header", offset=len(data))
    _, version, length = _HEADER.unpack_from(data)
    if version != VERSION:
        raise Unsupported(
            f"version {version} of sketches is not read", offset=len(MAGIC),
            fix="use the version of Steelyard that wrote it, or a newer one",
        )  # fmt: skip
    if length > _MOST_DESCRIPTION:
        why = f"at most {_MOST_DESCRIPTION} bytes"
        raise LimitExceeded(f"the description of the sketch takes {length} bytes", why=why)
    text = data[_HEADER.size : _HEADER.size + length]
    try:
        said = _Description.model_validate_json(text)
    except ValidationError as error:
        why = f"its description: {error.errors()[0]['msg'][:80]}"
        raise _damaged(why, _HEADER.size) from error
    if _canonical(said) != text or not _sound(said):
        raise _damaged("its description is not written as sketches are", _HEADER.size)
    total = _HEADER.size + length + sum(_size(*shape) for shape in _shapes(said))
    if len(data) != total:
        raise _damaged(f"it states {total} bytes, and there are {len(data)}", len(data))
    return _assembled(said, _Cutter(data, _HEADER.size + length))


def _sound(said: _Description) -> bool:
    """Tell whether the parts of a description fit each other."""
    tokens = said.tokens is None or len(said.tokens) == len(said.rows)
    stacks = (said.units, said.writers)
    return tokens and all(_in_order(stack, len(said.layers)) for stack in stacks)


def _in_order(stack: Sequence[_Units], layers: int) -> bool:
    places = [each.layer for each in stack]
    known = [layer for layer in places if layer is not None and layer < layers]
    return len(known) == len(places) and all(a < b for a, b in pairwise(known))


def _shapes(said: _Description) -> Iterator[tuple[int, int]]:
    for columns in (said.embedding, said.head):
        if columns is not None:
            yield len(said.rows), columns.columns
    for units in (*said.units, *said.writers, *said.tensors):
        yield units.count, SUMS
        if units.responses:
            yield units.count, len(said.rows)


def _assembled(said: _Description, cutter: _Cutter) -> Sketch:
    tokens = len(said.rows)

    def columns(part: _Columns | None) -> KeptColumns | None:
        if part is None:
            return None
        return KeptColumns(cutter.matrix(tokens, part.columns), part.order)

    def units(part: _Units) -> KeptUnits:
        weights = cutter.matrix(part.count, SUMS)
        responses = cutter.matrix(part.count, tokens) if part.responses else None
        shape = part.shape[0], part.shape[1]
        return KeptUnits(
            weights, responses, part.order, shape, part.layer, part.name, part.turned
        )  # fmt: skip

    return Sketch(
        Sizes(**said.sizes.model_dump()),
        tuple(said.layers),
        tuple(said.rows),
        None if said.tokens is None else tuple(said.tokens),
        columns(said.embedding),
        columns(said.head),
        said.role,
        tuple(units(part) for part in said.units),
        tuple(units(part) for part in said.writers),
        tuple(units(part) for part in said.tensors),
    )


def _damaged(why: str, offset: int) -> CheckpointError:
    return CheckpointError(
        "the sketch is damaged", why=why, fix="fetch or build it again", offset=offset
    )
