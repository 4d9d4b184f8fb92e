"""Operators of graphs that do more than compute: ONNX, TorchScript; and Keras beside TensorFlow's.

An ONNX model may use operators of a domain that is no part of the standard, which somebody's
native code must bring. TorchScript archives hold code as text; what it calls outside of PyTorch's
own operators is told. A SavedModel of Keras holds the configuration of each object besides its
graph. Nothing is run.

Source: the list of namespaces in PyTorch's operator registry; saved_metadata.proto of Keras.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from steelyard.analyzers.code import keras
from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.code.tensorflow import inside
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import parse_json
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.onnx.protobuf import LEN, Wire, tag
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.checkpoints.zips import directory, read_member
from steelyard.errors import CheckpointError
from steelyard.knowledge import load
from steelyard.sources.base import ByteReader

_LONGEST_CODE: Final = 4_000_000
_LONGEST_METADATA: Final = 4_000_000
_MOST_CODE: Final = 16_000_000
_OPS: Final = re.compile(
    r"\bops\.([A-Za-z_]\w{0,60})\.([A-Za-z_]\w{0,60})|\btorch\.([a-z_]\w{0,60})\("
)


def keras_metadata(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say what the objects of a SavedModel of Keras hold (`keras_metadata.pb`).

    Raises:
        CheckpointError: If the file is no such message, or asks for more than the limits allow.
    """
    wire = Wire(reader, limits)
    found: list[Remark] = []
    for node in inside(wire, wire.whole(), 1):
        for part in wire.fields(node):
            if part.tag == tag(5, LEN):
                data = wire.payload(part, _LONGEST_METADATA, "the metadata of an object")
                config = parse_json(data, reader.name, limits, base=part.offset, allow_nan=True)
                found += keras.examine(config)
    return found


def onnx(weights: Checkpoint) -> Iterator[Remark]:
    """Say which operators of an ONNX model run Python, and which need code of somebody's own."""
    table = load("graph_operators")["onnx"]
    operators = weights.metadata.get("graph.operators")
    for full in operators if isinstance(operators, tuple) else ():
        domain, _, name = str(full).rpartition(".")
        if name in table["runs"]:
            yield Remark("runs", clean(f"the operator {full} {table['runs'][name]}"))
        elif (
            domain and domain not in table["domains"] and not domain.startswith(tuple(table["own"]))
        ):
            yield Remark("custom", clean(f"the operator {full} needs native code of its own"))


def torchscript(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say which calls of a TorchScript archive's code leave PyTorch's own operators.

    Raises:
        CheckpointError: If the archive cannot be read, or its code is too long.
    """
    table = load("graph_operators")["torchscript"]
    found: dict[tuple[str, str], Remark] = {}
    left = _MOST_CODE
    for member in directory(reader, limits):
        if "/code/" not in member.name or not member.name.endswith(".py"):
            continue
        text = read_member(reader, member, min(_LONGEST_CODE, left)).decode("utf-8", "replace")
        left -= member.size
        for call in _OPS.finditer(text):
            space, name, function = call.groups()
            full = f"torch.{function}" if function else f"{space}.{name}"
            line = text.count("\n", 0, call.start()) + 1
            where = clean(f"{member.name.partition('/')[2]}:{line}")
            if full in table["runs"]:
                remark = Remark("reads", f"{where} calls {full}, which touches files")
            elif space and space not in table["namespaces"]:
                remark = Remark("custom", f"{where} calls {full}, which needs native code")
            else:
                continue
            found.setdefault((remark.kind, full), remark)
    return list(found.values())


def unread(error: CheckpointError) -> Remark:
    """Say why a file could not be read."""
    why = f" ({error.why})" if error.why else ""
    return Remark("unread", clean(f"{error.what}{why}"), offset=error.offset)
