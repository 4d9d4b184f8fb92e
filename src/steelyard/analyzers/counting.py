"""What each stored tensor counts for: parameters, an adapter's, or nothing.

Not everything that is stored was trained: masks, position numbers, rotary frequencies and running
statistics are constants; the scales and zero points of quantized weights say how to decode them.
And not every parameter is an element: four-bit weights lie eight to an integer. Whatever cannot be
told is kept apart, so that no wrong total is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from steelyard import knowledge
from steelyard.analyzers.architecture import storage
from steelyard.analyzers.configurations import knowledge_of
from steelyard.checkpoints.naming import TensorName, parse, split_part
from steelyard.checkpoints.tensors import DTYPE_BITS, Checkpoint, Tensor

BUFFER = "constants and running statistics"
CONSTANT = "small constants of the graph"
COPY = "copies of the embedding or of latent attention"
INTEGER = "integer buffers"
SCALE = "scales, zero points and orders of quantized weights"

_ADAPTER_PARTS = frozenset({"lora_a", "lora_b", "lora_magnitude", "ia3"})
_WORD_BITS = (2, 3, 4, 5, 6, 8)
_QUANTIZED_ENDINGS = ("_quantized", "_q", "_Q4", "_Q8", "")
_SCALE_ENDINGS = ("_scale", "_scales", "_scale_inv", "_zero_point", "_zero_points", "_zp")

_GRAPH_CONSTANT = re.compile(
    r"(^|/)Constant(OfShape)?([_@][0-9]+)?(_output_0|/value)?$|^p2o\.helper\.constant\."
)
"""How exporters (PyTorch's, Paddle's) name constants of the graph."""
_PADDLE_STATISTIC = re.compile(r"(^|[/.])batch_norm(2d)?_[0-9]+\.w_[12]$")
"""Running mean and variance as Paddle names them; `w_0` and `b_0` are trained."""
_SMALL = 16
_NAME_END = 200

Siblings = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Packing:
    """How a configuration says that quantized weights are packed."""

    bits: int | None = None
    """Bits of one weight; None when it does not say, or not one for all."""
    group: int | None = None
    """Weights that share one scale."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A tensor that holds parameters."""

    tensor: Tensor
    name: TensorName | None
    parameters: int


@dataclass(frozen=True, slots=True)
class Count:
    """What the tensors of one checkpoint count for.

    Law: every tensor is in one of the five: `parameters`, `adapter`, `left_out`, `unknown`, or
    it is another name (`aliases`) of one that is.
    """

    parameters: list[Counted] = field(default_factory=list)
    adapter: list[Counted] = field(default_factory=list)
    left_out: dict[str, list[Tensor]] = field(default_factory=dict)
    """By reason."""
    unknown: list[Tensor] = field(default_factory=list)
    """Packed weights whose number cannot be told."""
    aliases: list[Tensor] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Sum the parameters."""
        return sum(counted.parameters for counted in self.parameters)


def count(checkpoint: Checkpoint, packing: Packing) -> Count:
    """Count the parameters of one weights set; nothing of the tensors' bytes is read."""
    families: dict[str, dict[str, Tensor]] = {}
    names = {tensor.name: tensor for tensor in checkpoint.tensors}
    parts: list[tuple[Tensor, TensorName | None, str, str | None]] = []
    for tensor in checkpoint.tensors:
        base, part = split_part(tensor.name)
        name = parse(tensor.name)
        if part is None and name is not None:
            base, part = name.canonical.removesuffix(name.part), name.part
        parts.append((tensor, name, base, part))
        if part is not None:
            families.setdefault(base, {}).setdefault(part, tensor)
    found = Count()
    seen: set[tuple[object, ...]] = set()
    for tensor, name, base, part in parts:
        key = storage(tensor)
        if key in seen:
            found.aliases.append(tensor)
            continue
        seen.add(key)
        siblings = families.get(base, {}) if part is not None else {}
        if part in _ADAPTER_PARTS:
            found.adapter.append(Counted(tensor, name, tensor.elements))
            continue
        reason = _reason_to_leave_out(checkpoint, tensor, name, part, siblings, names)
        if reason is not None:
            found.left_out.setdefault(reason, []).append(tensor)
            continue
        parameters = _parameters(tensor, part, siblings, packing)
        if parameters is None:
            found.unknown.append(tensor)
        else:
            found.parameters.append(Counted(tensor, name, parameters))
    _leave_out_copies(checkpoint, found)
    return found


@cache
def _buffer_names() -> tuple[frozenset[str], tuple[str, ...]]:
    table = knowledge.load("tensor_names")
    return frozenset(table["buffers"]), tuple(table["buffer_endings"])


def _is_float(tensor: Tensor) -> bool:
    return tensor.quantized or tensor.dtype.startswith(("F", "BF", "C"))


def _is_small(tensor: Tensor) -> bool:
    """Tell whether a tensor's elements are so small that they need a scale: integers, or 8 bits."""
    return not _is_float(tensor) or (not tensor.quantized and DTYPE_BITS[tensor.dtype] <= 8)


def _reason_to_leave_out(
    checkpoint: Checkpoint,
    tensor: Tensor,
    name: TensorName | None,
    part: str | None,
    siblings: Siblings,
    names: Mapping[str, Tensor],
) -> str | None:
    words, endings = _buffer_names()
    if name is not None and name.role.startswith("buffer."):
        return BUFFER
    if tensor.name.rpartition(".")[2] in words or tensor.name.endswith(endings):
        return BUFFER
    if _PADDLE_STATISTIC.search(tensor.name[-_NAME_END:]):
        return BUFFER
    if tensor.dtype == "F8_E8M0" or _decodes(tensor, part, siblings, names):
        return SCALE
    if part == "packed":
        return None
    if not _is_float(tensor):
        quantized = (part == "weight" and "scale" in siblings) or _has_scale(tensor, names)
        return None if quantized and tensor.dtype != "BOOL" else INTEGER
    if checkpoint.format == "onnx" and (
        tensor.shape == ()
        or (tensor.elements <= _SMALL and _GRAPH_CONSTANT.search(tensor.name[-_NAME_END:]))
    ):
        return CONSTANT
    return None


def _decodes(
    tensor: Tensor, part: str | None, siblings: Siblings, names: Mapping[str, Tensor]
) -> bool:
    """Tell whether a tensor serves to decode a quantized one beside it."""
    if part is not None and part not in ("weight", "bias", "packed", "masked"):
        if part.startswith(("scale_", "state_")):
            return True
        beside = siblings.get("packed") or siblings.get("weight")
        return beside is not None and ("packed" in siblings or _is_small(beside))
    for ending in _SCALE_ENDINGS:
        stem = tensor.name.removesuffix(ending)
        if stem != tensor.name:
            held = [names.get(stem + end) for end in _QUANTIZED_ENDINGS]
            return any(other is not None and _is_small(other) for other in held)
    return False


def _has_scale(tensor: Tensor, names: Mapping[str, Tensor]) -> bool:
    """Tell whether a tensor of an ONNX graph has a scale beside it."""
    stems = {tensor.name.removesuffix(end) for end in _QUANTIZED_ENDINGS}
    return any(f"{stem}{end}" in names for stem in stems for end in ("_scale", "_scales"))


def _parameters(
    tensor: Tensor, part: str | None, siblings: Siblings, packing: Packing
) -> int | None:
    """Count the parameters in a tensor; None when it is packed and cannot be told how."""
    if _is_float(tensor):
        return tensor.elements
    if part == "packed" or (part == "weight" and tensor.dtype in ("I32", "U32")):
        if tensor.dtype == "U8":
            return tensor.elements * 8 // (packing.bits or 4)
        return _of_words(tensor, siblings, packing)
    if tensor.dtype == "U8" and part == "weight":
        scale = siblings.get("scale")
        half = siblings.keys() & {"state_nf4", "state_fp4", "scale_map", "scale_2", "scale_global"}
        if half or (scale is not None and scale.dtype == "F8_E4M3"):
            return 2 * tensor.elements
    return 2 * tensor.elements if tensor.name.endswith("_Q4") else tensor.elements


def _of_words(tensor: Tensor, siblings: Siblings, packing: Packing) -> int | None:
    """Count weights that lie several to an integer.

    The tensors beside it tell: GPTQ keeps one number for each input (`g_idx`), AWQ one scale
    for each output and group; MLX keeps one scale for each group of known length. Otherwise the
    configuration's bits do.
    """
    word = DTYPE_BITS[tensor.dtype]
    scale, order = siblings.get("scale"), siblings.get("order")
    guesses: list[int] = []
    if len(tensor.shape) == 2:
        if order is not None and len(order.shape) == 1:
            guesses.append(order.shape[0] * tensor.shape[1])
        if scale is not None and len(scale.shape) == 2 and scale.shape[1] > tensor.shape[1]:
            guesses.append(tensor.shape[0] * scale.shape[1])
    if scale is not None and packing.group and tensor.dtype == "U32":
        guesses.insert(0, scale.elements * packing.group)
    if packing.bits:
        guesses.append(tensor.elements * word // packing.bits)
    held = tensor.elements * word
    return next((n for n in guesses if n and any(n * b == held for b in _WORD_BITS)), None)


def _leave_out_copies(checkpoint: Checkpoint, found: Count) -> None:
    """Leave out what llama.cpp's converters write a second time."""
    if checkpoint.format != "gguf":
        return
    architecture = checkpoint.metadata.get("general.architecture")
    copied = architecture in knowledge_of("gguf")["copied_head"]
    roles = {(c.name.role, c.name.layer): c for c in found.parameters if c.name is not None}
    embedding = roles.get(("embedding", None))
    kept: list[Counted] = []
    for counted in found.parameters:
        name = counted.name
        role, layer = (name.role, name.layer) if name else ("", None)
        head = copied and role == "output_head" and embedding is not None
        again = role in ("attention.k_b", "attention.v_b") and ("attention.kv_b", layer) in roles
        if again or (head and embedding and counted.parameters == embedding.parameters):
            found.left_out.setdefault(COPY, []).append(counted.tensor)
        else:
            kept.append(counted)
    found.parameters[:] = kept
