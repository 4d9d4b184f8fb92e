"""From stored tensors to matrices by role: orientation, fusion, packing, order of rows.

Every weight comes out as outputs x inputs, as the model was published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from steelyard.checkpoints.naming import (
    TensorName,
    gguf_norm_shift,
    gguf_permutation,
    parse_together,
)
from steelyard.checkpoints.tensors import Checkpoint, Tensor
from steelyard.lineage.matrix import Floats
from steelyard.lineage.views import View, cut, reshaped, scaled, shifted, turned, unpermuted

Open = Callable[[Tensor], View]
"""Give a tensor's rows as stored: all dimensions but the first joined, a vector as (n,)."""

_TEXT: Final = (None, "encoder", "decoder")
_UP: Final = ("mlp.up", "mlp.gate", "experts.up", "experts.gate")
_FUSED: Final = {
    "mlp.gate_up": ("mlp.gate", "mlp.up"),
    "experts.gate_up": ("experts.gate", "experts.up"),
}
_INTEGERS: Final = frozenset({"I8", "U8", "I4", "U4"})
_SMALLEST: Final = 256
"""Fewest numbers of a tensor without a known name that is looked at."""
_WEIGHT_ENDINGS: Final = ("_quantized", "_q")
_SCALE_ENDING: Final = "_scale"
_DECODING: Final = ("scale", "scale_inverse")


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """One weight of a model in files; see `Matrix`."""

    role: str
    part: str
    layer: int | None
    expert: int | None
    view: View
    dtype: str
    scheme: str
    tensor: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(outputs, inputs), or (n,)."""
        return self.view.shape

    @property
    def nbytes(self) -> int:
        """Bytes that `whole` reads."""
        return self.view.nbytes

    def rows(self, first: int, count: int) -> Floats:
        """Return rows `first` to `first + count`, clipped; a vector whole."""
        if len(self.view.shape) < 2:
            return self.view.read(0, self.view.shape[0])
        first = min(max(first, 0), self.view.shape[0])
        return self.view.read(first, min(max(count, 0), self.view.shape[0] - first))

    def whole(self) -> Floats:
        """Return all of it."""
        return self.rows(0, self.view.shape[0])


@dataclass(frozen=True, slots=True)
class Layout:
    """The matrices of one checkpoint."""

    named: tuple[StoredMatrix, ...]
    unnamed: tuple[StoredMatrix, ...]
    layers: tuple[str, ...]


def lay_out(checkpoint: Checkpoint, open_tensor: Open) -> Layout:
    """Sort the tensors of a checkpoint into matrices by role.

    Args:
        checkpoint: The weights.
        open_tensor: Gives the rows of a stored tensor.
    """
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    names = parse_together(tuple(tensors))
    layers = _layers(names.values())
    places = {key: place for place, key in enumerate(layers)}
    scales = {
        replace(name, part="weight"): tensors[key]
        for key, name in names.items()
        if name.part in _DECODING
    }
    shift = gguf_norm_shift(checkpoint)
    named: dict[tuple[str, str, int | None, int | None], StoredMatrix] = {}
    for key, name in names.items():
        tensor = tensors[key]
        if name.part not in ("weight", "bias") or name.role.startswith("buffer."):
            continue
        view, scheme = _decoded(tensor, scales.get(replace(name, part="weight")), open_tensor)
        if view is None:
            continue
        heads = gguf_permutation(checkpoint, tensor)
        view = view if heads is None else unpermuted(view, heads)
        if shift and name.role.startswith("norm.") and name.part == "weight":
            view = shifted(view, -shift)
        place = None if name.layer is None else places[(name.stack, name.layer)]
        for made in _split(name, place, tensor, view, scheme):
            named.setdefault((made.role, made.part, made.layer, made.expert), made)
    unnamed = _unnamed(tensors, names, open_tensor)
    return Layout(_oriented(tuple(named.values())), tuple(unnamed), _titles(layers))


def _layers(names: Iterable[TensorName]) -> list[tuple[str | None, int]]:
    """Return (stack, number) of each block, text stacks first."""
    found = {
        (name.stack, name.layer)
        for name in names
        if name.layer is not None and name.part in ("weight", "bias")
    }
    return sorted(found, key=lambda key: (key[0] not in _TEXT, key[0] or "", key[1]))


def _titles(layers: Sequence[tuple[str | None, int]]) -> tuple[str, ...]:
    """Name the blocks; the stack is left out where there is one stack of text only."""
    texts = {stack for stack, _ in layers if stack in _TEXT}
    lone = len(texts) < 2
    return tuple(
        f"layers.{number}" if stack is None or (lone and stack in _TEXT) else
        f"{stack}.layers.{number}"
        for stack, number in layers
    )  # fmt: skip


def _decoded(tensor: Tensor, scale: Tensor | None, open_tensor: Open) -> tuple[View | None, str]:
    """Give a tensor's values and the scheme that packs them; None for what cannot be decoded."""
    view = open_tensor(tensor)
    whole = tensor.dtype in _INTEGERS
    if scale is not None and len(view.shape) == 2 and (whole or tensor.dtype.startswith("F8")):
        return scaled(view, open_tensor(scale)), "int8" if whole else "plain"
    if not tensor.quantized and not tensor.dtype.startswith(("F", "BF")):
        return None, ""
    return view, tensor.encoding if tensor.quantized else "plain"


def _split(
    name: TensorName, layer: int | None, tensor: Tensor, view: View, scheme: str
) -> Iterator[StoredMatrix]:
    """Cut what holds several matrices: all experts in one tensor, gate and up in one."""
    inside = name.layer is not None or name.stack in _TEXT
    role = name.role if inside else f"{name.stack}.{name.role}"
    one = StoredMatrix(role, name.part, layer, name.expert, view, tensor.dtype, scheme, tensor.name)
    stacked = role.startswith("experts.") and name.expert is None and len(tensor.shape) == 3
    pieces = [one]
    if stacked and len(view.shape) == 2:
        experts, rows, columns = tensor.shape
        flat = reshaped(view, experts * rows, columns)
        pieces = [
            replace(one, expert=expert, view=cut(flat, expert * rows, rows))
            for expert in range(experts)
        ]
    for piece in pieces:
        halves = _FUSED.get(role)
        if halves is None or piece.view.shape[0] % 2:
            yield piece
            continue
        half = piece.view.shape[0] // 2
        for at, each in enumerate(halves):
            yield replace(piece, role=each, view=cut(piece.view, at * half, half))


def _oriented(matrices: tuple[StoredMatrix, ...]) -> tuple[StoredMatrix, ...]:
    """Turn what is stored inputs x outputs, as GPT-2 does with all matrices of its blocks."""
    embedding = next((m for m in matrices if m.role == "embedding" and len(m.shape) == 2), None)
    if embedding is None:
        return matrices
    hidden = embedding.shape[1]
    flipped = {
        m.layer
        for m in matrices
        if m.role in _UP and len(m.shape) == 2 and m.shape[0] == hidden != m.shape[1]
    }
    return tuple(
        replace(m, view=turned(m.view))
        if m.layer is not None and m.layer in flipped and _is_linear(m) and not _by_row(m)
        else m
        for m in matrices
    )


def _is_linear(matrix: StoredMatrix) -> bool:
    return len(matrix.shape) == 2 and matrix.role.startswith(("attention.", "mlp.", "experts."))


def _by_row(matrix: StoredMatrix) -> bool:
    """Tell whether a matrix is the attention of a mixture, which is stored the usual way."""
    return matrix.role.startswith("attention.") and ".c_" not in matrix.tensor


def _unnamed(
    tensors: Mapping[str, Tensor], names: Mapping[str, TensorName], open_tensor: Open
) -> Iterator[StoredMatrix]:
    partners = {scale.name for key in tensors if (scale := _scale_of(key, tensors)) is not None}
    for key, tensor in tensors.items():
        known = key in names or key in partners
        if known or len(tensor.shape) < 2 or tensor.elements < _SMALLEST:
            continue
        scale = _scale_of(key, tensors)
        view, scheme = _decoded(tensor, scale, open_tensor)
        if view is not None and len(view.shape) == 2:
            yield StoredMatrix(
                f"tensor:{key}", "weight", None, None, view, tensor.dtype, scheme, key
            )


def _scale_of(name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Find the scale beside an anonymous quantized tensor: `val_49_q` and `val_49_scale`."""
    for ending in _WEIGHT_ENDINGS:
        if name.endswith(ending):
            return tensors.get(name.removesuffix(ending) + _SCALE_ENDING)
    return None
