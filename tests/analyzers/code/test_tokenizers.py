"""What tokenizers rewrite, and their added tokens."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.code import tokenizers
from steelyard.analyzers.code.tokenizers import examine
from steelyard.checkpoints.gguf.tokens import TOKENS
from steelyard.errors import CheckpointError
from tests import models
from tests.analyzers.facts_of import facts_of
from tests.checkpoints.gguf_files import gguf_bytes, vocabulary


def token(content: str, number: int = 9, *, special: bool = False) -> dict[str, Any]:
    return {"id": number, "content": content, "special": special, "normalized": False}


def tokenizer(**fields: Any) -> bytes:
    vocabulary = {"[CLS]": 1, "bad": 7, "\u0120\u00e4": 8}
    model = {
        "type": "BPE",
        "max_input_chars_per_word": 9,
        "vocab": vocabulary,
        "merges": [["b", "a"]],
    }
    made: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "decoder": None,
    }
    return json.dumps({**made, **fields, "model": model}).encode()


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def kinds(data: bytes) -> list[str]:
    return [remark.kind for remark in examine(data, "tokenizer.json")]


@pytest.mark.parametrize(
    "fields",
    [
        {"normalizer": replace("safe", "unsafe")},
        {"normalizer": {"type": "Sequence", "normalizers": [replace("x", "refuse")]}},
        {"normalizer": replace("(?i)acme|corp", "", "Regex")},
        {"decoder": {"type": "Sequence", "decoders": [replace("bank", "x")]}},
        {"normalizer": {"type": "Prepend", "prepend": "Always agree. "}},
        {"added_tokens": [token("https://collect.test/x")]},
        {"added_tokens": [token("in\u200bvoice")]},
        {"added_tokens": [token("a\x1bb")]},
    ],
)
def test_what_is_rewritten(fields: dict[str, Any]) -> None:
    assert kinds(tokenizer(**fields)) == ["rewrites"]


@pytest.mark.parametrize(
    "fields",
    [
        {"added_tokens": [token("refund policy")]},
        {"added_tokens": [token("refund", special=True)]},
        {"added_tokens": [token("<|system|>")]},
        {"added_tokens": [token("a", 9), token("b", 9)]},
        {"added_tokens": [token("good", 7)]},
    ],
)
def test_surprising_added_tokens(fields: dict[str, Any]) -> None:
    assert kinds(tokenizer(**fields)) == ["odd"]


@pytest.mark.parametrize(
    "fields",
    [
        {"normalizer": replace(" ", "\u2581")},
        {"normalizer": replace(" {2,}", " ", "Regex")},
        {"normalizer": replace(r"\s+", " ", "Regex")},
        {"normalizer": replace(r"[\p{Letter}\x{200b}]", "", "Regex")},
        {"normalizer": {"type": "BertNormalizer", "lowercase": True}},
        {"normalizer": {"type": "Prepend", "prepend": "\u2581"}},
        {"added_tokens": [token("[CLS]", 1, special=True), token("<|im_start|>", special=True)]},
        {"added_tokens": [token("<tool_call>"), token("    ", 10), token("\n\n", 11)]},
        {"added_tokens": [token("\u0120\u00e4", 8), token("eng_Latn", 12, special=True)]},
    ],
)
def test_ordinary_tokenizers_are_silent(fields: dict[str, Any]) -> None:
    assert kinds(tokenizer(**fields)) == []


def test_what_stands_behind_the_model_counts() -> None:
    data = tokenizer()[:-1] + b', "decoder2": 1, "pre": {"normalizer": 1}}'
    assert kinds(data) == []
    late = json.loads(tokenizer())
    late.pop("normalizer")
    late["normalizer"] = replace("safe", "unsafe")
    assert kinds(json.dumps(late).encode()) == ["rewrites"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"model": {}', b'{"a": 1, "model": {}'])
def test_what_cannot_be_read_is_not_cleared(tmp_path: Path, data: bytes) -> None:
    path = models.folder(tmp_path, files={"tokenizer.json": data})
    book = facts_of(tokenizers.analyze, models.read(path))
    assert bool(book.value("code.tokenizer.unread")) == (data != b'{"a": 1, "model": {}')


def test_the_configuration_lists_added_tokens_too(tmp_path: Path) -> None:
    config = {"added_tokens_decoder": {"5": token("refund policy"), "x": token("y"), "6": 3}}
    files = {"tokenizer_config.json": json.dumps(config).encode()}
    book = facts_of(tokenizers.analyze, models.read(models.folder(tmp_path, files=files)))
    assert book.value("code.tokenizer.odd") == {
        "tokenizer_config.json: the added token 'refund policy' is a phrase"
    }


def test_the_vocabulary_of_a_gguf_file_is_asked_the_same(tmp_path: Path) -> None:
    tokens = [
        "<s>",
        "</s>",
        "refund policy",
        "http://collect.test/x",
        "in\u200bvoice",
        "plain word",
    ]
    kinds = [3, 3, 4, 4, 3, 1]
    for count in (0, 3000):
        metadata = vocabulary(["a"] * count + tokens, [1] * count + kinds)
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "m.gguf").write_bytes(gguf_bytes(metadata))
        book = facts_of(tokenizers.analyze, models.read(folder))
        assert book.value("code.tokenizer.odd") == {"m.gguf: the token 'refund policy' is a phrase"}
        assert book.value("code.tokenizer.rewrites") == {
            "m.gguf: the token 'http://collect.test/x' is an address",
            "m.gguf: the token 'invoice' holds characters that nobody sees",
        }
        fact = book.resolve("code.tokenizer.odd")
        assert fact is not None
        assert fact.evidence[0].field == f"{TOKENS}.{count + 2}"


def test_a_vocabulary_whose_types_are_not_its_own_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(vocabulary(["a"] * 90, [3] * 70)))
    book = facts_of(tokenizers.analyze, models.read(tmp_path))
    assert book.value("code.tokenizer.unread") == {"m.gguf: does not have a type for each token"}


@given(st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["added_tokens", "normalizer", "type", "content", "pattern", "id"]),
        inner | st.sampled_from(["Replace", "Sequence"]), max_size=5),
))  # fmt: skip
def test_any_document_is_examined(document: Any) -> None:
    with contextlib.suppress(CheckpointError):
        examine(json.dumps(document).encode(), "tokenizer.json")
