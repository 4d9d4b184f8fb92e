"""From a source to a model: read every header and document, group the weights into sets.

Only headers and small documents are read. One damaged file does not hide the others: it becomes
a `Problem` of the model. Only when weights are there and none can be read is that an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from steelyard.checkpoints import safetensors, zips
from steelyard.checkpoints.documents import JsonValue, count_values, read_json, read_text
from steelyard.checkpoints.filenames import named_like_pickle, named_like_weights
from steelyard.checkpoints.formats import (
    ARCHIVES,
    HEAD_BYTES,
    Format,
    identify,
    is_tensorflow,
    unread_name,
)
from steelyard.checkpoints.grouping import group
from steelyard.checkpoints.limits import DEFAULT_LIMITS, Limits
from steelyard.checkpoints.messagepack import is_messagepack
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind
from steelyard.errors import CheckpointError, SteelyardError, Unsupported, located
from steelyard.sources.base import ByteReader, Source, SourceFile

JSON_DOCUMENTS = frozenset(
    {
        "adapter_config.json",
        "config.json",
        "config_sentence_transformers.json",
        "generation_config.json",
        "meta.json",
        "model_index.json",
        "modules.json",
        "package.json",
        "params.json",
        "preprocessor_config.json",
        "quantize_config.json",
        "tokenizer_config.json",
        "trainer_state.json",
    }
)
"""JSON documents that are read wherever they lie; shard indexes (`*.index.json`) are too."""

_TEXT_STEMS = (
    "copying", "licence", "license", "model_card", "modelcard", "notice", "readme", "security",
    "unlicense", "use_policy",
)  # fmt: skip
_TEXT_WORDS = frozenset({"licence", "license", "terms"})
"""Words anywhere in a name: `MODEL_LICENSE`, `GEMMA_TERMS.html`."""
_WORD = re.compile(r"[a-z]+")
_TEXT_SUFFIXES = frozenset({"", ".md", ".txt", ".rst", ".markdown", ".html"})
_MOST_DOCUMENTS = 500
_DOCUMENT_MEMORY = 64_000_000
"""Bytes that the documents of one model may take together."""
_UNNAMED = (Format.SAFETENSORS, Format.GGUF, Format.PICKLE)
"""Formats that are looked for in files of any name; in those named like text, only pickles."""
_TENSOR_BYTES = 64
"""Bytes that a tensor takes in a header, at least."""
_STEPPED = frozenset({Format.PICKLE, Format.ZIP, Format.ONNX})
"""Formats that are interpreted step by step: all files together share `Limits.opcodes`."""
_KERAS = frozenset({"config.json", "metadata.json"})
"""Members at the root of a `.keras` file."""
_SMALLEST_UNNAMED = 4
"""No program of a pickle is shorter."""


class _NoTensors(Unsupported):
    """A file is understood, but no tensors are read of what it is; it never leaves this module."""


class _TensorsUnread(Unsupported):
    """A file is looked at for code, but its tensors are not read; it never leaves this module."""


def read_model(source: Source, limits: Limits = DEFAULT_LIMITS) -> Model:
    """Read the headers and documents of every file of `source`.

    Raises:
        CheckpointError: If there are weights, and no file of them can be read.
        SourceError: If the source fails while it is read.
    """
    json, texts, problems = _documents(source, limits)
    siblings = {file.path: file.size for file in source.files}
    parts: list[Checkpoint] = []
    # Only the first error is kept: each holds on to what its reader had in hand.
    first: CheckpointError | None = None
    refused: set[str] = set()
    left = limits
    for file, kind, head in _candidates(source):
        before, steps = source.bytes_read, 0
        try:
            if left.tensors <= 0 or (kind in _STEPPED and left.opcodes <= 0):
                raise Unsupported("the files before it hold all that is read of one model")
            with located(file.path), source.open(file.path) as reader:
                parts.append(_read(reader, kind, head, siblings, left))
            steps = parts[-1].steps
            left = replace(left, tensors=left.tensors - len(parts[-1].tensors))
        except _NoTensors as error:
            problems.append(_problem(ProblemKind.OTHER_CONTENT, file.path, error))
        except _TensorsUnread as error:
            problems.append(_problem(ProblemKind.TENSORS_UNREAD, file.path, error))
        except Unsupported as error:
            problems.append(_problem(ProblemKind.NOT_FULLY_READ, file.path, error))
        except CheckpointError as error:
            problems.append(_problem(ProblemKind.UNREADABLE, file.path, error))
            first = first or error
            refused.add(error.file or file.path)
            # How far it came is not known, but no step takes less than a byte.
            done = source.bytes_read - before
            steps = done if kind in _STEPPED else 0
            left = replace(left, tensors=left.tensors - done // _TENSOR_BYTES)
        left = replace(left, opcodes=max(left.opcodes - steps, 0))
    if first is not None and not parts:
        raise first
    sets, index_problems = group(parts, json, refused)
    return Model(source, sets, json, texts, (*problems, *index_problems))


def _candidates(source: Source) -> Iterator[tuple[SourceFile, Format | None, bytes]]:
    """Yield the files that hold weights, with their format and first bytes.

    A remote file is looked into only when it is named like weights: each look is a request.
    """
    for file in source.files:
        named = named_like_weights(file.path)
        local = source.local_path(file.path) is not None
        if not named and (not local or file.size < _SMALLEST_UNNAMED):
            continue
        if file.size == 0:
            continue
        with source.open(file.path) as reader:
            head = reader.read(0, min(HEAD_BYTES, file.size))
        kind = identify(head, file.size, file.path)
        hidden = (Format.PICKLE,) if _is_text(file.path) else _UNNAMED
        if named or kind in hidden:
            yield file, kind, head


def _read(
    reader: ByteReader, kind: Format | None, head: bytes, siblings: dict[str, int], limits: Limits
) -> Checkpoint:
    # A reader is imported when its format is met: most models have one format.
    match kind:
        case Format.SAFETENSORS:
            return safetensors.read(reader, limits)
        case Format.GGUF:
            from steelyard.checkpoints import gguf

            return gguf.read(reader, limits)
        case Format.PICKLE:
            return _read_pickle(reader, limits)
        case Format.NPY:
            from steelyard.checkpoints import numpy_files

            return numpy_files.read_npy(reader, limits)
        case Format.ONNX:
            from steelyard.checkpoints.onnx import reader as onnx

            return onnx.read(reader, siblings, limits)
        case Format.ZIP:
            return _read_zip(reader, limits)
        case Format.PACKED:
            raise _NoTensors(f"{unread_name(head, reader.name)} data is not read for tensors")
        case Format.UNREAD:
            raise _unread(head, reader.name)
        case None:
            return _read_unknown(reader, head, limits)


def _read_pickle(reader: ByteReader, limits: Limits) -> Checkpoint:
    from steelyard.checkpoints import pytorch

    return pytorch.read(reader, limits)


def _read_unknown(reader: ByteReader, head: bytes, limits: Limits) -> Checkpoint:
    if named_like_pickle(reader.name):
        from steelyard.checkpoints.pickles import holds_pickle

        if holds_pickle(reader, limits):
            return _read_pickle(reader, limits)
    if is_messagepack(reader, limits.opcodes):
        raise _TensorsUnread("MessagePack")
    if is_tensorflow(head, reader.name):
        raise _TensorsUnread("a graph of TensorFlow")
    raise Unsupported("the format is not known", why=f"it starts with {head[:8].hex(' ')}")


def _unread(head: bytes, path: str) -> Unsupported:
    name = unread_name(head, path) or "this"
    if name in ARCHIVES:
        return Unsupported(f"{name} is not read")
    return _TensorsUnread(name)


def _read_zip(reader: ByteReader, limits: Limits) -> Checkpoint:
    names = [PurePosixPath(member.name) for member in zips.directory(reader, limits)]
    if any(name.name == "data.pkl" for name in names):
        return _read_pickle(reader, limits)
    if any(name.suffix == ".npy" for name in names):
        from steelyard.checkpoints import numpy_files

        return numpy_files.read_npz(reader, limits)
    roots = {str(name) for name in names}
    if roots >= _KERAS or (reader.name.endswith(".keras") and "config.json" in roots):
        raise _TensorsUnread("a model of Keras")
    raise _NoTensors("the zip archive is neither a torch checkpoint nor an .npz")


def _documents(
    source: Source, limits: Limits
) -> tuple[dict[str, JsonValue], dict[str, str], list[Problem]]:
    json: dict[str, JsonValue] = {}
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    left, memory = limits, _DOCUMENT_MEMORY
    found = [f for f in source.files if _is_json_document(f.path) or _is_text_document(f.path)]
    # What lies highest comes first, so that nothing below can use up its budget.
    found.sort(key=lambda file: (file.path.count("/"), file.path))
    for number, file in enumerate(found):
        if number >= _MOST_DOCUMENTS or file.size > max(memory, 0):
            what = (
                f"more than {_MOST_DOCUMENTS} documents, or {_DOCUMENT_MEMORY} bytes of them; "
                "this one and those after are not read"
            )
            problems.append(Problem(ProblemKind.NOT_FULLY_READ, what, file.path))
            break
        try:
            with located(file.path), source.open(file.path) as reader:
                if _is_json_document(file.path):
                    value = read_json(reader, left, allow_nan=True)
                    json[file.path] = value
                    left = replace(left, json_nodes=left.json_nodes - count_values(value))
                    memory -= file.size
                else:
                    texts[file.path] = text = read_text(reader, limits)
                    memory -= sys.getsizeof(text)
        except CheckpointError as error:
            problems.append(_problem(ProblemKind.BAD_DOCUMENT, file.path, error))
    return dict(sorted(json.items())), dict(sorted(texts.items())), problems


def _is_json_document(path: str) -> bool:
    name = PurePosixPath(path).name
    return name in JSON_DOCUMENTS or name.endswith(".index.json")


def _is_text_document(path: str) -> bool:
    name = PurePosixPath(path)
    lowered = name.name.lower()
    if path == "steelyard.toml":
        return True
    if name.name == "METADATA" and name.parent.name.endswith(".dist-info"):
        return True
    if name.parent.name.lower() == "licenses":
        return True
    named = lowered.startswith(_TEXT_STEMS) or _TEXT_WORDS & set(_WORD.findall(lowered))
    return bool(named) and (name.suffix.lower() in _TEXT_SUFFIXES or name.suffix[1:].isupper())


def _is_text(path: str) -> bool:
    """Tell whether a file is a document or code by its name, so no weights."""
    return PurePosixPath(path).suffix.lower() in {
        ".css", ".csv", ".html", ".ipynb", ".js", ".json", ".jsonl", ".md", ".png", ".jpg", ".py",
        ".rst", ".svg", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml",
    }  # fmt: skip


def _problem(kind: ProblemKind, path: str, error: SteelyardError) -> Problem:
    why = f" ({error.why})" if error.why else ""
    return Problem(kind, error.what + why, error.file or path, error.offset)
