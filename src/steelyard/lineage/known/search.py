"""Find the few entries of a large registry that may be relatives, before any exact test.

A sketch has a signature: 1,024 bits for each of a few parts of it (rows of the embedding, neurons
of the first two sampled layers, and how those neurons answer to tokens). A bit is the sign of a
sum of elements with random signs (Charikar, *Similarity estimation techniques from rounding
algorithms*, STOC 2002, section 3), where sign and sum belong to a row and a column, never to a
model. So two signatures can be compared that never met: of parts with cosine c, a share
`1 - acos(c) / pi` of the bits agrees; of independent ones half does.

Several parts, because what disguises one leaves another: neurons survive another order of the
vocabulary, the embedding survives another order of the neurons, answers to tokens survive a
rotation of the hidden space. Layers are compared with layers of another number, too. Nothing here
is evidence: whoever is found is tested exactly, and whoever changed all three is not found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats

Signature = NDArray[np.uint64]
"""`WORDS` words; those of a part that a model does not have are zero."""
Signatures = NDArray[np.uint64]
"""`WORDS` rows with a column for each entry: a scan reads each row from end to end."""

BITS: Final = 1024
"""Bits for each part."""
KINDS: Final = ("embedding", "neurons", "neurons", "answers", "answers")
"""The parts in the order of their words."""
_PART_WORDS: Final = BITS // 64
WORDS: Final = _PART_WORDS * len(KINDS)
_SUMS_OF_ELEMENT: Final = 4
"""Sums that each element takes part in, so that small models fill all of them, too."""
_FEWEST: Final = 1024
"""Elements of the smallest part that gets bits; below, most sums would be empty."""
_ROUNDING: Final = 1e-6
"""What is left of numbers that are all the same, beside numbers of size one."""
_MOST_ROWS: Final = 64
_MOST_COLUMNS: Final = 512
_COUNTED: Final = 3
"""Words whose differing bits are counted in eight bits, which is quicker than in sixteen."""
_CHUNK: Final = 16_384
"""Entries at a time: what lies between two steps stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What of a sketch goes into its signature; each a matrix of up to 64 x 512 elements."""

    embedding: Floats | None = None
    """Tokens x hidden dimensions."""
    neurons: Sequence[Floats] = ()
    """Neurons x hidden dimensions (or their projection) of the first sampled layers."""
    answers: Sequence[Floats] = ()
    """Neurons x tokens of the same layers."""


def signature(parts: Parts) -> Signature:
    """Return the signature; words of parts that are missing, too small or constant are zero."""
    found = np.zeros(WORDS, np.uint64)
    given = {
        "embedding": [] if parts.embedding is None else [parts.embedding],
        "neurons": list(parts.neurons),
        "answers": list(parts.answers),
    }
    for slot, kind in enumerate(KINDS):
        if given[kind]:
            start = slot * _PART_WORDS
            found[start : start + _PART_WORDS] = _bits(given[kind].pop(0), KINDS.index(kind))
    return found


def _bits(matrix: Floats, kind: int) -> Signature:
    """Return the bits of one part."""
    none = np.zeros(_PART_WORDS, np.uint64)
    if matrix.ndim != 2:
        return none
    part = matrix[:_MOST_ROWS, :_MOST_COLUMNS].astype(np.float64)
    if part.size < _FEWEST or not np.isfinite(part).all():
        return none
    part = _in_proportion(part)
    # What all rows have in common is not the model's own.
    part -= part.mean(axis=0)
    if np.square(part).mean() <= _ROUNDING:
        return none
    sums = np.zeros(BITS)
    for keys in _keys(kind, part.shape):
        signs = np.where(keys >> np.uint64(63), -1.0, 1.0)
        places = (keys & np.uint64(BITS - 1)).astype(np.intp)
        sums += np.bincount(places.ravel(), (part * signs).ravel(), BITS)
    return np.packbits(sums > 0, bitorder="little").view("<u8").astype(np.uint64)


def _in_proportion(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of mean 0 and length 1: a neuron scaled by some factor is the same neuron.

    Rows that are constant become zeros.
    """
    largest = np.abs(part).max(axis=1, keepdims=True)
    part = np.divide(part, largest, out=np.zeros_like(part), where=largest > 0)
    part -= part.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
    result: NDArray[np.float64] = np.divide(
        part, size, out=np.zeros_like(part), where=size > _ROUNDING
    )
    return result


def _keys(kind: int, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint64]]:
    """Yield a random word for each element: its top bit is the sign, its low bits the sum.

    The words are SplitMix64's (Steele, Lea and Flood, OOPSLA 2014) at a counter made of part,
    turn, row and column, so that an element has the same word in a matrix of any size.
    """
    row, column = np.ogrid[: shape[0], : shape[1]]
    places = (row * _MOST_COLUMNS + column).astype(np.uint64)
    for turn in range(_SUMS_OF_ELEMENT):
        first = (kind * _SUMS_OF_ELEMENT + turn) * _MOST_ROWS * _MOST_COLUMNS
        word: NDArray[np.uint64] = (places + np.uint64(first + 1)) * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        yield word ^ (word >> np.uint64(31))


def agreements(query: Signature, block: Signatures) -> NDArray[np.float32]:
    """Return for each entry how well its best part agrees with the query's: 1 all, 0 by chance.

    Args:
        query: The signature to look for.
        block: `WORDS` x entries; may be mapped memory, which is read once from end to end.
    """
    entries = block.shape[1]
    found = np.full(entries, -1.0, np.float32)
    pairs = _pairs(query)
    for start in range(0, entries, _CHUNK):
        piece = block[:, start : start + _CHUNK]
        differ = np.full(piece.shape[1], BITS, np.uint16)
        for own, other in pairs:
            np.minimum(differ, _differences(query, own, piece, other), out=differ)
        found[start : start + _CHUNK] = 1 - np.float32(2 / BITS) * differ
    return found


def _differences(query: Signature, own: int, piece: Signatures, other: int) -> NDArray[np.uint16]:
    """Count the bits of one part that differ, for each entry."""
    total = np.zeros(piece.shape[1], np.uint16)
    unlike = np.empty(piece.shape[1], np.uint64)
    counted = np.empty(piece.shape[1], np.uint8)
    for word in range(0, _PART_WORDS, _COUNTED):
        few = np.zeros(piece.shape[1], np.uint8)
        for each in range(word, min(word + _COUNTED, _PART_WORDS)):
            np.bitwise_xor(
                piece[other * _PART_WORDS + each], query[own * _PART_WORDS + each], out=unlike
            )
            few += np.bitwise_count(unlike, out=counted)
        total += few
    return total


def _pairs(query: Signature) -> list[tuple[int, int]]:
    """Return which parts of the query are compared with which parts of an entry."""
    there = [bool(words.any()) for words in query.reshape(len(KINDS), _PART_WORDS)]
    return [
        (own, other)
        for own, kind in enumerate(KINDS)
        for other, its in enumerate(KINDS)
        if there[own] and kind == its
    ]


def threshold(entries: int, *, false_hits: float = 1.0) -> float:
    """Return the agreement that independent entries exceed `false_hits` times in all, at most.

    Hoeffding's bound (*JASA* 58, 1963) for `BITS` signs, over all pairs of parts that are
    compared. A false hit costs one exact test, and decides nothing.
    """
    compared = max(entries, 1) * sum(KINDS.count(kind) for kind in KINDS)
    return math.sqrt(2 * max(math.log(compared / false_hits), 0.0) / BITS)


def cosine(agreement: float) -> float:
    """Return the cosine between two parts that their bits' agreement tells."""
    return math.sin(math.pi / 2 * agreement)


def candidates(
    query: Signature, block: Signatures, most: int
) -> tuple[NDArray[np.intp], int, NDArray[np.float32]]:
    """Return who agrees best (best first), how many exceed the threshold, and their agreement.

    Entries below the threshold are among the first, too, where there is room: whether what is
    left of their likeness means something is for the exact test to tell.
    """
    if not block.shape[1] or not query.any():
        return np.zeros(0, np.intp), 0, np.zeros(0, np.float32)
    agreeing = agreements(query, block)
    hits = int((agreeing > threshold(block.shape[1])).sum())
    most = min(most, len(agreeing))
    # A stable order, so that equal agreements come out the same on every machine.
    edge = np.partition(agreeing, len(agreeing) - most)[len(agreeing) - most]
    within = np.flatnonzero(agreeing >= edge)
    best = within[np.argsort(-agreeing[within], kind="stable")][:most]
    return best, hits, agreeing[best]
