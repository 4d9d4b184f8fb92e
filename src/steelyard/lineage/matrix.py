"""What the science of lineage reads: matrices by their role, row by row, whatever the container.

Reading is lazy and counted. A matrix is always given as outputs x inputs (an embedding as tokens x
hidden dimensions), in float32, in the order of the published model: rows that llama.cpp's
converter moved are moved back, fused matrices are cut apart, packed elements are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a model; None where neither configuration nor shapes show them."""

    hidden: int | None
    layers: int
    """Blocks of all stacks together."""
    feed_forward: int | None
    vocabulary: int | None
    heads: int | None = None
    kv_heads: int | None = None
    experts: int | None = None
    norm: str | None = None
    """`rms` or `layer`."""


class Matrix(Protocol):
    """One weight of a model: a matrix, or a vector (norms, biases) as shape `(n,)`."""

    @property
    def role(self) -> str:
        """As in `knowledge/tensor_names.yaml`: `embedding`, `attention.q`, `mlp.up`, ..."""

    @property
    def part(self) -> str:
        """`weight` or `bias`."""

    @property
    def layer(self) -> int | None:
        """Position among `Weights.layers`, not the number in the name; None outside of blocks."""

    @property
    def expert(self) -> int | None:
        """The expert it belongs to, if any."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(outputs, inputs), or (n,)."""

    @property
    def dtype(self) -> str:
        """Element type (`F32`, `BF16`), or what the scheme decodes to."""

    @property
    def scheme(self) -> str:
        """`plain`, or how elements are packed: `Q4_K`, `int8`, ..."""

    @property
    def tensor(self) -> str:
        """The tensor's name in its file."""

    def rows(self, first: int, count: int) -> Floats:
        """Return rows `first` to `first + count` (clipped to the shape) as float32 in memory.

        A vector is given whole as shape (n,). One ranged read where the container allows.

        Raises:
            CheckpointError: If the bytes cannot be read or decoded.
        """

    def whole(self) -> Floats:
        """Return all of it."""

    @property
    def nbytes(self) -> int:
        """Bytes that `whole` reads."""


def is_packed(matrix: Matrix) -> bool:
    """Tell whether a scheme packs the elements."""
    return matrix.scheme.lower() not in ("plain", "")


def encoding_of(matrix: Matrix) -> str:
    """Return the scheme that packs the elements, or their type."""
    return matrix.scheme if is_packed(matrix) else matrix.dtype


def cost_of_rows(matrix: Matrix, rows: int) -> int:
    """Return the bytes that reading so many rows takes; of fewer there may be, all."""
    return matrix.nbytes * min(rows, matrix.shape[0]) // max(matrix.shape[0], 1)


class Weights(Protocol):
    """A model as lineage reads it."""

    @property
    def name(self) -> str:
        """What to call the model."""

    @property
    def format(self) -> str:
        """Container: `safetensors`, `gguf`, ..."""

    @property
    def sizes(self) -> Sizes:
        """Its sizes, as far as they are known."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the blocks in order: `layers.0`, `encoder.layers.0`, `vision.layers.3`."""

    def matrix(
        self,
        role: str,
        layer: int | None = None,
        *,
        expert: int | None = None,
        part: str = "weight",
    ) -> Matrix | None:
        """Find a weight by its role; None if the model has none such."""

    def matrices(self) -> tuple[Matrix, ...]:
        """Return every weight with a role, those outside of blocks first, then layer by layer."""

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return matrices whose name says nothing; their role is `tensor:` and the name.

        `matrix` finds them by that role. They lie as stored, perhaps inputs x outputs.
        """

    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row of the embedding; None where no tokenizer tells."""

    @property
    def bytes_read(self) -> int:
        """Bytes fetched for this model so far."""

    @property
    def requests(self) -> int:
        """Ranged reads made so far."""
