"""Control and user-defined tokens of GGUF files, found without walking all of a vocabulary."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.gguf.reader import read
from steelyard.checkpoints.gguf.tokens import TOKENS, Token, special_tokens
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.memory import BytesReader
from tests.checkpoints.gguf_files import STRING, Array, gguf_bytes, vocabulary


def found(texts: list[str], types: list[int], byteorder: str = "little") -> list[Token]:
    data = gguf_bytes(vocabulary(texts, types), byteorder=byteorder)
    reader = BytesReader("a.gguf", data)
    return list(special_tokens(reader, read(reader)))


def expected(texts: list[str], types: list[int]) -> list[Token]:
    return [
        Token(number, text, kind == 3)
        for number, (text, kind) in enumerate(zip(texts, types, strict=True))
        if kind in (3, 4)
    ]


@given(st.lists(st.tuples(st.text(max_size=4), st.integers(1, 6)), min_size=1, max_size=200))
def test_all_of_them_are_found(items: list[tuple[str, int]]) -> None:
    texts, types = [text for text, _ in items], [kind for _, kind in items]
    assert found(texts, types) == expected(texts, types)


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_long_vocabulary(order: str) -> None:
    rng = random.Random(5)  # noqa: S311  the same each time, no secret
    texts = [f"t{n}" * rng.randrange(1, 9) for n in range(5000)]
    types = [1] * 5000
    for number in (0, 63, 64, 1087, 1088, 3000, 4999):
        types[number] = rng.choice([3, 4])
    assert found(texts, types, order) == expected(texts, types)


@pytest.mark.parametrize("count", [9, 100])
def test_a_vocabulary_without_types_has_none(count: int) -> None:
    reader = BytesReader("a.gguf", gguf_bytes({TOKENS: Array(STRING, ["a"] * count)}))
    assert list(special_tokens(reader, read(reader))) == []


@pytest.mark.parametrize("count", [9, 99])
def test_types_of_other_tokens_are_refused(count: int) -> None:
    with pytest.raises(CheckpointError):
        found(["a"] * 100, [3] * count)


def test_texts_that_are_too_long_are_not_read() -> None:
    with pytest.raises(LimitExceeded):
        found(["a"] * 99 + ["b" * 1_000_001], [3] * 100)


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage_is_read_or_refused(place: int, value: int) -> None:
    data = bytearray(gguf_bytes(vocabulary(["ab"] * 90, [3, 1, 4] * 30)))
    data[place % len(data)] = value
    reader = BytesReader("a.gguf", bytes(data))
    with contextlib.suppress(CheckpointError):
        list(special_tokens(reader, read(reader)))
