"""Operators of graphs that do more than compute: TensorFlow, ONNX, TorchScript.

A SavedModel is a program: its graphs, and the functions in their libraries, may read and write
files or call back into Python. Graphs are walked as protobuf messages, without TensorFlow. An
ONNX model may use operators of a domain that is no part of the standard, which somebody's native
code must bring. TorchScript archives hold code as text; what it calls outside of PyTorch's own
operators is told. Nothing is run.

Source: saved_model.proto, meta_graph.proto, graph.proto, node_def.proto and function.proto of
TensorFlow; saved_metadata.proto of Keras; the list of namespaces in PyTorch's operator registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from steelyard.analyzers.code import keras
from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import parse_json
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.onnx.protobuf import LEN, Span, Wire, tag
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
_FILE_STREAM: Final = "file://"


def tensorflow(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say which nodes of a SavedModel, or of a bare graph, do more than compute.

    Raises:
        CheckpointError: If the file is no such message, or asks for more than the limits allow.
    """
    wire = Wire(reader, limits)
    whole = wire.whole()
    found: dict[tuple[str, str], Remark] = {}
    if reader.name.endswith("saved_model.pb"):
        for meta in _inside(wire, whole, 2):
            for graph in _inside(wire, meta, 2):
                _graph(wire, graph, found)
    else:
        _graph(wire, whole, found)
    return list(found.values())


def keras_metadata(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say what the objects of a SavedModel of Keras hold (`keras_metadata.pb`).

    Raises:
        CheckpointError: If the file is no such message, or asks for more than the limits allow.
    """
    wire = Wire(reader, limits)
    found: list[Remark] = []
    for node in _inside(wire, wire.whole(), 1):
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


def _graph(wire: Wire, graph: Span, found: dict[tuple[str, str], Remark]) -> None:
    """Walk the nodes of a GraphDef and of the functions in its library."""
    for part in wire.fields(graph):
        if part.tag == tag(1, LEN):
            _node(wire, graph.inner(part), "", found)
        elif part.tag == tag(2, LEN):
            for function in _inside(wire, graph.inner(part), 1):
                _function(wire, function, found)


def _function(wire: Wire, function: Span, found: dict[tuple[str, str], Remark]) -> None:
    name = ""
    for part in wire.fields(function):
        if part.tag == tag(1, LEN):
            for inner in wire.fields(function.inner(part)):
                if inner.tag == tag(1, LEN):
                    name = wire.text(inner, wire.limits.name_bytes, "the name of a function")
        elif part.tag == tag(3, LEN):
            _node(wire, function.inner(part), name, found)


def _node(wire: Wire, node: Span, function: str, found: dict[tuple[str, str], Remark]) -> None:
    """Note a node of note; each operator is told once, where it first stands."""
    name = operator = ""
    streams: list[Span] = []
    for part in wire.fields(node):
        if part.tag == tag(1, LEN):
            name = wire.text(part, wire.limits.name_bytes, "the name of a node")
        elif part.tag == tag(2, LEN):
            operator = wire.text(part, wire.limits.name_bytes, "the name of an operator")
        elif part.tag == tag(5, LEN) and operator in ("PrintV2", ""):
            streams.append(node.inner(part))
    table = load("graph_operators")["tensorflow"]
    for kind in ("runs", "reads"):
        if operator in table[kind]:
            within = f" of the function {function!r}" if function else ""
            what = f"the node {name!r}{within} ({operator}) {table[kind][operator]}"
            found.setdefault((kind, operator), Remark(kind, clean(what), offset=node.offset))
    if operator == "PrintV2" and any(_prints_to_file(wire, stream) for stream in streams):
        what = f"the node {name!r} (PrintV2) writes a file"
        found.setdefault(("runs", operator), Remark("runs", clean(what), offset=node.offset))


def _prints_to_file(wire: Wire, attribute: Span) -> bool:
    """Tell whether an attribute is `output_stream` with the address of a file."""
    key, value = "", ""
    for part in wire.fields(attribute):
        if part.tag == tag(1, LEN):
            key = wire.text(part, wire.limits.name_bytes, "the name of an attribute")
        elif part.tag == tag(2, LEN) and key == "output_stream":
            for inner in wire.fields(attribute.inner(part)):
                if inner.tag == tag(2, LEN):
                    value = wire.text(inner, wire.limits.name_bytes, "a stream")
    return key == "output_stream" and value.startswith(_FILE_STREAM)


def _inside(wire: Wire, span: Span, number: int) -> Iterable[Span]:
    """Yield the messages in field `number` of a message."""
    for part in wire.fields(span):
        if part.tag == tag(number, LEN):
            yield span.inner(part)


def is_graph(head: bytes) -> bool:
    """Tell whether a `.pb` file begins as a SavedModel or a GraphDef does."""
    return head[:1] in (b"\x08", b"\x0a", b"\x12", b"\x22")


def unread(error: CheckpointError) -> Remark:
    """Say why a file could not be read."""
    why = f" ({error.why})" if error.why else ""
    return Remark("unread", clean(f"{error.what}{why}"), offset=error.offset)
