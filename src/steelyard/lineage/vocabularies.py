"""Which row of one embedding is the same token as which row of another.

By token string where both models bring their tokenizer; else by index, unless the rows say
otherwise: then by content, for a sample of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from steelyard.lineage.alignment import Indices
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.relation import Edit, EditKind

_SAMPLE: Final = 64
_FIRST: Final = 300
_ALIKE: Final = 0.8
_MOST: Final = 0.9
_FEW: Final = 0.01
"""Share of tokens (special ones) that may lie elsewhere without a word."""
_PIECE: Final = 4096
"""Rows of the base that are held at a time while they are searched."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenMap:
    """Rows of the same tokens, sorted by the child's row."""

    child: Indices
    base: Indices
    by: str
    """`strings`, `index` or `content`."""

    @property
    def moved(self) -> int:
        """Count the tokens that are out of the base's order.

        Tokens that only shift because others were dropped or added before them keep the order.
        """
        if len(self.base) < 2:
            return 0
        highest = np.maximum.accumulate(self.base)
        behind = int(np.count_nonzero(self.base < highest))
        return behind if behind > _FEW * len(self.base) else 0


def match_tokens(child: Weights, base: Weights, *, budget: int) -> TokenMap | None:
    """Find the rows of the same tokens; None where an embedding is missing or nothing matches.

    Args:
        child: The model whose origin is asked.
        base: The model it may come from.
        budget: Most bytes to read of the base's embedding to find rows by content.
    """
    ours, theirs = child.matrix("embedding"), base.matrix("embedding")
    if ours is None or theirs is None or len(ours.shape) != 2 or len(theirs.shape) != 2:
        return None
    by_string = _by_string(child.tokens(), base.tokens(), ours.shape[0], theirs.shape[0])
    if by_string is not None:
        return by_string
    size = min(ours.shape[0], theirs.shape[0])
    same = np.arange(size, dtype=np.intp)
    if ours.shape[1] != theirs.shape[1] or _agree(ours, theirs):
        return TokenMap(same, same, "index")
    if theirs.nbytes > budget:
        return None
    return _by_content(ours, theirs)


def _by_string(
    child: tuple[str, ...] | None, base: tuple[str, ...] | None, rows: int, base_rows: int
) -> TokenMap | None:
    if not child or not base:
        return None
    places = {token: row for row, token in enumerate(base[:base_rows])}
    found = [(row, places[token]) for row, token in enumerate(child[:rows]) if token in places]
    if len(found) < min(_SAMPLE, len(child)):
        return None
    both = np.array(found, dtype=np.intp)
    return TokenMap(both[:, 0], both[:, 1], "strings")


def _agree(ours: Matrix, theirs: Matrix) -> bool:
    """Tell whether rows of the same index are alike."""
    size = min(ours.shape[0], theirs.shape[0])
    first = min(_FIRST, max(size - _SAMPLE, 0))
    a, b = _unit(ours.rows(first, _SAMPLE)), _unit(theirs.rows(first, _SAMPLE))
    count = min(len(a), len(b))
    if count == 0:
        return False
    alike = np.einsum("ij,ij->i", a[:count], b[:count])
    return bool(np.mean(alike > _ALIKE) > 0.5)


def _by_content(ours: Matrix, theirs: Matrix) -> TokenMap | None:
    """Look for a sample of the child's rows among all rows of the base."""
    first = min(_FIRST, max(ours.shape[0] - _SAMPLE, 0))
    wanted = _unit(ours.rows(first, _SAMPLE))
    best = np.full(len(wanted), -1.0, np.float32)
    where = np.zeros(len(wanted), np.intp)
    for start in range(0, theirs.shape[0], _PIECE):
        alike = wanted @ _unit(theirs.rows(start, _PIECE)).T
        top = alike.argmax(axis=1)
        value = alike[np.arange(len(wanted)), top]
        better = value > best
        best[better], where[better] = value[better], start + top[better]
    sure = best > _ALIKE
    if sure.mean() < _MOST or len(np.unique(where[sure])) < sure.sum() * _MOST:
        return None
    rows = first + np.flatnonzero(sure)
    return TokenMap(rows.astype(np.intp), where[sure], "content")


def _unit(rows: Floats) -> Floats:
    """Return centered rows of length one; rows of zeros and of NaN stay zeros."""
    clean = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    centered = clean - clean.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    result: Floats = centered / np.where(length > 0, length, 1)
    return result


def vocabulary_edits(child: Weights, base: Weights, tokens: TokenMap | None) -> tuple[Edit, ...]:
    """Tell whether tokens were added, dropped or moved."""
    ours, theirs = child.sizes.vocabulary, base.sizes.vocabulary
    if ours is None or theirs is None or tokens is None:
        return ()
    edits = []
    moved = tokens.moved
    if moved > 0:
        share = moved / len(tokens.child)
        edits.append(
            Edit(
                EditKind.VOCAB_PERMUTED,
                f"{_count(share, tokens)} of the tokens are out of the base's order",
                {"moved": moved, "of": len(tokens.child), "by": tokens.by},
            )
        )
    if ours > theirs:
        summary = f"{ours - theirs:,} rows were added to the vocabulary of {theirs:,}"
        edits.append(Edit(EditKind.VOCAB_EXTENDED, summary, {"rows": ours - theirs, "of": theirs}))
    elif ours < theirs:
        summary = f"{theirs - ours:,} of {theirs:,} rows of the vocabulary were dropped"
        edits.append(Edit(EditKind.VOCAB_TRIMMED, summary, {"rows": theirs - ours, "of": theirs}))
    return tuple(edits)


def _count(share: float, tokens: TokenMap) -> str:
    told = f"{share:.0%}" if share < 0.995 else "all"
    return f"{told} (of {len(tokens.child)} sampled)" if tokens.by == "content" else told
