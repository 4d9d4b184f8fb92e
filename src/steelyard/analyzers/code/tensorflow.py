"""Operators of TensorFlow graphs that do more than compute, in binary and in text.

A SavedModel is a program: its graphs, and the functions in their libraries, may read and write
files or call back into Python. An operator that TensorFlow does not define comes from a library of
native code. Graphs are walked as protobuf messages, without TensorFlow; nothing is run.

Source: saved_model.proto, meta_graph.proto, graph.proto, node_def.proto and function.proto of
TensorFlow; its operators of `knowledge/tensorflow_operators.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints import protobuf_text
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.onnx.protobuf import LEN, Span, Wire, tag
from steelyard.errors import LimitExceeded
from steelyard.knowledge import load
from steelyard.sources.base import ByteReader

_FILE_STREAM: Final = "file://"
_STREAM: Final = "output_stream"
_MOST_CUSTOM: Final = 200
_LONGEST_TEXT: Final = 64_000_000


@dataclass(slots=True)
class _Operators:
    """What is of note so far; each operator is told once, where it first stands."""

    found: dict[tuple[str, str], Remark] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    """Names of the file's own functions, which nodes call as operators."""

    def note(self, name: str, operator: str, function: str, stream: str, offset: int) -> None:
        """Take one node."""
        table = load("graph_operators")["tensorflow"]
        within = f" of the function {function!r}" if function else ""
        node = f"the node {name!r}{within} ({operator})"
        for kind in ("runs", "reads"):
            if operator in table[kind]:
                self._add(kind, operator, f"{node} {table[kind][operator]}", offset)
        if operator == "PrintV2" and stream.startswith(_FILE_STREAM):
            self._add("runs", operator, f"{node} writes a file", offset)
        known = operator in table["runs"] or operator in table["reads"] or operator in _own()
        # What begins with an underscore is TensorFlow's own, made where a graph is run.
        if operator and not known and not operator.startswith("_"):
            self._add("custom", operator, f"{node} needs native code of its own", offset)

    def _add(self, kind: str, operator: str, what: str, offset: int) -> None:
        if (kind, operator) not in self.found:
            self.found[kind, operator] = Remark(kind, clean(what), offset=offset)

    def remarks(self) -> list[Remark]:
        """Give what is of note, without calls of the file's own functions."""
        kept: list[Remark] = []
        custom = 0
        for (kind, operator), remark in self.found.items():
            if kind == "custom":
                custom += operator not in self.functions
                if operator in self.functions or custom > _MOST_CUSTOM:
                    continue
            kept.append(remark)
        return kept


@cache
def _own() -> frozenset[str]:
    builds = load("graph_operators")["tensorflow"]["builds"]
    return frozenset((*load("tensorflow_operators")["operators"], *builds))


def examine(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say which nodes of a SavedModel, or of a bare graph, do more than compute.

    Raises:
        CheckpointError: If the file is no such message, or asks for more than the limits allow.
    """
    wire = Wire(reader, limits)
    whole = wire.whole()
    operators = _Operators()
    if reader.name.endswith("saved_model.pb"):
        for meta in inside(wire, whole, 2):
            for graph in inside(wire, meta, 2):
                _graph(wire, graph, operators)
    else:
        _graph(wire, whole, operators)
    return operators.remarks()


def _graph(wire: Wire, graph: Span, operators: _Operators) -> None:
    """Walk the nodes of a GraphDef and of the functions in its library."""
    for part in wire.fields(graph):
        if part.tag == tag(1, LEN):
            _node(wire, graph.inner(part), "", operators)
        elif part.tag == tag(2, LEN):
            for function in inside(wire, graph.inner(part), 1):
                _function(wire, function, operators)


def _function(wire: Wire, function: Span, operators: _Operators) -> None:
    name = ""
    for part in wire.fields(function):
        if part.tag == tag(1, LEN):
            for inner in wire.fields(function.inner(part)):
                if inner.tag == tag(1, LEN):
                    name = wire.text(inner, wire.limits.name_bytes, "the name of a function")
                    operators.functions.add(name)
        elif part.tag == tag(3, LEN):
            _node(wire, function.inner(part), name, operators)


def _node(wire: Wire, node: Span, function: str, operators: _Operators) -> None:
    name = operator = ""
    streams: list[Span] = []
    for part in wire.fields(node):
        if part.tag == tag(1, LEN):
            name = wire.text(part, wire.limits.name_bytes, "the name of a node")
        elif part.tag == tag(2, LEN):
            operator = wire.text(part, wire.limits.name_bytes, "the name of an operator")
        elif part.tag == tag(5, LEN) and operator in ("PrintV2", ""):
            streams.append(node.inner(part))
    stream = next(filter(None, (_stream(wire, span) for span in streams)), "")
    operators.note(name, operator, function, stream, node.offset)


def _stream(wire: Wire, attribute: Span) -> str:
    """Give the address that an attribute is, if it is `output_stream`."""
    key, value = "", ""
    for part in wire.fields(attribute):
        if part.tag == tag(1, LEN):
            key = wire.text(part, wire.limits.name_bytes, "the name of an attribute")
        elif part.tag == tag(2, LEN) and key == _STREAM:
            for inner in wire.fields(attribute.inner(part)):
                if inner.tag == tag(2, LEN):
                    value = wire.text(inner, wire.limits.name_bytes, "a stream")
    return value


def inside(wire: Wire, span: Span, number: int) -> Iterable[Span]:
    """Yield the messages in field `number` of a message."""
    for part in wire.fields(span):
        if part.tag == tag(number, LEN):
            yield span.inner(part)


@dataclass(slots=True)
class _Message:
    """An open message of a text, with what is of interest in it."""

    name: str
    offset: int
    texts: dict[str, str] = field(default_factory=dict)
    nodes: list[_Message] = field(default_factory=list)
    """Of a function: its nodes, until its name is known."""


def examine_text(reader: ByteReader, limits: Limits = DEFAULT_LIMITS) -> list[Remark]:
    """Say the same of a graph that is written as text; another message has no nodes.

    Raises:
        LimitExceeded: If it is longer than what is read.
        CheckpointError: If it is no message as text.
    """
    if reader.size > _LONGEST_TEXT:
        raise LimitExceeded(
            f"is a graph as text of {reader.size} bytes, more than {_LONGEST_TEXT}",
            file=reader.name,
        )
    operators = _Operators()
    stack = [_Message("", 0)]
    for event in protobuf_text.events(reader.read(0, reader.size), reader.name, limits):
        if event.ends:
            _leave(stack, operators)
        elif event.value is None:
            stack.append(_Message(event.name, event.offset))
        elif event.name in ("name", "op", "key", "s"):
            stack[-1].texts[event.name] = event.value[: limits.name_bytes]
    return operators.remarks()


def _leave(stack: list[_Message], operators: _Operators) -> None:
    """Hand what a message says to the one around it, and take nodes and functions."""
    message = stack.pop()
    around = stack[-1]
    texts = message.texts
    if message.name == "value" and "s" in texts:
        around.texts["s"] = texts["s"]
    elif message.name == "attr" and texts.get("key") == _STREAM:
        around.texts[_STREAM] = texts.get("s", "")
    elif message.name == "signature":
        around.texts["name"] = texts.get("name", "")
        operators.functions.add(texts.get("name", ""))
    elif message.name == "node_def" and around.name == "function":
        around.nodes.append(message)
    elif message.name in ("node", "node_def"):
        _take(message, "", operators)
    elif message.name == "function":
        for node in message.nodes:
            _take(node, texts.get("name", ""), operators)


def _take(node: _Message, function: str, operators: _Operators) -> None:
    texts = node.texts
    stream = texts.get(_STREAM, "")
    operators.note(texts.get("name", ""), texts.get("op", ""), function, stream, node.offset)
