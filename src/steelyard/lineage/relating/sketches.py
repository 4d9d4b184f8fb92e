"""Take the sketch of a model, and lay two sketches side by side.

A sketch keeps what the fixed-point test needs and nothing else: 64 rows of the embedding (and of
the head, if it has its own), the first units of up to 32 layers, how they respond to the 64 tokens,
and what the attention of those layers writes to 16 hidden dimensions; of models without such
layers, the first rows of their largest matrices. What a unit weighs is kept as 64 sums with fixed
signs, so a sketch has about 100 KB whatever the model.

The more layers there are, the fewer units of each are kept: 64 of up to 8 layers, 32 of up to 16,
else 16. Sixteen units in place are still one chance in 10^13, and a map of all layers tells more
than certainty about some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from steelyard.lineage.aligning.alignment import FIRST_TOKEN, Indices, spread
from steelyard.lineage.floats import finite
from steelyard.lineage.matrix import Floats, Matrix, Weights, cost_of_rows
from steelyard.lineage.relating.exchangeability import BLOCK, is_constant_basis
from steelyard.lineage.relating.measured import (
    DIMENSIONS,
    ROWS,
    WRITER,
    WRITER_ROWS,
    Columns,
    Measured,
    Reading,
    Units,
    cost_of_units,
    unit_matrix,
    unit_role,
)
from steelyard.lineage.relating.sketch_format import (
    MOST_LAYERS,
    MOST_TEXT,
    SUMS,
    KeptColumns,
    KeptUnits,
    Packed,
    Sketch,
)

__all__ = ["BUDGET", "Sketch", "beside", "same_tokens", "sketch_of"]

BUDGET: Final = 16_000_000
"""Bytes that a sketch reads of layers and of matrices without a name, unless told otherwise."""
FEWEST_TOKENS: Final = 8
"""Tokens in common that suffice to compare hidden dimensions, where both know their tokens."""
_MOST_LAYERS: Final = 32
_FEWEST_UNITS: Final = 16
_MOST_TENSORS: Final = 16
_TENSOR_ROWS: Final = 32
_SMALLEST_SIDE: Final = 16
"""Rows and columns of the smallest matrix without a name that is kept: fewer prove nothing."""
_LOOKED_AT: Final = 64
"""Matrices without a name, the largest ones, whose rows are read before some are chosen."""
_LISTED: Final = frozenset(
    {"embedding", "output_head", "position_embedding", "token_type_embedding"}
)
"""Roles whose rows are tokens, positions or kinds, which are numbered alike in all models."""
_SIGNS: Final = b"steelyard sketch: signs of sums"


def sketch_of(
    weights: Weights,
    *,
    layers: bool = True,
    budget: int = BUDGET,
    like: Sketch | None = None,
    strings: bool = True,
) -> Sketch:
    """Take the sketch of a model.

    Args:
        weights: The model.
        layers: Whether to read more than the embedding.
        budget: Most bytes to read of layers and of matrices without a name.
        like: A sketch of another model, at whose tokens and with whose kind of units this one is
            to be taken: by the tokens' texts where both tell them, else by the same rows.
        strings: Whether to read the tokenizer for the texts of the tokens, which may take longer
            than all else; a search reads it later where it may tell something.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    rows, tokens = _tokens(weights, like, strings)
    role = _role(weights, like) if layers else None
    chosen, count = _layers(weights, role, budget) if role else ([], 0)
    reading = Reading(weights, rows, role=role, layers=chosen, count=count)
    units = tuple(_kept(each, layer) for layer, each in reading.units().items())
    return Sketch(
        weights.sizes,
        tuple(_plain(name) for name in weights.layers[:MOST_LAYERS]),
        tuple(int(row) for row in rows),
        tokens,
        _packed(reading.columns("embedding")),
        _packed(reading.columns("output_head")) if layers else None,
        role if units else None,
        units,
        tuple(_kept(each, layer) for layer, each in reading.writers().items()),
        tuple(_tensors(weights, budget)) if layers and not units else (),
    )


def _tokens(
    weights: Weights, like: Sketch | None, strings: bool
) -> tuple[Indices, tuple[str, ...] | None]:
    """Choose the rows of the embedding, and return their tokens where they are known."""
    matrix = weights.matrix("embedding")
    size = matrix.shape[0] if matrix is not None and len(matrix.shape) == 2 else 0
    if not size:
        return np.empty(0, np.intp), None
    known = weights.tokens() if strings else None
    start = min(FIRST_TOKEN, max(size - ROWS, 0))
    rows: Sequence[int] = range(start, min(start + ROWS, size))
    if like is not None and like.rows:
        rows = [row for row in like.rows if row < size] or rows
        if known and like.tokens:
            wanted = {token for token in like.tokens if token}
            found: dict[str, int] = {}
            for row, token in enumerate(known[:size]):
                if token in wanted:
                    found.setdefault(token, row)
            if len(found) >= FEWEST_TOKENS:
                rows = [found[token] for token in like.tokens if token in found]
    texts = None if known is None else tuple(_token(known, row) for row in rows)
    return np.array(rows, np.intp), texts if texts and any(texts) else None


def _token(known: Sequence[str], row: int) -> str:
    found = known[row] if row < len(known) else ""
    return _plain(found) if len(found) <= MOST_TEXT else ""


def _plain(text: str) -> str:
    """Return text that can be written; what is no character becomes a question mark."""
    return text[:MOST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _role(weights: Weights, like: Sketch | None) -> str | None:
    if like is not None and like.role is not None:
        for layer in range(len(weights.layers)):
            if unit_matrix(weights, like.role, layer) is not None:
                return like.role
    return unit_role(weights)


def _layers(weights: Weights, role: str, budget: int) -> tuple[list[int], int]:
    """Choose layers, and how many units of each: what the budget allows, none if it must be."""
    chosen: Sequence[int] = range(min(len(weights.layers), MOST_LAYERS))
    for most in (_MOST_LAYERS, 16, 8, 4, 2, 1):
        # Each choice is of the one before, so that sketches of two models have layers in common.
        chosen = sorted(spread(chosen, most))
        count = min(ROWS, max(8 * ROWS // len(chosen), _FEWEST_UNITS))
        count = count if most == _MOST_LAYERS else _FEWEST_UNITS
        cost = sum(cost_of_units(weights, role, layer, count) for layer in chosen)
        cost += sum(cost_of_units(weights, WRITER, layer, WRITER_ROWS) for layer in chosen)
        if cost <= budget:
            return list(chosen), count
    return [], 0


def _packed(columns: Columns | None) -> KeptColumns | None:
    return None if columns is None else KeptColumns(Packed.of(columns.values), columns.order)


def _kept(units: Units, layer: int | None = None) -> KeptUnits:
    responses = _centered(units.responses)
    return KeptUnits(
        Packed.of(sums(units.weights)),
        Packed.of(responses) if responses.shape[1] else None,
        units.order,
        units.shape,
        layer,
        _plain(units.name),
        units.turned,
    )


def _centered(responses: Floats) -> Floats:
    """Take the mean of each row away, so that eight bits are spent on what differs."""
    if not responses.size:
        return responses
    clean = finite(responses).astype(np.float64)
    with np.errstate(over="ignore"):
        result: Floats = (clean - clean.mean(axis=1, keepdims=True)).astype(np.float32)
    return result


def sums(rows: Floats) -> Floats:
    """Return `SUMS` sums of the first 512 numbers of each row, each number with a fixed sign.

    Sums keep the angles between rows to about an eighth (Johnson and Lindenstrauss, 1984).
    """
    clean = finite(rows[:, :DIMENSIONS])
    # In double precision, so that a sketch is the same on every processor.
    summed = clean.astype(np.float64) @ _signs()[: clean.shape[1]]
    with np.errstate(over="ignore"):
        result: Floats = summed.astype(np.float32)
    return result


@cache
def _signs() -> NDArray[np.float64]:
    """Return 512 x 64 signs: the bits of BLAKE3 of a fixed text, lowest bit first, 1 for minus."""
    drawn = np.frombuffer(blake3(_SIGNS).digest(length=DIMENSIONS * SUMS // 8), np.uint8)
    bits = np.unpackbits(drawn, bitorder="little").reshape(DIMENSIONS, SUMS)
    return 1.0 - 2.0 * bits.astype(np.float64)


def _tensors(weights: Weights, budget: int) -> Iterator[KeptUnits]:
    """Keep the first rows and the first columns of the largest matrices without a known role."""
    found = [
        matrix
        for matrix in (*weights.unnamed(), *weights.matrices())
        if len(matrix.shape) == 2
        and min(matrix.shape) >= _SMALLEST_SIDE
        and matrix.role not in _LISTED
    ]
    # Exports list the same matrices in another order, so what they hold decides between equals.
    largest = sorted(found, key=lambda matrix: -matrix.shape[0] * matrix.shape[1])[:_LOOKED_AT]
    read = list(_heads(largest, budget))
    order = sorted(
        range(len(read)), key=lambda at: (-int(np.prod(read[at][0].shape)), -_length(read[at][1]))
    )
    # Tables and bases that a formula makes are in many models that have nothing in common.
    kept = [at for at in order if not is_constant_basis(read[at][1][:, :DIMENSIONS])]
    places = {matrix.tensor: place for place, matrix in enumerate(found)}
    for at in sorted(kept[:_MOST_TENSORS], key=lambda at: places[read[at][0].tensor]):
        matrix, rows = read[at]
        budget -= cost_of_rows(matrix, _TENSOR_ROWS)
        yield _kept(_nameless(matrix, rows, turned=False))
        if matrix.nbytes <= budget:
            budget -= matrix.nbytes
            columns = np.ascontiguousarray(matrix.whole()[:, :_TENSOR_ROWS].T)
            yield _kept(_nameless(matrix, columns, turned=True))


def _heads(matrices: Sequence[Matrix], budget: int) -> Iterator[tuple[Matrix, Floats]]:
    """Read the first rows of matrices while the budget lasts."""
    for matrix in matrices:
        budget -= cost_of_rows(matrix, _TENSOR_ROWS)
        if budget >= 0:
            yield matrix, matrix.rows(0, _TENSOR_ROWS)


def _length(rows: Floats) -> float:
    clean = finite(rows).astype(np.float64)
    return float(np.linalg.norm(clean))


def _nameless(matrix: Matrix, rows: Floats, *, turned: bool) -> Units:
    shape = (matrix.shape[0], matrix.shape[1])
    nothing = np.empty((len(rows), 0), np.float32)
    return Units(
        rows, nothing, name=matrix.tensor, shape=shape[::-1] if turned else shape, turned=turned
    )  # fmt: skip


class _Kept:
    """A sketch, or some of its tokens, as relatedness sees it."""

    def __init__(self, sketch: Sketch, places: Indices) -> None:
        self._sketch, self._places = sketch, places
        self.layers = sketch.layers

    def columns(self, role: str) -> Columns | None:
        """Return the hidden dimensions of an embedding or a head."""
        kept = self._sketch.embedding if role == "embedding" else self._sketch.head
        if kept is None or len(self._places) < 2:
            return None
        return Columns(kept.values.floats[self._places], kept.order)

    @cached_property
    def _units(self) -> dict[int, Units]:
        block = BLOCK if self._sketch.role == "attention.v" else None
        return {
            each.layer: self._unpacked(each, block)
            for each in self._sketch.units
            if each.layer is not None
        }

    def units(self) -> Mapping[int, Units]:
        """Return the units of each layer that was kept."""
        return self._units

    @cached_property
    def _writers(self) -> dict[int, Units]:
        kept = self._sketch.writers
        return {each.layer: self._unpacked(each, None) for each in kept if each.layer is not None}

    def writers(self) -> Mapping[int, Units]:
        """Return what the attention of each layer writes."""
        return self._writers

    @cached_property
    def _tensors(self) -> tuple[Units, ...]:
        return tuple(self._unpacked(each, None) for each in self._sketch.tensors)

    def nameless(self) -> Sequence[Units]:
        """Return the matrices without a known role."""
        return self._tensors

    def _unpacked(self, kept: KeptUnits, block: int | None) -> Units:
        weights = kept.weights.floats
        responses = np.empty((len(weights), 0), np.float32)
        if kept.responses is not None and len(self._places) > 1:
            responses = kept.responses.floats[:, self._places]
        return Units(
            weights, responses, kept.order, block, kept.name, kept.shape, kept.turned
        )  # fmt: skip


def beside(child: Sketch, base: Sketch) -> tuple[Measured, Measured]:
    """Lay two sketches side by side, at the tokens that both have.

    Tokens are the same by their texts where both tell them and have some in common, else by row.
    """
    mine, other = _common(child, base)
    if child.role != base.role and child.units and base.units:
        # Rows of different roles say nothing of each other.
        return _Kept(_without_units(child), mine), _Kept(_without_units(base), other)
    return _Kept(child, mine), _Kept(base, other)


def _without_units(sketch: Sketch) -> Sketch:
    return replace(sketch, units=(), role=None)


def same_tokens(child: Sketch, base: Sketch) -> bool:
    """Tell whether two sketches were taken at mostly the same tokens, as far as they know them."""
    if child.tokens is None or base.tokens is None:
        return True
    return len(_shared(child.tokens, base.tokens)) * 2 >= len(base.tokens)


def _common(child: Sketch, base: Sketch) -> tuple[Indices, Indices]:
    pairs: list[tuple[int, int]] = []
    if child.tokens is not None and base.tokens is not None:
        pairs = _shared(child.tokens, base.tokens)
    if len(pairs) < FEWEST_TOKENS:
        pairs = _shared(child.rows, base.rows)
    both = np.array(pairs, np.intp).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _shared(ours: Sequence[object], theirs: Sequence[object]) -> list[tuple[int, int]]:
    """Pair the places of what is in both; what is empty, or there twice, counts once or never."""
    places = {item: place for place, item in reversed(list(enumerate(theirs))) if item != ""}
    pairs: dict[object, tuple[int, int]] = {}
    for place, item in enumerate(ours):
        if item in places:
            pairs.setdefault(item, (place, places[item]))
    return list(pairs.values())
