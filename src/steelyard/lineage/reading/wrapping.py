"""A model seen through another, which says some of it anew."""

from __future__ import annotations

from steelyard.lineage.matrix import Matrix, Sizes, Weights
from steelyard.lineage.reading.stored import WithTokenizer, WithVectors


class Wrapper:
    """What is the other model's whatever is made of its matrices; the rest is for subclasses."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.name, self.format = weights.name, weights.format
        self.layers = weights.layers

    @property
    def sizes(self) -> Sizes:
        """Return the model's sizes."""
        return self._weights.sizes

    def vectors(self) -> tuple[Matrix, ...]:
        """Return vectors whose name says nothing."""
        return self._weights.vectors() if isinstance(self._weights, WithVectors) else ()

    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row of the embedding."""
        return self._weights.tokens()

    def tokenizer(self) -> bytes | None:
        """Return the digest of the document that names the tokens."""
        return self._weights.tokenizer() if isinstance(self._weights, WithTokenizer) else None

    @property
    def bytes_read(self) -> int:
        """Count the bytes fetched so far."""
        return self._weights.bytes_read

    @property
    def requests(self) -> int:
        """Count the ranged reads made so far."""
        return self._weights.requests
