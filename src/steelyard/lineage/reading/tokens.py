"""Token strings by row of the embedding, from the tokenizer that lies beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from blake3 import blake3

from steelyard.checkpoints import gguf
from steelyard.checkpoints.documents import JsonValue, read_json, read_text
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.onnx.protobuf import LEN, Wire
from steelyard.errors import CheckpointError
from steelyard.sources.base import ByteReader
from steelyard.sources.memory import BytesReader

_MOST: Final = 2_000_000
_LARGEST_MODEL: Final = 32_000_000
_LONGEST: Final = 4096
_LARGEST_ID: Final = 16_000_000
_LIMITS: Final = replace(DEFAULT_LIMITS, document_bytes=64_000_000, json_nodes=8_000_000)


class Tokenizer:
    """What lies beside the weights of a model and names its tokens; read when it is asked for.

    Read are `tokenizer.json` (its `model.vocab` and `added_tokens`), `vocab.json`, `vocab.txt`,
    the pieces of SentencePiece (`tokenizer.model`, `spiece.model`) and a GGUF file's
    `tokenizer.ggml.tokens`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._left = self._documents()

    @cached_property
    def digest(self) -> bytes | None:
        """Return the BLAKE3 digest of the first document; None where there is none of its own.

        Raises:
            SourceError: If the bytes cannot be fetched.
        """
        first = self._first
        return None if first is None else blake3(first.view(0, first.size)).digest()

    @cached_property
    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row, empty ones where a row has none; None if none are known.

        Raises:
            SourceError: If the bytes cannot be fetched.
        """
        main = self._model.main
        if main is not None and main.format == "gguf":
            return _from_gguf(self._model, main.files[0])
        if self._first is None:
            return None
        return next(filter(None, map(_parsed, chain((self._first,), self._left))), None)

    @cached_property
    def _first(self) -> BytesReader | None:
        return next(self._left, None)

    def _documents(self) -> Iterator[BytesReader]:
        """Read each document that may tell, the best first."""
        main = self._model.main
        if main is None or main.format == "gguf":
            return
        folder = PurePosixPath(main.files[0]).parent
        listed = {file.path for file in self._model.source.files}
        for name in _READERS:
            path = str(folder / name)
            if path not in listed:
                continue
            with self._model.source.open(path) as reader:
                if reader.size > _LIMITS.document_bytes:
                    continue
                data = reader.read(0, reader.size)
            yield BytesReader(path, data)


def _parsed(document: BytesReader) -> tuple[str, ...] | None:
    try:
        return _READERS[PurePosixPath(document.name).name](document)
    except CheckpointError:
        return None


def _lines(reader: ByteReader) -> tuple[str, ...] | None:
    return tuple(read_text(reader, _LIMITS).splitlines()[:_MOST]) or None


def _pieces(reader: ByteReader) -> tuple[str, ...] | None:
    """Read the pieces of a SentencePiece model: field 1 of it, of which field 1 is the string."""
    if reader.size > _LARGEST_MODEL:
        return None
    wire = Wire(reader)
    whole = wire.whole()
    found = []
    for field in wire.fields(whole):
        if (field.number, field.wire) != (1, LEN):
            continue
        inner = wire.fields(whole.inner(field))
        named = [part for part in inner if (part.number, part.wire) == (1, LEN)]
        found.append(wire.text(named[0], _LONGEST, "a piece") if named else "")
    return tuple(found) or None


def _from_gguf(model: Model, path: str) -> tuple[str, ...] | None:
    try:
        with model.source.open(path) as reader:
            header = gguf.read(reader, replace(DEFAULT_LIMITS, kept_items=_MOST))
    except CheckpointError:
        return None
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, tuple) or not all(isinstance(token, str) for token in tokens):
        return None
    strings = tuple(str(token) for token in tokens)
    if header.metadata.get("tokenizer.ggml.model") == "bert":
        strings = tuple(_word_piece(token) for token in strings)
    return strings or None


def _word_piece(token: str) -> str:
    """Undo what llama.cpp's converter did to a piece: it marks beginnings, not continuations.

    Source: `set_vocab` of the BERT models in convert_hf_to_gguf.py.
    """
    if token.startswith("\u2581"):
        return token[1:]
    return token if token.startswith("[") and token.endswith("]") else f"##{token}"


def _rows(document: JsonValue) -> tuple[str, ...] | None:
    """Order the tokens of a tokenizer by their number."""
    if not isinstance(document, Mapping):
        return None
    inner = document.get("model")
    held = inner.get("vocab") if isinstance(inner, Mapping) else document
    found: dict[int, str] = {}
    if isinstance(held, Mapping):
        found = _by_row(held)
    elif isinstance(held, list):
        # A unigram tokenizer lists [token, score] by row.
        pieces = [item[0] if isinstance(item, list) and item else "" for item in held[:_MOST]]
        found = {row: token for row, token in enumerate(pieces) if isinstance(token, str)}
    added = document.get("added_tokens")
    for item in added if isinstance(added, list) else ():
        if isinstance(item, Mapping) and _is_row(item.get("id")):
            content = item.get("content")
            if isinstance(content, str):
                found[_number(item["id"])] = content
    if not found or max(found) > 4 * len(found) + 1024:
        return None
    return tuple(found.get(row, "") for row in range(max(found) + 1))


def _by_row(held: Mapping[str, JsonValue]) -> dict[int, str]:
    """Turn a vocabulary around: token to number becomes number to token."""
    # Two calls for each of a quarter of a million tokens take longer than to parse them.
    numbers = [row for row in held.values() if type(row) is int]
    if (
        len(numbers) == len(held)
        and 0 <= min(numbers, default=0) <= max(numbers, default=0) < _LARGEST_ID
    ):
        return dict(zip(numbers, held, strict=True))
    return {_number(row): token for token, row in held.items() if _is_row(row)}


def _is_row(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_ID


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


_READERS: Final[Mapping[str, Callable[[ByteReader], tuple[str, ...] | None]]] = MappingProxyType(
    {
        "tokenizer.json": lambda reader: _rows(read_json(reader, _LIMITS)),
        "vocab.json": lambda reader: _rows(read_json(reader, _LIMITS)),
        "vocab.txt": _lines,
        "tokenizer.model": _pieces,
        "spiece.model": _pieces,
    }
)
"""What is looked for beside the weights, and how it is read."""
