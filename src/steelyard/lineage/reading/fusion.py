"""Matrices that hold several, cut apart: queries, keys and values in one, gate and up in one.

How they lie in one another differs by family: one after another, or head by head. Sizes tell, with
the tensor's name and the counts of heads; what they do not tell stays in one piece. Matrices that
are stored inputs x outputs, as GPT-2's are, are turned first.

Sources: the modeling files of Hugging Face Transformers (GPT-NeoX, BLOOM, Falcon, InternLM2, Phi-3,
MPT, Llama 4, gpt-oss); llama.cpp's converter, which brings all of them in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.lineage.reading.stored import StoredMatrix
from steelyard.lineage.reading.views import cut, every, picked, turned

_HALVES: Final[Mapping[str, tuple[str, str]]] = {
    "mlp.gate_up": ("mlp.gate", "mlp.up"),
    "mlp.up_gate": ("mlp.up", "mlp.gate"),
    "experts.gate_up": ("experts.gate", "experts.up"),
}
_QKV: Final = "attention.qkv"
_MLP_UP: Final = ("mlp.up", "mlp.gate", "mlp.gate_up")
_EXPERTS_UP: Final = ("experts.up", "experts.gate", "experts.gate_up")
_BY_HEAD: Final = ("query_key_value", ".wqkv")
"""In the names of fused matrices whose rows lie head by head."""
_MOST_ROWS: Final = 1 << 20
"""Rows of the largest matrix whose rows are brought in order; no model comes near."""
_IN_ORDER: Final = "encoder.layers."
"""In the names of those that lie one after another all the same (ChatGLM)."""


@dataclass(frozen=True, slots=True)
class About:
    """What sizes alone do not show."""

    heads: int | None = None


def apart(
    matrices: Sequence[StoredMatrix], about: About, widths: Sequence[int | None]
) -> Iterator[StoredMatrix]:
    """Yield the matrices of a model turned the usual way, fused ones cut apart.

    Args:
        matrices: As stored.
        about: Counts of heads.
        widths: Size of the hidden space by layer, where it is known.
    """
    oriented = _oriented(matrices, widths)
    sizes = {
        (m.role, m.layer, m.expert): m.shape
        for m in oriented
        if m.part == "weight" and len(m.shape) == 2
    }
    biased = {m.layer for m in oriented if m.role == "experts.gate_up" and m.part == "bias"}
    for matrix in oriented:
        if matrix.role == _QKV:
            yield from _thirds(matrix, about, sizes)
        else:
            yield from _halves(matrix, sizes, crosswise=matrix.layer in biased)


def _oriented(matrices: Sequence[StoredMatrix], widths: Sequence[int | None]) -> list[StoredMatrix]:
    """Turn what is stored inputs x outputs: all of a block, or its experts alone."""
    embedding = next((m for m in matrices if m.role == "embedding" and m.part == "weight"), None)
    hidden = embedding.shape[1] if embedding is not None and len(embedding.shape) == 2 else None
    flipped = {
        (m.layer, m.role in _EXPERTS_UP)
        for m in matrices
        if m.role in (*_MLP_UP, _QKV, *_EXPERTS_UP)
        and m.layer is not None
        and len(m.shape) == 2
        and m.shape[0] == (widths[m.layer] or hidden) != m.shape[1]
    }

    def is_flipped(matrix: StoredMatrix) -> bool:
        experts = matrix.role.startswith("experts.")
        linear = experts or matrix.role.startswith(("attention.", "mlp."))
        return len(matrix.shape) == 2 and linear and (matrix.layer, experts) in flipped

    return [replace(m, view=turned(m.view)) if is_flipped(m) else m for m in matrices]


Sizes = Mapping[tuple[str, int | None, int | None], tuple[int, ...]]


def _halves(matrix: StoredMatrix, sizes: Sizes, *, crosswise: bool) -> Iterator[StoredMatrix]:
    """Cut gate and up apart: halves, or every other row where experts have biases (gpt-oss)."""
    roles, rows = _HALVES.get(matrix.role), matrix.shape[0]
    if roles is None and _is_double(matrix, sizes):
        roles = ("mlp.gate", "mlp.up")
    whole = matrix.role.startswith("experts.") and matrix.expert is None
    if roles is None or rows % 2 or whole:
        yield matrix
        return
    crosswise = crosswise and matrix.role == "experts.gate_up"
    for at, role in enumerate(roles):
        half = (
            every(matrix.view, 2, at) if crosswise else cut(matrix.view, at * rows // 2, rows // 2)
        )
        yield replace(matrix, role=role, view=half)


def _is_double(matrix: StoredMatrix, sizes: Sizes) -> bool:
    """Tell whether what is called up holds the gate too: it has twice the rows that go down."""
    down = sizes.get(("mlp.down", matrix.layer, None))
    gate = sizes.get(("mlp.gate", matrix.layer, None))
    double = matrix.role == "mlp.up" and gate is None and down is not None
    return double and down is not None and matrix.shape[0] == 2 * down[1]


def _thirds(matrix: StoredMatrix, about: About, sizes: Sizes) -> Iterator[StoredMatrix]:
    """Cut queries, keys and values apart; one piece where the sizes do not tell."""
    rows = matrix.shape[0]
    out = sizes.get(("attention.o", matrix.layer, None))
    queries = out[1] if out is not None else rows // 3
    keys = (rows - queries) // 2
    if queries <= 0 or keys <= 0 or queries + 2 * keys != rows:
        yield matrix
        return
    by_head = any(word in matrix.tensor for word in _BY_HEAD) and _IN_ORDER not in matrix.tensor
    places = _places(queries, keys, about.heads) if by_head else None
    if by_head and places is None:
        yield matrix
        return
    start = 0
    for at, (name, size) in enumerate((("q", queries), ("k", keys), ("v", keys))):
        view = cut(matrix.view, start, size) if places is None else picked(matrix.view, places[at])
        yield replace(matrix, role=f"attention.{name}", view=view)
        start += size


def _places(queries: int, keys: int, heads: int | None) -> tuple[NDArray[np.intp], ...] | None:
    """Tell where queries, keys and values lie: for each key head its queries, it, its values."""
    if heads is None or heads <= 0 or queries % heads or queries + 2 * keys > _MOST_ROWS:
        return None
    size = queries // heads
    groups = keys // size
    if groups == 0 or keys % size or heads % groups:
        return None
    each = heads // groups
    index = np.arange(queries + 2 * keys, dtype=np.intp).reshape(groups, each + 2, size)
    return index[:, :each].ravel(), index[:, each].ravel(), index[:, each + 1].ravel()
