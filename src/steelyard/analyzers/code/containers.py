"""Look once at each file's head and end, and hand it to whoever knows what it is.

Models of Keras and TensorFlow, TorchScript archives, files that are two formats at once, archives
that would unpack outside of their folder, and programs. Files are told by their bytes; over a
network only those that are named like one of these are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.code import archives, graphs, keras, polyglots, tensorflow
from steelyard.analyzers.code.hidden import invisible
from steelyard.analyzers.code.programs import program
from steelyard.analyzers.code.reading import is_local, riders
from steelyard.analyzers.code.remarks import Located, Remark, fact_of
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.formats import is_tensorflow
from steelyard.checkpoints.hdf5 import MAGIC as HDF5
from steelyard.checkpoints.hdf5 import root_texts, superblock
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tars import is_tar
from steelyard.checkpoints.tensors import ProblemKind
from steelyard.checkpoints.zips import directory, read_member
from steelyard.errors import CheckpointError, SourceError
from steelyard.facts import Fact
from steelyard.sources.base import ByteReader

_HEAD: Final = 512
_LONGEST_CONFIG: Final = 16_000_000
_NAMED: Final = frozenset({".keras", ".h5", ".hdf5", ".pb", ".pbtxt"})
_SCRIPT: Final = "torchscript"
_KERAS: Final = ".keras"
_HOLDING_ZIPS: Final = frozenset({"pytorch", "numpy"})
"""Formats whose reader has checked the archive and its members' names already."""
_CONFIGS: Final = ("model_config", "training_config")
_FACTS: Final = {
    "keras.runs": "code.keras.runs",
    "keras.custom": "code.keras.custom",
    "keras.unread": "code.keras.unread",
    "graph.runs": "code.graph.runs",
    "graph.reads": "code.graph.reads",
    "graph.custom": "code.graph.custom",
    "graph.unread": "code.graph.unread",
    "polyglot": "code.polyglots",
    "escape": "code.archives.escaping",
    "archive.unread": "code.archives.unread",
    "name": "code.names.hidden",
    "compiled": "code.compiled",
}
_KERAS_NAMES: Final = frozenset({"model.json", "model_config.json", "architecture.json"})
"""Names under which the configuration of a Keras model is kept apart from its weights."""


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what configurations and graphs would run, and what files are besides."""
    found: dict[str, list[Located]] = {kind: [] for kind in _FACTS}
    known = {
        path: (weights.format, str(weights.metadata.get("layout")))
        for weights in model.weights
        for path in weights.files
    }
    for file in model.source.files:
        local = is_local(model, file.path)
        name, layout = known.get(file.path, (None, None))
        if not local and (kind := program(file.path, b"")):
            found["compiled"].append((file.path, Remark("compiled", kind)))
        if file.size == 0 or not (local or _suffix(file.path) in _NAMED or layout == _SCRIPT):
            continue
        try:
            with model.source.open(file.path) as reader:
                head = reader.read(0, min(_HEAD, reader.size))
                for kind, remark in _code(reader, head, name, layout):
                    found[kind].append((file.path, remark))
                for kind, remark in _disguise(reader, head, name, layout) if local else ():
                    found[kind].append((file.path, remark))
        except SourceError as error:
            found["graph.unread"].append((file.path, Remark("unread", error.what)))
    others = (_of_weights, _of_configurations, _hidden_names, _unclaimed)
    for kind, path, remark in (each for ask in others for each in ask(model)):
        found[kind].append((path, remark))
    for kind, name in _FACTS.items():
        yield fact_of(name, found[kind])


def _code(
    reader: ByteReader, head: bytes, format_name: str | None, layout: str | None
) -> Iterator[tuple[str, Remark]]:
    """Yield what a file would run, with what it is about: `keras.runs`, `graph.reads`."""
    about = "keras"
    try:
        if layout == _SCRIPT:
            about = "graph"
            yield from (("graph." + remark.kind, remark) for remark in graphs.torchscript(reader))
        elif head.startswith(HDF5) or (format_name is None and superblock(reader) is not None):
            yield from (("keras." + remark.kind, remark) for remark in _hdf5(reader))
        elif _suffix(reader.name) == _KERAS or (
            head.startswith(b"PK") and format_name not in _HOLDING_ZIPS
        ):
            yield from (("keras." + remark.kind, remark) for remark in _keras_zip(reader))
        elif format_name is None and is_tensorflow(head, reader.name):
            about = "graph"
            yield from _protobuf(reader)
        elif _suffix(reader.name) == ".pbtxt":
            about = "graph"
            yield from (("graph." + r.kind, r) for r in tensorflow.examine_text(reader))
    except CheckpointError as error:
        yield f"{about}.unread", graphs.unread(error)


def _disguise(
    reader: ByteReader, head: bytes, format_name: str | None, layout: str | None
) -> Iterator[tuple[str, Remark]]:
    """Yield what a file is besides, and what it would unpack elsewhere."""
    try:
        if head.startswith(b"PK"):
            if format_name not in _HOLDING_ZIPS or layout == _SCRIPT:
                yield from (("escape", remark) for remark in archives.zip_escapes(reader))
        elif is_tar(head) or head.startswith(b"\x1f\x8b"):
            yield from (("escape", remark) for remark in archives.tar_escapes(reader, head))
    except CheckpointError as error:
        yield "archive.unread", graphs.unread(error)
    for remark in polyglots.examine(reader, head[: polyglots.HEAD_BYTES], format_name):
        yield "polyglot", remark
    if format_name is None and (kind := program(reader.name, head)):
        yield "compiled", Remark("compiled", kind)


def _hdf5(reader: ByteReader) -> Iterator[Remark]:
    for name, text in root_texts(reader, _CONFIGS).items():
        for remark in keras.examine(parse_json(text.encode(), reader.name, allow_nan=True)):
            yield Remark(remark.kind, remark.what, field=f"{name} {remark.field or ''}".strip())


def _keras_zip(reader: ByteReader) -> Iterator[Remark]:
    """Examine the configuration of a `.keras` file; another zip has none at its root."""
    names = set(archives.zip_names(reader))
    if _suffix(reader.name) == _KERAS:
        # Keras itself reads no metadata, so they may be missing.
        if "config.json" not in names:
            raise CheckpointError("holds no configuration of Keras", file=reader.name)
    elif not {"config.json", "metadata.json"} <= names:
        return
    for member in directory(reader):
        if member.name in ("config.json", "metadata.json"):
            data = read_member(reader, member, _LONGEST_CONFIG)
            for remark in keras.examine(parse_json(data, reader.name, allow_nan=True)):
                field = f"{member.name} {remark.field or ''}".strip()
                yield Remark(remark.kind, remark.what, field=field)


def _protobuf(reader: ByteReader) -> Iterator[tuple[str, Remark]]:
    if PurePosixPath(reader.name).name == "keras_metadata.pb":
        for remark in graphs.keras_metadata(reader):
            yield f"keras.{remark.kind}", remark
    elif PurePosixPath(reader.name).name != "fingerprint.pb":
        for remark in tensorflow.examine(reader):
            yield f"graph.{remark.kind}", remark


def _of_weights(model: Model) -> Iterator[tuple[str, str, Remark]]:
    for weights in model.weights:
        if weights.format == "onnx":
            for remark in graphs.onnx(weights):
                yield f"graph.{remark.kind}", weights.files[0], remark


def _of_configurations(model: Model) -> Iterator[tuple[str, str, Remark]]:
    """Examine Keras models that are a folder, or whose configuration is a file of its own."""
    for path, document in sorted(model.json.items()):
        if PurePosixPath(path).name == "config.json":
            yield from (("keras." + r.kind, path, r) for r in _configuration(document))
    for rider in riders(model, lambda path: _is_configuration(model, path), _LONGEST_CONFIG):
        try:
            if rider.unread:
                raise CheckpointError(rider.unread)
            document = parse_json(rider.data, rider.path, allow_nan=True)
            yield from (("keras." + r.kind, rider.path, r) for r in _configuration(document))
        except CheckpointError as error:
            yield "keras.unread", rider.path, graphs.unread(error)


def _configuration(document: JsonValue) -> list[Remark]:
    """Examine a document if it is the configuration of a Keras model."""
    match document:
        case {"class_name": str(), "config": dict() | list()}:
            return keras.examine(document)
        case {"modelTopology": dict() as topology}:
            return keras.examine(topology)
    return []


def _is_configuration(model: Model, path: str) -> bool:
    return PurePosixPath(path).name in _KERAS_NAMES and is_local(model, path)


def _hidden_names(model: Model) -> Iterator[tuple[str, str, Remark]]:
    """Yield the names of tensors and metadata in which characters stand that nobody sees."""
    for weights in model.weights:
        for what, names in (
            ("metadata key", list(weights.metadata)),
            ("tensor name", [tensor.name for tensor in weights.tensors]),
        ):
            # All at once: a line for each name, with what would break a line told first.
            text = "\n".join(name.replace("\n", "\u2028") for name in names)
            for hidden, line in invisible(text):
                said = f"the {what} {clean(names[line - 1], 80)!r} holds {hidden}"
                yield "name", weights.files[0], Remark("name", said)


def _unclaimed(model: Model) -> Iterator[tuple[str, str, Remark]]:
    """Look at what begins where bytes belong to no tensor."""
    problems = [*model.problems, *(p for weights in model.weights for p in weights.problems)]
    for problem in problems:
        if problem.kind is ProblemKind.UNUSED_BYTES and problem.offset is not None:
            with model.source.open(problem.file) as reader:
                for remark in polyglots.at(reader, problem.offset):
                    yield "polyglot", problem.file, remark


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
