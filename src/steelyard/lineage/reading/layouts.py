"""From stored tensors to matrices by role: orientation, fusion, packing, order of rows.

Every weight comes out as outputs x inputs, as the model was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from steelyard.checkpoints.naming import (
    TensorName,
    gguf_norm_shift,
    gguf_permutation,
    parse_together,
    split_part,
)
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, Checkpoint, Tensor
from steelyard.errors import CheckpointError
from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.fusion import About, apart
from steelyard.lineage.reading.packing import Decoded, Open, Parts, Stated, joined, unpack
from steelyard.lineage.reading.stored import StoredMatrix
from steelyard.lineage.reading.views import View, cut, mapped, reshaped, row, shifted, unpermuted
from steelyard.lineage.roles import WRITING

_TEXT: Final = (None, "encoder", "decoder")
_SMALLEST: Final = 256
"""Fewest numbers of a tensor without a known name that is looked at."""
_MOST_EXPERTS: Final = 4096
"""Experts in one tensor that are told apart; a forged shape may claim any number."""
_SHORTEST: Final = 16
"""Fewest numbers of a vector without a known name that is looked at."""
_VALUES: Final = ("weight", "bias", "packed")
_NUMBERS: Final = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_GRAPH_WEIGHTS: Final = ("_quantized", "_Q4", "_q")
"""Ends of the names that exporters to ONNX give to quantized weights."""
_GRAPH_PARTS: Final = (
    ("_scale", "scale"), ("_scales", "scale"), ("_zero_point", "zero_point"), ("_zp", "zero_point"),
)  # fmt: skip
_READS_HIDDEN: Final = frozenset(
    {
        "embedding", "output_head", "attention.q", "attention.k", "attention.v", "attention.qkv",
        "mlp.up", "mlp.gate", "mlp.gate_up", "experts.up", "experts.gate", "experts.gate_up",
        "router",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """The matrices of one checkpoint."""

    named: tuple[StoredMatrix, ...]
    unnamed: tuple[StoredMatrix, ...]
    layers: tuple[str, ...]
    vectors: tuple[StoredMatrix, ...] = ()
    """Vectors whose name says nothing."""
    unreadable: tuple[str, ...] = ()
    """Tensors whose numbers are packed in a way that is not decoded."""


@dataclass(slots=True)
class _Family:
    """The tensors of one weight, by part."""

    name: TensorName
    """Of one of them."""
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def main(self) -> tuple[str, Tensor] | None:
        """Return the tensor that holds the numbers, and what part it is."""
        for part in ("packed", "weight"):
            if part in self.tensors:
                return part, self.tensors[part]
        return None


def lay_out(
    checkpoint: Checkpoint,
    open_tensor: Open,
    *,
    about: About | None = None,
    stated: Stated | None = None,
) -> Layout:
    """Sort the tensors of a checkpoint into matrices by role.

    Args:
        checkpoint: The weights.
        open_tensor: Gives the rows of a stored tensor.
        about: Counts of heads, which fused matrices cannot be cut apart without.
        stated: What the configuration says of packed weights.

    Raises:
        SourceError: If a description that packed weights need cannot be fetched.
    """
    return _Sorting(checkpoint, open_tensor, about or About(), stated or Stated()).layout()


class _Sorting:
    """One checkpoint while it is sorted."""

    def __init__(
        self, checkpoint: Checkpoint, open_tensor: Open, about: About, stated: Stated
    ) -> None:
        self._checkpoint, self._open = checkpoint, open_tensor
        self._about, self._stated = about, stated
        self._tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
        self._names = parse_together(tuple(self._tensors))
        self._keys = _layers(self._names.values())
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._hidden = self._widths()
        self._unreadable: list[str] = []

    def layout(self) -> Layout:
        """Sort."""
        families: dict[tuple[str, int | None, int | None, str | None], _Family] = {}
        for key, name in self._names.items():
            place = (name.role, name.layer, name.expert, name.stack)
            if place not in families:
                families[place] = _Family(name)
            families[place].tensors.setdefault(name.part, self._tensors[key])
        one = [made for family in families.values() for made in self._of(family)]
        named: dict[tuple[str, str, int | None, int | None], StoredMatrix] = {}
        widths = [self._hidden.get(_stack(stack)) for stack, _ in self._keys]
        for made in apart(one, self._about, widths):
            if _has_shape(made):
                named.setdefault((made.role, made.part, made.layer, made.expert), made)
        nameless = tuple(self._nameless())
        return Layout(
            tuple(named.values()),
            tuple(made for made in nameless if len(made.shape) > 1),
            _titles(self._keys),
            tuple(made for made in nameless if len(made.shape) < 2),
            tuple(sorted(self._unreadable)),
        )

    def _widths(self) -> dict[str | None, int]:
        """Return the size of the hidden space of each stack, as its norms show it."""
        found: dict[str | None, int] = {}
        for key, name in self._names.items():
            shape = self._tensors[key].shape
            is_norm = name.role in ("norm.attention", "norm.mlp", "norm.post_attention")
            if is_norm and name.part == "weight" and len(shape) == 1 and name.layer is not None:
                found.setdefault(_stack(name.stack), shape[0])
        return found

    def _of(self, family: _Family) -> Iterator[StoredMatrix]:
        """Give what the tensors of one weight hold: it, and its bias."""
        name = family.name
        if name.role.startswith("buffer."):
            return
        inside = name.layer is not None or name.stack in _TEXT
        role = name.role if inside else f"{name.stack}.{name.role}"
        place = None if name.layer is None else self._places.get((name.stack, name.layer))
        main = family.main()
        bias = family.tensors.get("bias")
        held = [] if main is None else [("weight", main[1], self._decoded(family, *main))]
        if bias is not None:
            held.append(("bias", bias, self._plain(bias)))
        for part, tensor, decoded in held:
            if decoded is None:
                continue
            view = self._restored(name, part, tensor, decoded.view)
            kind = _kind(tensor, decoded)
            for expert, each in _experts(name, part, view, decoded.shape):
                yield StoredMatrix(
                    role, part, place, expert, each, kind, decoded.scheme, tensor.name
                )

    def _restored(self, name: TensorName, part: str, tensor: Tensor, view: View) -> View:
        """Undo what llama.cpp's converter did to the numbers and their order."""
        if self._checkpoint.format != "gguf":
            return view
        heads = gguf_permutation(self._checkpoint, tensor)
        if heads is not None:
            view = unpermuted(view, heads)
        shift = gguf_norm_shift(self._checkpoint)
        plain_norm = name.role.startswith("norm.") and name.role != "norm.ssm"
        if shift and part == "weight" and plain_norm:
            view = shifted(view, -shift)
        if name.role == "ssm.a":
            view = mapped(view, _logarithm)
        return view

    def _decoded(self, family: _Family, part: str, main: Tensor) -> Decoded | None:
        """Give the numbers of a weight, the scheme that packs them, and their logical shape."""
        name = family.name
        beside = {key: one for key, one in family.tensors.items() if key not in _VALUES}
        stacked = name.role.startswith("experts.") and name.expert is None
        if not beside and part == "weight":
            return self._plain(main, stacked=stacked)
        hidden = self._hidden.get(_stack(name.stack))
        parts = Parts(
            main,
            part,
            beside,
            inputs=hidden if name.role in _READS_HIDDEN else None,
            outputs=hidden if name.role in WRITING else None,
            stated=self._stated,
        )
        found = self._unpacked(parts)
        if found is None and part == "weight":
            return self._plain(main, stacked=stacked)
        return found

    def _unpacked(self, parts: Parts) -> Decoded | None:
        main = parts.main
        if main.quantized or main.dtype in ("F16", "BF16", "F32", "F64"):
            return None
        try:
            packed = unpack(parts, self._open)
        except CheckpointError:
            # One damaged description must not keep all the others from being read.
            packed = None
        if packed is None and parts.part == "packed":
            self._unreadable.append(main.name)
        return packed

    def _plain(self, tensor: Tensor, *, stacked: bool = False) -> Decoded | None:
        """Give numbers that need nothing beside them; None for those that are no weights.

        Of matrices that are stacked in one tensor, the rows of all come one after another.
        """
        if tensor.quantized or tensor.dtype in _NUMBERS:
            joint = stacked and len(tensor.shape) == 3 and tensor.strides is None
            view = self._open(joined(tensor, tensor.shape[2]) if joint else tensor)
            return Decoded(view, tensor.encoding if tensor.quantized else PLAIN, tensor.shape)
        small = DTYPE_BITS[tensor.dtype] <= 8 and tensor.dtype != "BOOL"
        packed = small or (tensor.dtype in ("I32", "U32") and tensor.name in self._names)
        if packed and tensor.elements >= _SMALLEST and len(tensor.shape) > 1:
            self._unreadable.append(tensor.name)
        return None

    def _nameless(self) -> Iterator[StoredMatrix]:
        """Give the matrices that no pattern knows, those that are packed decoded."""
        families, loose = self._without_names()
        for parts in families:
            decoded = self._unpacked(parts)
            if decoded is None and parts.part == "weight":
                loose.append(parts.main)
            elif decoded is not None:
                yield from self._one(parts.main, decoded)
        for tensor in loose:
            large = tensor.elements >= _SMALLEST and len(tensor.shape) > 1
            if large or (len(tensor.shape) == 1 and tensor.elements >= _SHORTEST):
                decoded = self._plain(tensor)
                if decoded is not None:
                    yield from self._one(tensor, decoded)

    def _one(self, tensor: Tensor, decoded: Decoded) -> Iterator[StoredMatrix]:
        view, scheme, role = decoded.view, decoded.scheme, f"tensor:{tensor.name}"
        if len(view.shape) < 2 or view.shape[0] * view.shape[1] >= _SMALLEST:
            kind = _kind(tensor, decoded)
            yield StoredMatrix(role, "weight", None, None, view, kind, scheme, tensor.name)

    def _without_names(self) -> tuple[list[Parts], list[Tensor]]:
        """Sort tensors without a known name: those that belong together, and the others."""
        free = {key: one for key, one in self._tensors.items() if key not in self._names}
        groups: dict[str, dict[str, Tensor]] = {}
        taken: set[str] = set()
        for key, tensor in free.items():
            stem, part = split_part(key)
            if part is not None and part != "bias":
                groups.setdefault(stem, {})[part] = tensor
            for end in _GRAPH_WEIGHTS:
                base = key.removesuffix(end)
                beside = {part: free[base + tail] for tail, part in _GRAPH_PARTS
                          if base != key and base + tail in free}  # fmt: skip
                if "scale" in beside:
                    groups[base] = {"weight": tensor, **beside}
                    break
        found = []
        for group in groups.values():
            part = "packed" if "packed" in group else "weight"
            if part in group and len(group) > 1:
                beside = {key: one for key, one in group.items() if key not in _VALUES}
                found.append(Parts(group[part], part, beside, stated=self._stated))
                taken |= {one.name for one in group.values()}
        return found, [tensor for key, tensor in free.items() if key not in taken]


def _kind(tensor: Tensor, decoded: Decoded) -> str:
    """Return the element type, or what the scheme decodes to."""
    return tensor.dtype if decoded.scheme == PLAIN else "F32"


def _logarithm(values: Floats) -> Floats:
    """Undo `-exp(x)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.log(-values)
    return result


def _experts(
    name: TensorName, part: str, view: View, shape: tuple[int, ...]
) -> Iterator[tuple[int | None, View]]:
    """Cut all experts in one tensor apart: matrices, or a row of biases each."""
    stacked = name.role.startswith("experts.") and name.expert is None and len(view.shape) == 2
    stacked = stacked and 0 < shape[0] <= _MOST_EXPERTS
    if stacked and len(shape) == 3:
        experts, rows, columns = shape
        flat = view if view.shape[0] == experts * rows else reshaped(view, experts * rows, columns)
        for expert in range(experts):
            yield expert, cut(flat, expert * rows, rows)
    elif stacked and part == "bias" and len(shape) == 2:
        for expert in range(shape[0]):
            yield expert, row(view, expert)
    else:
        yield name.expert, view


def _stack(name: str | None) -> str | None:
    """Name a stack, all that read and write text by None: they share their hidden space."""
    return None if name in _TEXT else name


def _layers(names: Iterable[TensorName]) -> list[tuple[str | None, int]]:
    """Return (stack, number) of each block, text stacks first."""
    found = {
        (name.stack, name.layer)
        for name in names
        if name.layer is not None and name.part in _VALUES
    }
    return sorted(found, key=lambda key: (key[0] not in _TEXT, key[0] or "", key[1]))


def _has_shape(matrix: StoredMatrix) -> bool:
    """Tell whether a weight has numbers, and as many dimensions as its role takes."""
    if 0 in matrix.shape:
        return False
    is_matrix = matrix.role in _READS_HIDDEN or matrix.role in WRITING
    return len(matrix.shape) == 2 or matrix.part != "weight" or not is_matrix


def _titles(layers: Sequence[tuple[str | None, int]]) -> tuple[str, ...]:
    """Name the blocks; the stack is left out where there is one stack of text only."""
    texts = {stack for stack, _ in layers if stack in _TEXT}
    lone = len(texts) < 2
    return tuple(
        f"layers.{number}" if stack is None or (lone and stack in _TEXT) else
        f"{stack}.layers.{number}"
        for stack, number in layers
    )  # fmt: skip
