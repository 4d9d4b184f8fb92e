"""Models in memory for tests of lineage: arrays by canonical name, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steelyard.checkpoints.naming import parse
from steelyard.lineage.matrix import Floats, Sizes

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass
class MemoryMatrix:
    role: str
    part: str
    layer: int | None
    expert: int | None
    array: np.ndarray[Any, Any]
    tensor: str
    owner: MemoryWeights
    dtype: str = "F32"
    scheme: str = "plain"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def rows(self, first: int, count: int) -> Floats:
        part = self.array if self.array.ndim == 1 else self.array[first : first + count]
        self.owner.bytes_read += part.nbytes
        self.owner.requests += 1
        return np.array(part, np.float32)

    def whole(self) -> Floats:
        return self.rows(0, self.array.shape[0])


@dataclass
class MemoryWeights:
    """`Weights` from arrays named as in Transformers: `model.layers.0.mlp.up_proj.weight`."""

    arrays: Arrays
    name: str = "memory"
    format: str = "safetensors"
    heads: int | None = None
    kv_heads: int | None = None
    norm: str | None = "rms"
    vocabulary: tuple[str, ...] | None = None
    dtype: str = "F32"
    bytes_read: int = 0
    requests: int = 0
    found: dict[tuple[str, int | None, int | None, str], MemoryMatrix] = field(default_factory=dict)
    nameless: dict[str, MemoryMatrix] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers: set[int] = set()
        for name, array in self.arrays.items():
            known = parse(name)
            if known is None:
                role = f"tensor:{name}"
                self.nameless[role] = MemoryMatrix(
                    role, "weight", None, None, array, name, self, self.dtype
                )
                continue
            key = (known.role, known.layer, known.expert, known.part)
            self.found[key] = MemoryMatrix(
                known.role, known.part, known.layer, known.expert, array, name, self, self.dtype
            )
            numbers |= {known.layer} if known.layer is not None else set()
        self.layers = tuple(f"layers.{number}" for number in sorted(numbers))

    @property
    def sizes(self) -> Sizes:
        embedding, up = self.matrix("embedding"), self.matrix("mlp.up", 0)
        return Sizes(
            hidden=embedding.shape[1] if embedding else None,
            layers=len(self.layers),
            feed_forward=up.shape[0] if up else None,
            vocabulary=embedding.shape[0] if embedding else None,
            heads=self.heads,
            kv_heads=self.kv_heads,
            norm=self.norm,
        )

    def matrix(
        self,
        role: str,
        layer: int | None = None,
        *,
        expert: int | None = None,
        part: str = "weight",
    ) -> MemoryMatrix | None:
        return self.nameless.get(role) or self.found.get((role, layer, expert, part))

    def matrices(self) -> tuple[MemoryMatrix, ...]:
        def place(item: MemoryMatrix) -> tuple[int, str, int, str]:
            layer = -1 if item.layer is None else item.layer
            return (layer, item.role, item.expert or 0, item.part)

        return tuple(sorted(self.found.values(), key=place))

    def unnamed(self) -> tuple[MemoryMatrix, ...]:
        return tuple(item for role, item in self.nameless.items())

    def tokens(self) -> tuple[str, ...] | None:
        return self.vocabulary


def random_arrays(
    seed: int = 0,
    *,
    layers: int = 4,
    width: int = 64,
    feed_forward: int = 160,
    vocabulary: int = 512,
    heads: int = 4,
    kv_heads: int = 2,
    tied: bool = False,
) -> dict[str, np.ndarray[Any, Any]]:
    """Make a Llama of independent random weights, as Transformers names its tensors."""
    chance = np.random.default_rng(seed)
    narrow = width // heads * kv_heads

    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        drawn: np.ndarray[Any, Any] = chance.standard_normal((rows, columns))
        return np.asarray(drawn / np.sqrt(columns), np.float32)

    made = {"model.embed_tokens.weight": matrix(vocabulary, width)}
    for layer in range(layers):
        start = f"model.layers.{layer}"
        made |= {
            f"{start}.self_attn.q_proj.weight": matrix(width, width),
            f"{start}.self_attn.k_proj.weight": matrix(narrow, width),
            f"{start}.self_attn.v_proj.weight": matrix(narrow, width),
            f"{start}.self_attn.o_proj.weight": matrix(width, width),
            f"{start}.mlp.gate_proj.weight": matrix(feed_forward, width),
            f"{start}.mlp.up_proj.weight": matrix(feed_forward, width),
            f"{start}.mlp.down_proj.weight": matrix(width, feed_forward),
        }
        for norm in ("input_layernorm", "post_attention_layernorm"):
            gain = 1 + 0.1 * chance.standard_normal(width)
            made[f"{start}.{norm}.weight"] = gain.astype(np.float32)
    made["model.norm.weight"] = (1 + 0.1 * chance.standard_normal(width)).astype(np.float32)
    if not tied:
        made["lm_head.weight"] = matrix(vocabulary, width)
    return made
