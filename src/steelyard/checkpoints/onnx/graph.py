"""Walk the graphs of an ONNX model and gather the tensors, operators and values they name.

A graph is a list of nodes and a list of initializers. Each node has an operator and attributes,
and an attribute may hold a tensor or a whole graph again, so graphs nest; how deep is bounded by
`Limits.depth`, counted in protobuf messages (three for each graph in a graph). A node's own fields
are read before its attributes are entered, for its name is part of what they are called.

Source: GraphProto, NodeProto, AttributeProto, TypeProto in
https://github.com/onnx/onnx/blob/main/onnx/onnx.in.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from steelyard.checkpoints.onnx.protobuf import LEN, VARINT, Field, Span, Wire, signed64, tag
from steelyard.checkpoints.onnx.tensors import (
    ELEMENT_TYPES,
    Place,
    Stored,
    read_dims,
    read_tensor,
)
from steelyard.checkpoints.tensors import Problem, ProblemKind
from steelyard.errors import CheckpointError, LimitExceeded

MOST_OPERATORS = 1024
"""Distinct operators that are told; real models have below a hundred."""
LONGEST_SCOPE = 256
"""Characters of the path before a nested tensor's name; a longer one is told by its offset."""

_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_SPARSE = 5, 6, 22
_SINGULAR = frozenset({_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_SPARSE})
_REPEATED = {10: _ATTRIBUTE_TENSOR, 11: _ATTRIBUTE_GRAPH, 23: _ATTRIBUTE_SPARSE}
_DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor and where in the model it was met."""

    stored: Stored
    scope: str
    """Path of nodes and attributes around it; empty for the main graph's initializers."""
    initializer: bool = False
    """True for an initializer of the main graph."""
    suffix: str = ""
    """For a part of the tensor found just before: what to add to that one's name."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the main graph."""

    name: str
    type: str
    """`FLOAT[batch, 384]` and the like, with ONNX's own names."""

    def __str__(self) -> str:
        """Say `name: TYPE[dims]`."""
        return f"{self.name}: {self.type}"


class Problems:
    """Gather problems: equal ones once with their number, and not more of a kind than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[tuple[ProblemKind, str, str], int] = {}
        self._firsts: list[Problem] = []
        self._kinds: dict[ProblemKind, int] = {}

    def add(self, problem: Problem) -> None:
        """Take one problem."""
        key = (problem.kind, problem.what, problem.file)
        if key in self._counts:
            self._counts[key] += 1
            return
        seen = self._kinds[problem.kind] = self._kinds.get(problem.kind, 0) + 1
        if seen <= self._most:
            self._counts[key] = 1
            self._firsts.append(problem)

    def all(self) -> Iterator[Problem]:
        """Yield what was gathered, and one line for each kind of which there were too many."""
        for problem in self._firsts:
            count = self._counts[problem.kind, problem.what, problem.file]
            times = f" ({count} times; this is the first)" if count > 1 else ""
            yield replace(problem, what=problem.what + times)
        for kind, seen in self._kinds.items():
            if seen > self._most:
                yield Problem(kind, f"{seen - self._most} more of this kind", self._firsts[0].file)


class GraphWalk:
    """Walk the graphs of one model; what it met lies in the attributes afterwards."""

    def __init__(self, wire: Wire, place: Place) -> None:
        self.tensors: list[Found] = []
        self.operators: set[str] = set()
        self.problems = Problems(wire.limits.kept_items)
        self.name = ""
        """The main graph's name."""
        self.nodes = 0
        """Nodes of the main graph, those of nested graphs not counted."""
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.initializers: set[str] = set()
        """Names of the main graph's initializers that are listed."""
        self._wire = wire
        self._place = place

    def main_graph(self, span: Span) -> None:
        """Walk the model's own graph."""
        for part in self._wire.fields(span):
            if part.tag == tag(1, LEN):
                self._node(span.inner(part), "", self.nodes)
                self.nodes += 1
            elif part.tag == tag(2, LEN):
                self.name = self._text(part, "the name of a graph")
            elif part.tag in {tag(11, LEN), tag(12, LEN)}:
                values = self.inputs if part.number == 11 else self.outputs
                self._bound(len(values), self._wire.limits.metadata_keys, "inputs", part)
                values.append(read_value(self._wire, span.inner(part)))
            else:
                self._initializer(part, span, "", self.initializers)

    def nested_graph(self, span: Span, scope: str) -> None:
        """Walk a graph inside an attribute or the training information."""
        names: set[str] = set()
        nodes = 0
        for part in self._wire.fields(span):
            if part.tag == tag(1, LEN):
                self._node(span.inner(part), scope, nodes)
                nodes += 1
            else:
                self._initializer(part, span, scope, names)

    def function(self, span: Span) -> None:
        """Walk a FunctionProto; its name comes first, as it does in every file written."""
        name, nodes = "function", 0
        for part in self._wire.fields(span):
            if part.tag == tag(1, LEN):
                name = self._text(part, "the name of a function")
            elif part.tag == tag(7, LEN):
                self._node(span.inner(part), self._scope("", name, part), nodes)
                nodes += 1
            elif part.tag == tag(11, LEN):
                self._attribute(span.inner(part), self._scope("", name, part))

    def training(self, span: Span, index: int) -> None:
        """Walk a TrainingInfoProto: how to initialize, and one step of training."""
        for part in self._wire.fields(span):
            if part.tag in {tag(1, LEN), tag(2, LEN)}:
                kind = "initialization" if part.number == 1 else "algorithm"
                self.nested_graph(span.inner(part), f"training_info[{index}]/{kind}")

    def _node(self, span: Span, scope: str, index: int) -> None:
        """Read a node's own fields, then enter its attributes."""
        texts = {3: "", 4: "", 7: ""}
        output = ""
        attributes: list[Field] = []
        for part in self._wire.fields(span):
            if part.wire != LEN:
                continue
            if part.number in texts:
                texts[part.number] = self._text(part, "a name in a node")
            elif part.number == 2 and not output:
                output = self._text(part, "the name of an output")
            elif part.number == 5:
                self._bound(len(attributes), self._wire.limits.metadata_keys, "attributes", part)
                attributes.append(part)
        name, operator, domain = texts[3], texts[4], texts[7]
        self._operator(domain, operator)
        label = name or output or f"{operator or 'node'}[{index}]"
        for part in attributes:
            self._attribute(span.inner(part), self._scope(scope, label, part))

    def _operator(self, domain: str, operator: str) -> None:
        full = operator if domain in _DEFAULT_DOMAINS else f"{domain}.{operator}"
        if not operator or full in self.operators:
            return
        if len(self.operators) < MOST_OPERATORS:
            self.operators.add(full)
        else:
            what = f"has more than {MOST_OPERATORS} operators; the others are not told"
            self.problems.add(Problem(ProblemKind.NOT_FULLY_READ, what, self._place.file))

    def _attribute(self, span: Span, scope: str) -> None:
        """Find the tensors and graphs in an attribute."""
        name = ""
        held: list[Field] = []
        for part in self._wire.fields(span):
            if part.tag == tag(1, LEN):
                name = self._text(part, "the name of an attribute")
            elif part.wire == LEN and (part.number in _SINGULAR or part.number in _REPEATED):
                self._bound(len(held), self._wire.limits.tensors, "tensors", part)
                held.append(part)
        for index, part in enumerate(held):
            label = f"{name}[{index}]" if len(held) > 1 else name
            inner = self._scope(scope, label, part)
            kind = _REPEATED.get(part.number, part.number)
            if kind == _ATTRIBUTE_GRAPH:
                self.nested_graph(span.inner(part), inner)
            elif kind == _ATTRIBUTE_TENSOR:
                self._take(read_tensor(self._wire, span.inner(part), self._place), inner)
            else:
                self._sparse(span.inner(part), inner, None)

    def _initializer(self, part: Field, span: Span, scope: str, names: set[str]) -> None:
        """Take a graph's field if it is an initializer, dense or sparse."""
        if part.tag == tag(5, LEN):
            stored = read_tensor(self._wire, span.inner(part), self._place)
            if isinstance(stored, Problem) or self._is_new(stored, names):
                self._take(stored, scope, initializer=names is self.initializers)
        elif part.tag == tag(15, LEN):
            self._sparse(span.inner(part), scope, names)

    def _sparse(self, span: Span, scope: str, names: set[str] | None) -> None:
        """Take a SparseTensorProto: its values under its name, its indices under `name/indices`.

        Both are listed as they are stored; the dense shape is checked and then left.
        """
        parts: dict[int, Field] = {}
        dims: list[int] = []
        for part in self._wire.fields(span):
            if part.tag in {tag(1, LEN), tag(2, LEN)}:
                if part.number in parts:
                    raise self._wrong("has a sparse tensor with two sets of values", span)
                parts[part.number] = part
            elif part.number == 3 and part.wire in {VARINT, LEN}:
                read_dims(self._wire, part, dims)
        if set(parts) != {1, 2}:
            raise self._wrong("has a sparse tensor without values or indices", span)
        values = read_tensor(self._wire, span.inner(parts[1]), self._place)
        indices = read_tensor(self._wire, span.inner(parts[2]), self._place)
        if isinstance(values, Problem) or isinstance(indices, Problem):
            self._take(values if isinstance(values, Problem) else indices, scope)
            return
        if len(values.shape) != 1 or indices.shape not in {
            values.shape,
            (*values.shape, len(dims)),
        }:
            raise self._wrong(f"has a sparse tensor of {values.shape} and {indices.shape}", span)
        if names is None or self._is_new(values, names):
            top = names is self.initializers
            self._take(values, scope, initializer=top)
            self._take(indices, scope, initializer=top, suffix="/indices")

    def _is_new(self, stored: Stored, names: set[str]) -> bool:
        """Note an initializer's name; a second one of that name in a graph is a problem."""
        if stored.name and stored.name in names:
            what = f"initializer {stored.name!r} is there more than once; the first counts"
            self.problems.add(
                Problem(ProblemKind.DUPLICATE_TENSOR, what, self._place.file, stored.at)
            )
            return False
        names.add(stored.name)
        return True

    def _take(
        self, stored: Stored | Problem, scope: str, *, initializer: bool = False, suffix: str = ""
    ) -> None:
        if isinstance(stored, Problem):
            self.problems.add(stored)
            return
        most = self._wire.limits.tensors
        if len(self.tensors) >= most:
            raise self._too_many(most, "tensors", "Limits.tensors", stored.at)
        self.tensors.append(Found(stored, scope, initializer, suffix))

    def _scope(self, scope: str, label: str, part: Field) -> str:
        path = f"{scope}/{label}" if scope else label
        return path if len(path) <= LONGEST_SCOPE else f"@{part.offset}"

    def _text(self, part: Field, what: str) -> str:
        return self._wire.text(part, self._wire.limits.name_bytes, what)

    def _bound(self, count: int, most: int, what: str, part: Field) -> None:
        if count >= most:
            raise self._too_many(most, what, "Limits", part.offset)

    def _too_many(self, most: int, what: str, limit: str, offset: int) -> LimitExceeded:
        return LimitExceeded(
            f"has more than {most} {what}",
            why=f"{limit} allows no more; real models stay far below it",
            fix="raise the limit if you trust the file",
            file=self._place.file,
            offset=offset,
        )

    def _wrong(self, what: str, span: Span) -> CheckpointError:
        return CheckpointError(
            what,
            why="ONNX has one list of values and one of indices, as long as each other",
            fix="get the file again from its publisher",
            file=self._place.file,
            offset=span.offset,
        )


def read_value(wire: Wire, span: Span) -> Value:
    """Read a ValueInfoProto."""
    name, kind = "", "?"
    for part in wire.fields(span):
        if part.tag == tag(1, LEN):
            name = wire.text(part, wire.limits.name_bytes, "the name of a value")
        elif part.tag == tag(2, LEN):
            kind = _type(wire, span.inner(part))
    return Value(name, kind)


def _type(wire: Wire, span: Span) -> str:
    """Say a TypeProto in words."""
    text = "?"
    for part in wire.fields(span):
        if part.wire != LEN:
            continue
        if part.number in {1, 8}:
            sparse = "sparse " if part.number == 8 else ""
            text = sparse + _tensor_type(wire, span.inner(part))
        elif part.number in {4, 9}:
            kind = "sequence" if part.number == 4 else "optional"
            text = f"{kind}({_element(wire, span.inner(part), 1)})"
        elif part.number == 5:
            text = f"map({_element(wire, span.inner(part), 2)})"
    return text


def _element(wire: Wire, span: Span, number: int) -> str:
    """Say the type inside a sequence, an optional or a map (a TypeProto in field `number`)."""
    text = "?"
    for part in wire.fields(span):
        if part.tag == tag(number, LEN):
            text = _type(wire, span.inner(part))
    return text


def _tensor_type(wire: Wire, span: Span) -> str:
    element, shape = "?", ""
    for part in wire.fields(span):
        if part.tag == tag(1, VARINT):
            known = ELEMENT_TYPES.get(part.value)
            element = known.name if known else f"TYPE_{part.value}"
        elif part.tag == tag(2, LEN):
            shape = _shape(wire, span.inner(part))
    return element + shape


def _shape(wire: Wire, span: Span) -> str:
    """Say a TensorShapeProto: numbers, names of open dimensions, `?` where nothing is said."""
    dims: list[str] = []
    for part in wire.fields(span):
        if part.tag != tag(1, LEN):
            continue
        if len(dims) == wire.limits.rank:
            return f"[{', '.join(dims)}, ...]"
        dim = "?"
        for side in wire.fields(span.inner(part)):
            if side.tag == tag(1, VARINT):
                dim = str(signed64(side.value))
            elif side.tag == tag(2, LEN) and side.length:
                dim = wire.text(side, wire.limits.name_bytes, "the name of a dimension")
        dims.append(dim)
    return f"[{', '.join(dims)}]"
