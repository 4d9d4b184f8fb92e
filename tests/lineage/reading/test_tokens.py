"""Token strings by row, from whatever tokenizer lies beside the weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from steelyard.checkpoints.opening import read_model
from steelyard.lineage.reading.tokens import Tokenizer
from steelyard.sources.local import open_local
from tests.checkpoints import gguf_files
from tests.checkpoints.gguf_files import Array, Value, Weights, gguf_bytes
from tests.models import write

WEIGHTS = save({"model.embed_tokens.weight": np.zeros((4, 8), np.float32)})
TOKENS = ("<unk>", "\u2581the", "ing", "\u2581a")


def tokenizer(folder: Path, files: dict[str, bytes]) -> Tokenizer:
    weights = {} if "model.gguf" in files else {"model.safetensors": WEIGHTS}
    return Tokenizer(read_model(open_local(str(write(folder, weights | files)))))


def tokens(folder: Path, files: dict[str, bytes]) -> tuple[str, ...] | None:
    return tokenizer(folder, files).tokens


def message(number: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def sentence_pieces() -> bytes:
    """Write pieces with a score and a type each, and a trainer's settings behind."""
    score = b"\x15\x00\x00\x80\xbf\x18\x01"
    pieces = [message(1, message(1, token.encode()) + score) for token in TOKENS]
    return b"".join(pieces) + message(2, b"\x08\x01")


PIECES = sentence_pieces()
BY_NUMBER = {token: row for row, token in enumerate(TOKENS)}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer.json", json.dumps({"model": {"vocab": BY_NUMBER}}).encode()),
        ("tokenizer.json", json.dumps({"model": {"vocab": [[t, -1.0] for t in TOKENS]}}).encode()),
        ("vocab.json", json.dumps(BY_NUMBER).encode()),
        ("vocab.txt", "\n".join(TOKENS).encode()),
        ("tokenizer.model", sentence_pieces()),
        ("spiece.model", sentence_pieces()),
    ],
)
def test_every_tokenizer_gives_its_strings_by_row(name: str, data: bytes, tmp_path: Path) -> None:
    assert tokens(tmp_path, {name: data}) == TOKENS


def test_added_tokens_take_their_rows(tmp_path: Path) -> None:
    data = {"model": {"vocab": BY_NUMBER}, "added_tokens": [{"id": 5, "content": "<|end|>"}]}
    found = tokens(tmp_path, {"tokenizer.json": json.dumps(data).encode()})
    assert found == (*TOKENS, "", "<|end|>")


def in_gguf(kind: str, strings: tuple[str, ...]) -> dict[str, bytes]:
    metadata: dict[str, Value] = {
        "general.architecture": "bert",
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": Array(gguf_files.STRING, list(strings)),
    }
    return {"model.gguf": gguf_bytes(metadata, [Weights("token_embd.weight", 0, (1,), bytes(4))])}


def test_a_gguf_file_carries_its_own(tmp_path: Path) -> None:
    assert tokens(tmp_path, in_gguf("llama", TOKENS)) == TOKENS


def test_word_pieces_are_written_as_they_were_published(tmp_path: Path) -> None:
    converted = ("[CLS]", "\u2581the", "ing", "\u2581[", "\u2581##")
    found = tokens(tmp_path, in_gguf("bert", converted))
    assert found == ("[CLS]", "the", "##ing", "[", "##")


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\x0a\x7fshort", sentence_pieces()[:-40]])
def test_a_damaged_tokenizer_tells_nothing_wrong(data: bytes, tmp_path: Path) -> None:
    found = tokens(tmp_path, {"tokenizer.model": data})
    assert found is None or found == TOKENS[: len(found)]


def test_the_next_best_is_read_where_one_is_damaged(tmp_path: Path) -> None:
    files = {"tokenizer.json": b"{", "tokenizer.model": sentence_pieces()}
    assert tokens(tmp_path, files) == TOKENS


def test_the_digest_is_of_the_best_document(tmp_path: Path) -> None:
    one, two = sentence_pieces(), sentence_pieces()[:-3]
    digests = [
        tokenizer(tmp_path / name, files).digest
        for name, files in {
            "first": {"tokenizer.model": one},
            "same": {"tokenizer.model": one, "spiece.model": two},
            "other": {"tokenizer.model": two, "spiece.model": one},
            "none": {},
            "gguf": in_gguf("llama", TOKENS),
        }.items()
    ]
    assert digests[0] == digests[1] != digests[2]
    assert digests[3:] == [None, None]


def test_a_document_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"tokenizer.json": b"{}"})
    with (tmp_path / "tokenizer.json").open("r+b") as file:
        file.truncate(64_000_001)
    assert tokens(tmp_path, {"tokenizer.model": PIECES}) == TOKENS
