"""Read ONNX models: one protobuf message that holds a graph and, mostly, its weights.

The weights are the graph's initializers, but not only: the body of an `If` or a `Loop`, the value
of a `Constant` node, a function and the training information may hold tensors too, and all of them
are listed. A tensor keeps its own name; one that has none, or whose name is taken, is named after
where it lies: `node/attribute/name`. Large models keep the bytes in files beside the `.onnx` file.
Quantized models are told as they are stored (`I8`, `U8`, plain): which scale belongs to which
tensor is for an analyzer to say.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.in.proto
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.onnx.graph import Found, GraphWalk
from steelyard.checkpoints.onnx.protobuf import LEN, VARINT, Span, Wire, signed64, tag
from steelyard.checkpoints.onnx.recognizing import (
    FUNCTION,
    GRAPH,
    HEAD_BYTES,
    IR_VERSION,
    METADATA,
    OPSET,
    TEXTS,
    TRAINING,
    looks_like_onnx,
)
from steelyard.checkpoints.onnx.tensors import Place, Stored
from steelyard.checkpoints.tensors import (
    Checkpoint,
    MetadataValue,
    Problem,
    ProblemKind,
    Tensor,
)
from steelyard.errors import CheckpointError, LimitExceeded, Unsupported
from steelyard.sources.base import ByteReader

_NUMBERS: Mapping[int, str] = MappingProxyType({IR_VERSION: "ir_version", 5: "model_version"})


def read(
    reader: ByteReader, siblings: Mapping[str, int], limits: Limits = DEFAULT_LIMITS
) -> Checkpoint:
    """Read an ONNX model's table of tensors and what its header says.

    Args:
        reader: The `.onnx` file; its name is its path within the source.
        siblings: Path to size in bytes, for every file of the source.
        limits: What the file may ask for.

    Returns:
        The tensors, sorted by name; those in files that are missing are left out and told as
        problems. Metadata: `ir_version`, `producer_name`, `producer_version`, `domain`,
        `model_version`, `opset_import.<domain>`, `metadata_props.<key>` (None where longer than
        `limits.string_bytes`), `graph.name`, `graph.nodes`, `graph.inputs` and `graph.outputs`
        (`limits.kept_items` of each, without the initializers that old models list as inputs),
        and `graph.operators` (of all graphs and functions, with the domain before the name where
        it is not ONNX's own).

    Raises:
        Unsupported: If it is not an ONNX model.
        CheckpointError: If it is malformed, or names a data file that no model should.
        SourceError: If it cannot be read.
    """
    wire = Wire(reader, limits)
    model = _Model(wire, Place(reader.name, siblings))
    try:
        model.walk()
    except LimitExceeded:
        raise
    except CheckpointError as error:
        if not looks_like_onnx(reader.read(0, min(HEAD_BYTES, reader.size))):
            raise _not_onnx(reader.name, f"{error.what}, at byte {error.offset}") from error
        raise
    if not model.graphs or not model.versioned:
        raise _not_onnx(reader.name, "it has no graph, or states no version")
    tensors = sorted(_named(model.graph.tensors), key=lambda tensor: tensor.name)
    for problem in _overlaps(tensors):
        model.graph.problems.add(problem)
    return Checkpoint(
        format="onnx",
        files=tuple(sorted({reader.name, *(tensor.file for tensor in tensors)})),
        tensors=tuple(tensors),
        metadata=model.metadata | _graph_metadata(model.graph, limits),
        problems=tuple(model.graph.problems.all()),
        steps=wire.steps,
    )


class _Model:
    """Walk a ModelProto; what it says lies in the attributes afterwards."""

    def __init__(self, wire: Wire, place: Place) -> None:
        self.graph = GraphWalk(wire, place)
        self.metadata: dict[str, MetadataValue] = {}
        self.graphs = 0
        self.versioned = False
        self._wire = wire
        self._place = place
        self._trainings = 0
        self._messages: Mapping[int, Callable[[Span], None]] = {
            GRAPH: self._graph,
            OPSET: self._opset,
            METADATA: self._entry,
            TRAINING: self._training,
            FUNCTION: self.graph.function,
        }

    def walk(self) -> None:
        """Read the whole file.

        Raises:
            CheckpointError: If it is malformed.
        """
        whole = self._wire.whole()
        for part in self._wire.fields(whole):
            if part.wire == VARINT and part.number in _NUMBERS:
                self.metadata[_NUMBERS[part.number]] = signed64(part.value)
                self.versioned |= part.number == IR_VERSION
            elif part.wire == LEN and part.number in TEXTS:
                key = TEXTS[part.number]
                self.metadata[key] = self._wire.text(part, self._wire.limits.name_bytes, key)
            elif part.wire == LEN and part.number in self._messages:
                self._messages[part.number](whole.inner(part))

    def _graph(self, span: Span) -> None:
        """Walk the graph; protobuf merges a second one into the first, and so is it here."""
        self.graphs += 1
        self.graph.main_graph(span)

    def _training(self, span: Span) -> None:
        self.graph.training(span, self._trainings)
        self._trainings += 1

    def _opset(self, span: Span) -> None:
        """Read an OperatorSetIdProto; no domain means ONNX's own."""
        domain, version = "", 0
        for part in self._wire.fields(span):
            if part.tag == tag(1, LEN):
                domain = self._wire.text(part, self._wire.limits.name_bytes, "a domain")
            elif part.tag == tag(2, VARINT):
                version = signed64(part.value)
        self.versioned = True
        self._keep(f"opset_import.{domain or 'ai.onnx'}", version, span)

    def _entry(self, span: Span) -> None:
        key, value = self._wire.entry(span, self._wire.limits.string_bytes)
        if value is None:
            what = f"metadata {key!r} is longer than {self._wire.limits.string_bytes} bytes"
            self._problem(ProblemKind.NOT_FULLY_READ, what, span)
        self._keep(f"metadata_props.{key}", value, span)

    def _keep(self, key: str, value: MetadataValue, span: Span) -> None:
        """Note a metadata entry; of several with one key the first counts."""
        most = self._wire.limits.metadata_keys
        if key in self.metadata:
            what = f"{key!r} is there more than once; the first counts"
            self._problem(ProblemKind.ODD_METADATA, what, span)
        elif len(self.metadata) >= most:
            raise LimitExceeded(
                f"has more than {most} metadata entries",
                why="Limits.metadata_keys allows no more; real models stay far below it",
                fix="raise the limit if you trust the file",
                file=self._place.file,
                offset=span.offset,
            )
        else:
            self.metadata[key] = value

    def _problem(self, kind: ProblemKind, what: str, span: Span) -> None:
        self.graph.problems.add(Problem(kind, what, self._place.file, span.offset))


def _graph_metadata(graph: GraphWalk, limits: Limits) -> dict[str, MetadataValue]:
    """Say the main graph in numbers and lists, each cut to its limit."""
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    return {
        "graph.name": graph.name,
        "graph.nodes": graph.nodes,
        "graph.inputs": tuple(str(value) for value in inputs[: limits.kept_items]),
        "graph.outputs": tuple(str(value) for value in graph.outputs[: limits.kept_items]),
        "graph.operators": tuple(sorted(graph.operators)),
    }


def _named(found: list[Found]) -> list[Tensor]:
    """Give every tensor a name of its own: the main graph's initializers keep theirs."""
    tensors = []
    taken: set[str] = set()
    turns: Counter[str] = Counter()
    name = ""
    for item in sorted(found, key=lambda item: not item.initializer):
        name = name + item.suffix if item.suffix else item.stored.name
        if not name or (name in taken and not item.suffix):
            name = "/".join(filter(None, (item.scope, name))) or "initializer"
        base = name
        while name in taken:
            turns[base] += 1
            name = f"{base}#{turns[base] + 1}"
        taken.add(name)
        tensors.append(_tensor(name, item.stored))
    return tensors


def _tensor(name: str, stored: Stored) -> Tensor:
    return Tensor(
        name=name,
        dtype=stored.dtype,
        shape=stored.shape,
        encoding=stored.encoding,
        file=stored.file,
        offset=stored.offset,
        nbytes=stored.nbytes,
        stored=stored.stored,
    )


def _overlaps(tensors: list[Tensor]) -> Iterator[Problem]:
    """Find tensors that share some of their bytes; sharing all of them is how ONNX shares data."""
    placed = sorted(
        (tensor.file, tensor.offset, tensor.offset + tensor.extent, tensor.name)
        for tensor in tensors
        if tensor.offset is not None and tensor.nbytes
    )
    widest = ("", 0, 0, "")
    for file, start, stop, name in placed:
        if file != widest[0]:
            widest = (file, start, stop, name)
            continue
        if start < widest[2] and (start, stop) != widest[1:3]:
            yield Problem(
                ProblemKind.INDEX_MISMATCH,
                f"tensors {widest[3]!r} and {name!r} share some of their bytes, but not all",
                file,
                start,
            )
        if stop > widest[2]:
            widest = (file, start, stop, name)


def _not_onnx(file: str, why: str) -> Unsupported:
    return Unsupported(
        "is not an ONNX model",
        why=why,
        fix="check that the file is what its name says; a pointer or a web page is often saved "
        "in place of a model",
        file=file,
        offset=0,
    )
