"""What relatedness compares of a model: hidden dimensions, neurons, and matrices without a name.

`Reading` takes it from weights when it is asked for; `sketches` keeps it. Compared are positions
in a sample, so both models must have been measured at the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from steelyard.lineage.aligning.alignment import ROWS as SAMPLED
from steelyard.lineage.aligning.alignment import Indices, gathered
from steelyard.lineage.floats import finite
from steelyard.lineage.matrix import Floats, Matrix, Weights, cost_of_rows
from steelyard.lineage.relating.exchangeability import BLOCK, Order, joined, order_of
from steelyard.lineage.roles import NORM_BEFORE

ROWS: Final = SAMPLED[0]
"""Tokens, and units of a layer, that are read: those that `alignment` samples, for then they have
been fetched already."""
DIMENSIONS: Final = 512
"""Hidden dimensions that are compared; any fixed part of them is as exact as all."""
WRITER: Final = "attention.o"
"""Whose rows vouch for a layer where its neurons do not."""
WRITER_ROWS: Final = 16
UNIT_ROLES: Final = ("mlp.up", "mlp.gate", "experts.up", "experts.gate", "attention.v")
"""Whose rows stand for a layer: the first that both models have."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Hidden dimensions, by what they hold for some tokens."""

    values: Floats
    """Tokens x hidden dimensions."""
    known: Order | None = None
    """Their order, where it need not be asked of the values."""

    @cached_property
    def order(self) -> Order:
        """Tell what the numbers of the dimensions mean by the model's own showing."""
        return self.known or order_of(np.ascontiguousarray(self.values.T))


@dataclass(frozen=True, eq=False)
class Units:
    """The first neurons of a layer, or the first rows of a matrix without a name."""

    weights: Floats
    """Units x what they weigh, or fixed sums of it."""
    responses: Floats
    """Units x tokens; no columns where there is no embedding to respond to."""
    known: Order | None = None
    """Their order, where it need not be asked of the weights."""
    block: int | None = None
    """Size of the groups within which units can be renumbered; None for all together."""
    name: str = ""
    """The tensor, where it has no known role."""
    shape: tuple[int, int] = (0, 0)
    """Of the whole matrix, units x inputs."""
    turned: bool = False
    """Whether units are columns of a matrix without a name, as it lies."""

    @cached_property
    def order(self) -> Order:
        """Tell what the numbers of the units mean by the model's own showing."""
        return self.known or order_of(self.weights[:, :DIMENSIONS])

    @cached_property
    def answers(self) -> Floats:
        """Return the responses less the mean of each unit: what it says to all tells nothing."""
        if not self.responses.size:
            return self.responses
        clean = np.nan_to_num(self.responses)
        with np.errstate(over="ignore", invalid="ignore"):
            result: Floats = clean - clean.mean(axis=1, keepdims=True)
        return result


def order_of_both(ours: Columns | Units, theirs: Columns | Units) -> Order:
    """Return what both models show; the second is asked only where the first shows something."""
    return Order.FREE if ours.order is Order.FREE else joined(ours.order, theirs.order)


def block_of(order: Order) -> int | None:
    """Return the size of blocks to compare units within; None for all together, 0 for not at all.

    Args:
        order: What the numbers of the units mean in both models.
    """
    if order is Order.FREE:
        return None
    return BLOCK if order is Order.SORTED else 0


class Measured(Protocol):
    """A model as relatedness sees it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all blocks in order."""

    def columns(self, role: str) -> Columns | None:
        """Return the hidden dimensions of `embedding` or `output_head`; None if there are none."""

    def units(self) -> Mapping[int, Units]:
        """Return the units of the layers that were measured, by position among `layers`."""

    def writers(self) -> Mapping[int, Units]:
        """Return hidden dimensions by what the attention of each layer writes to them.

        They keep their numbers where neurons were dropped or moved.
        """

    def nameless(self) -> Sequence[Units]:
        """Return matrices without a known role, as they lie and turned."""


class Reading:
    """A model's weights, read when they are asked for, and once."""

    def __init__(
        self,
        weights: Weights,
        rows: Indices,
        *,
        role: str | None,
        layers: Iterable[int],
        count: int = ROWS,
    ) -> None:
        """Read nothing yet.

        Args:
            weights: The model.
            rows: Rows of the embedding and of the head to read.
            role: Whose rows stand for a layer; None for no layers.
            layers: The layers to read, by position.
            count: Units of each layer to read.
        """
        self._weights, self._rows, self._role = weights, rows, role
        self._chosen, self._count = tuple(layers), count
        self.layers = weights.layers

    def columns(self, role: str) -> Columns | None:
        """Read the sampled rows of an embedding or a head."""
        rows = self.embedded if role == "embedding" else self._sampled(role)
        if len(rows) < 2:
            return None
        return Columns(rows[:, :DIMENSIONS])

    @cached_property
    def embedded(self) -> Floats:
        """Return the sampled rows of the embedding in full; none if there is none."""
        return self._sampled("embedding")

    def _sampled(self, role: str) -> Floats:
        matrix = self._weights.matrix(role)
        if matrix is None or len(matrix.shape) != 2 or not len(self._rows):
            return np.empty((0, 0), np.float32)
        if int(self._rows.max()) >= matrix.shape[0]:
            return np.empty((0, 0), np.float32)
        return gathered(matrix, self._rows)

    def units(self) -> Mapping[int, Units]:
        """Read the first neurons of the chosen layers, the norm before them folded in."""
        if self._role is None:
            return {}
        tokens = _normalized(self.embedded)
        found = {layer: self._layer(self._role, layer, tokens) for layer in self._chosen}
        return {layer: units for layer, units in found.items() if units is not None}

    def _layer(self, role: str, layer: int, tokens: Floats) -> Units | None:
        matrix = unit_matrix(self._weights, role, layer)
        if matrix is None:
            return None
        rows = _folded(self._weights, role, layer, matrix.rows(0, self._count))
        responses = np.empty((len(rows), 0), np.float32)
        if tokens.shape[1:] == rows.shape[1:] and len(tokens) > 1:
            # In double precision, so that a sketch is the same on every processor.
            with np.errstate(over="ignore"):
                answers = np.nan_to_num(rows).astype(np.float64) @ tokens.T.astype(np.float64)
                responses = answers.astype(np.float32)
        kept = rows[:, :DIMENSIONS]
        block = BLOCK if role == "attention.v" else None
        return Units(kept, responses, None, block, shape=_two(matrix.shape))

    def writers(self) -> Mapping[int, Units]:
        """Read the first rows of what the attention of the chosen layers writes."""
        return self._writers

    @cached_property
    def _writers(self) -> dict[int, Units]:
        found: dict[int, Units] = {}
        for layer in self._chosen:
            matrix = unit_matrix(self._weights, WRITER, layer)
            if matrix is not None:
                rows = matrix.rows(0, WRITER_ROWS)[:, :DIMENSIONS]
                nothing = np.empty((len(rows), 0), np.float32)
                found[layer] = Units(rows, nothing, shape=_two(matrix.shape))
        return found

    def nameless(self) -> Sequence[Units]:
        """Return none: what is at hand is placed by `anonymous`."""
        return ()


def unit_role(*models: Weights) -> str | None:
    """Return the role whose rows stand for a layer in all models; None if they share none."""
    return next((role for role in UNIT_ROLES if all(_has(each, role) for each in models)), None)


def _has(weights: Weights, role: str) -> bool:
    layers = range(len(weights.layers))
    return any(unit_matrix(weights, role, layer) is not None for layer in layers)


def unit_matrix(weights: Weights, role: str, layer: int) -> Matrix | None:
    """Return the matrix whose rows stand for a layer, of the first expert if it has experts."""
    expert = 0 if role.startswith("experts.") else None
    found = weights.matrix(role, layer, expert=expert)
    return found if found is not None and len(found.shape) == 2 else None


def cost_of_units(weights: Weights, role: str, layer: int, count: int = ROWS) -> int:
    """Return the bytes that reading so many units of a layer takes."""
    matrix = unit_matrix(weights, role, layer)
    return 0 if matrix is None else cost_of_rows(matrix, count)


def _folded(weights: Weights, role: str, layer: int, rows: Floats) -> Floats:
    """Multiply rows by the gain of the norm before them, which folding it in would have done."""
    norm = weights.matrix(NORM_BEFORE[role], layer)
    gain = None if norm is None else norm.whole()
    if gain is None or gain.shape != rows.shape[1:]:
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        result: Floats = rows * gain
    return result


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]


def _normalized(rows: Floats) -> Floats:
    """Divide rows by their root mean square, as a norm would."""
    clean = finite(rows)
    if clean.size == 0:
        return clean
    size = np.sqrt(np.mean(np.square(clean, dtype=np.float64), axis=1, keepdims=True))
    size = size.astype(np.float32)
    result: Floats = np.divide(clean, size, out=np.zeros_like(clean), where=size > 0)
    return result
