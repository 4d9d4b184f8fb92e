"""The tokens of a GGUF file that are more than pieces of words: control and user-defined ones.

A vocabulary is long, and the reader of headers walks over it. Here the types of all tokens are
looked at (four bytes each), and of the vocabulary only the stretches in which a token of note lies.

Source: docs/gguf.md in ggml-org/ggml, section "Tokenizer"; `llama_token_type` of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from steelyard.checkpoints.gguf.metadata import LENGTH_SUFFIX
from steelyard.checkpoints.tensors import ArrayPlace, Checkpoint
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader

TOKENS: Final = "tokenizer.ggml.tokens"
TYPES: Final = "tokenizer.ggml.token_type"
CONTROL: Final = 3
USER_DEFINED: Final = 4
_INT32: Final = "i"
_MOST_TOKENS: Final = 4_000_000
_LONGEST_STRETCH: Final = 1_000_000
_MOST_BYTES: Final = 16_000_000
_LENGTH: Final = 8


class Token(NamedTuple):
    """One token that is no piece of words."""

    number: int
    text: str
    is_control: bool


def special_tokens(reader: ByteReader, weights: Checkpoint) -> Iterator[Token]:
    """Yield the control and user-defined tokens of a GGUF file, in order.

    Args:
        reader: The file that holds the metadata: `weights.arrays[TOKENS].file`.
        weights: What was read of its header.

    Raises:
        LimitExceeded: If there are more tokens, or longer ones, than are read.
        CheckpointError: If the types do not belong to the tokens.
    """
    if TYPES not in weights.metadata or TOKENS not in weights.metadata:
        return
    counts = {weights.metadata.get(f"{key}{LENGTH_SUFFIX}") for key in (TOKENS, TYPES)}
    tokens, types = weights.arrays.get(TOKENS), weights.arrays.get(TYPES)
    if len(counts) != 1:
        raise CheckpointError("does not have a type for each token")
    if tokens is None or types is None:
        yield from _of_few(weights)
        return
    if tokens.code or types.code.lower() != _INT32:
        raise CheckpointError("has tokens that are no texts, or types that are no numbers")
    if tokens.count > _MOST_TOKENS:
        raise LimitExceeded(f"has {tokens.count} tokens, more than {_MOST_TOKENS}")
    raw = reader.read(types.offset, types.end - types.offset)
    numbers = np.frombuffer(raw, "<i4" if types.byteorder == "little" else ">i4")
    wanted = np.flatnonzero((numbers == CONTROL) | (numbers == USER_DEFINED))
    left = _MOST_BYTES
    for start, stop in pairwise([*tokens.marks, (tokens.count, tokens.end)]):
        first, last = np.searchsorted(wanted, (start[0], stop[0]))
        if first == last:
            continue
        length = stop[1] - start[1]
        left -= length
        if length > _LONGEST_STRETCH or left < 0:
            raise LimitExceeded(f"has tokens of note amid {length} bytes, more than are read")
        stretch = reader.read(start[1], length)
        for number, text in _walked(stretch, start[0], set(wanted[first:last].tolist()), tokens):
            yield Token(number, text, bool(numbers[number] == CONTROL))


def _walked(
    stretch: bytes, number: int, wanted: set[int], place: ArrayPlace
) -> Iterator[tuple[int, str]]:
    """Walk strings that each follow their length, and yield those that are wanted."""
    order: Final = "little" if place.byteorder == "little" else "big"
    at = 0
    while at + _LENGTH <= len(stretch):
        begin = at + _LENGTH
        at = begin + int.from_bytes(stretch[at:begin], order)
        if number in wanted:
            yield number, stretch[begin:at].decode("utf-8", "replace")
        number += 1


def _of_few(weights: Checkpoint) -> Iterator[Token]:
    """Yield those of a vocabulary that is short enough to be kept whole."""
    texts, types = weights.metadata.get(TOKENS), weights.metadata.get(TYPES)
    if isinstance(texts, tuple) and isinstance(types, tuple):
        for number, (text, kind) in enumerate(zip(texts, types, strict=False)):
            if isinstance(text, str) and kind in (CONTROL, USER_DEFINED):
                yield Token(number, text, kind == CONTROL)
