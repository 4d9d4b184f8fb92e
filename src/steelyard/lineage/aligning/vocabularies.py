"""Which row of one embedding is the same token as which row of another.

By token string where both models bring their tokenizer; else by index, unless the rows say
otherwise: then by content, for a sample of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import Indices
from steelyard.lineage.aligning.matching import unit
from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats, Matrix, Weights
from steelyard.lineage.reading.stored import WithTokenizer
from steelyard.lineage.relation import Edit, EditKind

_SAMPLE: Final = 64
_FIRST: Final = 300
_MANY: Final = 512
"""Rows of the child that are searched for among those of the base."""
_FEWEST: Final = 8
_ALIKE: Final = 0.9
"""Least cosine of the rows of one token; different tokens of real models reach 0.9 in few pairs."""
_MOST: Final = 0.7
_FEW: Final = 0.01
"""Share of tokens (special ones) that may lie elsewhere without a word."""
MOST_TOKENS: Final = 4_000_000
"""Rows of a vocabulary that are told apart: more than any has, and few enough to be listed."""
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
    size = min(ours.shape[0], theirs.shape[0], MOST_TOKENS)
    same = np.arange(size, dtype=np.intp)
    alike = ours.shape[1] == theirs.shape[1]
    if alike and _agree(ours, theirs, size):
        # Tokenizers are large documents: they are read where rows alone do not settle it.
        return TokenMap(same, same, "index")
    if _have_one_tokenizer(child, base):
        return TokenMap(same, same, "strings")
    by_string = _by_string(child.tokens(), base.tokens(), ours.shape[0], theirs.shape[0])
    if by_string is not None:
        return by_string
    found = _by_content(ours, theirs, budget) if alike else None
    return found if found is not None else TokenMap(same, same, "index")


def _have_one_tokenizer(child: Weights, base: Weights) -> bool:
    if not isinstance(child, WithTokenizer) or not isinstance(base, WithTokenizer):
        return False
    digest = child.tokenizer()
    return digest is not None and digest == base.tokenizer()


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


def _agree(ours: Matrix, theirs: Matrix, size: int) -> bool:
    """Tell whether rows of the same index are alike, at several places of the vocabulary."""
    places = {min(_FIRST, max(size - _SAMPLE, 0)), size // 2, max(size - 2 * _SAMPLE, 0)}
    return size > 0 and all(_alike(ours, theirs, first) for first in places)


def _alike(ours: Matrix, theirs: Matrix, first: int) -> bool:
    a, b = _unit(ours.rows(first, _SAMPLE)), _unit(theirs.rows(first, _SAMPLE))
    count = min(len(a), len(b))
    if count == 0:
        return False
    cosines = np.einsum("ij,ij->i", a[:count], b[:count])
    others = a[:count] @ b[:count].T
    # Rows may have much in common; those of the same token stand out from it.
    common = median(others[~np.eye(count, dtype=bool)]) if count > 1 else 0.0
    return bool(np.mean(cosines > common + (1 - common) / 2) > 0.5)


def _by_content(ours: Matrix, theirs: Matrix, budget: int) -> TokenMap | None:
    """Look for a sample of the child's rows among as many rows of the base as the budget allows."""
    wide = max(ours.shape[1], 1)
    most = min(theirs.shape[0], max(budget // 2, 0) * theirs.shape[0] // max(theirs.nbytes, 1))
    sampled = min(_MANY, ours.shape[0], max(budget // 8 // (4 * wide), _SAMPLE))
    first = min(_FIRST, max(ours.shape[0] - sampled, 0))
    wanted = _unit(ours.rows(first, sampled))
    best = np.full(len(wanted), -1.0, np.float32)
    where = np.zeros(len(wanted), np.intp)
    for start in range(0, most, _PIECE):
        alike = wanted @ _unit(theirs.rows(start, min(_PIECE, most - start))).T
        top = alike.argmax(axis=1)
        value = alike[np.arange(len(wanted)), top]
        better = value > best
        best[better], where[better] = value[better], start + top[better]
    sure = best > _ALIKE
    expected = len(wanted) * most / max(theirs.shape[0], 1)
    distinct = len(np.unique(where[sure]))
    if sure.sum() < max(_MOST * expected, _FEWEST) or distinct < sure.sum() * _MOST:
        return None
    rows = first + np.flatnonzero(sure)
    return TokenMap(rows.astype(np.intp), where[sure], "content")


def _unit(rows: Floats) -> Floats:
    """Return centered rows of length one; rows of zeros and of NaN stay zeros."""
    # Twice of length one: the largest floats overflow in a mean.
    even = unit(rows)
    return unit(even - even.mean(axis=1, keepdims=True))


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
