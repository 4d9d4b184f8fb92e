"""What the sketch of a model is made of; `sketch_bytes` writes and reads it.

That is imported when a sketch is written or read: two models that are compared need not wait for
it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from steelyard.lineage.floats import finite
from steelyard.lineage.matrix import Floats, Sizes
from steelyard.lineage.relating.exchangeability import Order

SUMS: Final = 64
"""Numbers that are kept of what a unit weighs."""
MOST_TEXT: Final = 200
"""Characters of a token or a name."""
MOST_LAYERS: Final = 4096
STEPS: Final = 127
LARGEST_STEP: Final = 2.6e36
"""Of which 127 are still a float32."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix in eight bits an element."""

    rows: int
    columns: int
    data: bytes = field(repr=False)
    """Rows x float32, then rows x columns x int8."""

    @classmethod
    def of(cls, matrix: Floats) -> Self:
        """Round each row to 127 steps of its largest element; what is no number becomes zero."""
        clean = finite(matrix).astype(np.float64)
        largest = np.abs(clean).max(axis=1, keepdims=True, initial=0)
        # Steps below what float32 can say are zeros.
        step = np.minimum(largest / STEPS, LARGEST_STEP).astype(np.float32)
        scaled = np.divide(clean, step, out=np.zeros_like(clean), where=step > 0)
        values = np.clip(np.rint(scaled), -STEPS, STEPS).astype(np.int8)
        rows, columns = matrix.shape
        return cls(rows, columns, step.astype("<f4").tobytes() + values.tobytes())

    @property
    def floats(self) -> Floats:
        """Return the elements."""
        step = np.frombuffer(self.data, "<f4", self.rows).astype(np.float32)
        values = np.frombuffer(self.data, np.int8, offset=4 * self.rows)
        result: Floats = values.reshape(self.rows, self.columns) * step[:, None]
        return result


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """Hidden dimensions by what they hold for the sketch's tokens."""

    values: Packed
    """Tokens x dimensions."""
    order: Order


@dataclass(frozen=True, slots=True)
class KeptUnits:
    """The first units of a layer, or of a matrix without a name."""

    weights: Packed
    """Units x `SUMS`."""
    responses: Packed | None
    """Units x tokens."""
    order: Order
    shape: tuple[int, int]
    """Of the whole matrix, units x inputs."""
    layer: int | None = None
    """Position among the layers."""
    name: str = ""
    """The tensor, where its role is not known."""
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Sketch:
    """What relatedness compares of a model, measured once.

    Law: `Sketch.from_bytes(sketch.to_bytes()) == sketch`, and no other bytes read so.
    """

    sizes: Sizes
    layers: tuple[str, ...]
    """Names of all blocks."""
    rows: tuple[int, ...] = ()
    """Rows of the embedding that were taken."""
    tokens: tuple[str, ...] | None = None
    """Their tokens, where a tokenizer tells them; an empty text where it does not."""
    embedding: KeptColumns | None = None
    head: KeptColumns | None = None
    role: str | None = None
    """Whose rows stand for a layer."""
    units: tuple[KeptUnits, ...] = ()
    """By position of their layer."""
    writers: tuple[KeptUnits, ...] = ()
    """Of the same layers: hidden dimensions by what attention writes to them."""
    tensors: tuple[KeptUnits, ...] = ()
    """Matrices without a known role, where no layer has units: as they lie, and turned."""

    def to_bytes(self) -> bytes:
        """Write it; the same sketch gives the same bytes."""
        from steelyard.lineage.relating.sketch_bytes import write

        return write(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """Read a sketch; it comes from whoever made it.

        Raises:
            CheckpointError: If it is none, is damaged, or asks for too much.
        """
        from steelyard.lineage.relating.sketch_bytes import read

        return read(data)
