"""Token strings by row of the embedding, from the tokenizer that lies beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from steelyard.checkpoints import gguf
from steelyard.checkpoints.documents import JsonValue, read_json, read_text
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError

_MOST: Final = 2_000_000
_LARGEST_ID: Final = 16_000_000
_LIMITS: Final = replace(DEFAULT_LIMITS, document_bytes=64_000_000, json_nodes=8_000_000)


def read_tokens(model: Model) -> tuple[str, ...] | None:
    """Return the token strings by row; None where no tokenizer is there or it cannot be read.

    Read are `tokenizer.json` (its `model.vocab` and `added_tokens`), `vocab.json`, `vocab.txt`
    and a GGUF file's `tokenizer.ggml.tokens`. Rows without a token are empty strings.

    Raises:
        SourceError: If the bytes cannot be fetched.
    """
    main = model.main
    if main is None:
        return None
    if main.format == "gguf":
        return _from_gguf(model, main.files[0])
    folder = main.files[0].rpartition("/")[0]
    listed = {file.path for file in model.source.files}
    for name in ("tokenizer.json", "vocab.json", "vocab.txt"):
        path = f"{folder}/{name}" if folder else name
        if path not in listed:
            continue
        try:
            with model.source.open(path) as reader:
                if name == "vocab.txt":
                    return tuple(read_text(reader, _LIMITS).splitlines()[:_MOST]) or None
                found = _rows(read_json(reader, _LIMITS))
        except CheckpointError:
            continue
        if found:
            return found
    return None


def _from_gguf(model: Model, path: str) -> tuple[str, ...] | None:
    try:
        with model.source.open(path) as reader:
            header = gguf.read(reader, replace(DEFAULT_LIMITS, kept_items=_MOST))
    except CheckpointError:
        return None
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, tuple) or not all(isinstance(token, str) for token in tokens):
        return None
    return tuple(str(token) for token in tokens) or None


def _rows(document: JsonValue) -> tuple[str, ...] | None:
    """Order the tokens of a tokenizer by their number."""
    if not isinstance(document, Mapping):
        return None
    inner = document.get("model")
    held = inner.get("vocab") if isinstance(inner, Mapping) else document
    found: dict[int, str] = {}
    if isinstance(held, Mapping):
        found = {_number(row): token for token, row in held.items() if _is_row(row)}
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


def _is_row(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_ID


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
