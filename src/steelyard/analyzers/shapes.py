"""What the names and shapes of tensors alone tell about an architecture.

A block's matrices show every width but the number of heads: a query matrix is as wide as all
heads together. Where another tensor is as wide as one head (a norm of queries) or counts the heads
(attention sinks, relative position biases), they are told as well. A size is told only when every
block shows the same. Only `elements / hidden size` is used of a matrix, so that it does not matter
which way round it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from steelyard.checkpoints.naming import TensorName, parse
from steelyard.checkpoints.tensors import Checkpoint, Tensor

_TEXT_STACKS = (None, "encoder", "decoder")
_BLOCK_NORMS = ("norm.attention", "norm.mlp", "norm.post_attention", "norm.post_mlp")
_EXPERT_ROLES = ("experts.up", "experts.gate", "experts.gate_up", "experts.down")


@dataclass(frozen=True, slots=True)
class Size:
    """A size, and the tensor that shows it."""

    value: int
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Shapes:
    """What was found. Sizes by fact name without `model.`: `layers`, `hidden_size`, ..."""

    sizes: Mapping[str, Size]
    queries: int | None
    """Width of all query heads together; None when it is unknown or not that of the output."""
    keys: int | None
    """Width of all key heads together."""
    crossed: Tensor | None
    """A tensor of a decoder that attends to an encoder beside it."""
    inputs: Mapping[str, Tensor]
    """Kinds of input (`text`, `image`, `audio`) and a tensor that takes each in."""
    head: Tensor | None
    """The output head, if it is stored."""
    embedding: Tensor | None


class _Table:
    """The named weights of one checkpoint, those of the main stack apart."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        named = [(tensor, name) for tensor in checkpoint.tensors if (name := parse(tensor.name))]
        self.all = named
        self.stacks = {name.stack for _, name in named if name.layer is not None}
        stack = _main_stack(self.stacks)
        blocks = [(t, n) for t, n in named if n.layer is not None and n.stack == stack]
        further = {name.layer for _, name in blocks if name.role.startswith("mtp.")}
        self.blocks = [(t, n) for t, n in blocks if n.layer not in further]
        self.by_role: dict[str, list[tuple[Tensor, TensorName]]] = {}
        for tensor, name in self.blocks:
            if name.part == "weight" and has_logical_shape(tensor):
                self.by_role.setdefault(name.role, []).append((tensor, name))

    def of(self, *roles: str) -> list[tuple[Tensor, TensorName]]:
        return [pair for role in roles for pair in self.by_role.get(role, ())]

    def top(self, role: str) -> list[Tensor]:
        """Return the tensors of the whole model with a role, of the text stacks only."""
        return [
            tensor
            for tensor, name in self.all
            if name.role == role
            and name.part == "weight"
            and name.layer is None
            and name.stack in _TEXT_STACKS
            and has_logical_shape(tensor)
        ]


def has_logical_shape(tensor: Tensor) -> bool:
    """Tell whether a tensor's shape is that of the values: nothing is packed into integers."""
    return bool(tensor.shape) and (
        tensor.quantized or tensor.dtype.startswith(("F", "BF")) or tensor.dtype == "I8"
    )


def measure(checkpoint: Checkpoint, extra_rows: int | None) -> Shapes:
    """Tell what the shapes show.

    Args:
        checkpoint: The weights.
        extra_rows: Rows that the family's table of positions has beyond the longest sequence;
            None when it is not known, so that the context length is not told.
    """
    table = _Table(checkpoint)
    sizes: dict[str, Size | None] = {"layers": _layers(table), "hidden_size": _hidden(table)}
    embedding = _same((t.shape[0], t) for t in table.top("embedding") if len(t.shape) == 2)
    sizes["vocabulary_size"] = embedding
    hidden = sizes["hidden_size"]
    queries = keys = None
    if hidden is not None:
        sizes["experts"] = _experts(table, hidden.value)
        sizes["intermediate_size"] = _intermediate(table, hidden.value)
        queries, keys = _attention_widths(table, hidden.value)
    sizes.update(_heads(table, queries, keys))
    if extra_rows is not None:
        sizes["context_length"] = _context(table, extra_rows)
    heads = table.top("output_head")
    return Shapes(
        sizes={name: size for name, size in sizes.items() if size is not None},
        queries=queries,
        keys=keys,
        crossed=_crossed(table),
        inputs=_inputs(table),
        head=heads[0] if heads else None,
        embedding=embedding.tensor if embedding else None,
    )


def _main_stack(stacks: set[str | None]) -> str | None:
    for stack in _TEXT_STACKS:
        if stack in stacks:
            return stack
    return next(iter(stacks)) if len(stacks) == 1 else None


def _same(values: Iterable[tuple[int, Tensor]]) -> Size | None:
    """Return the size that all tensors show; None if they differ or there are none."""
    found = [Size(value, tensor) for value, tensor in values]
    if not found or any(size.value != found[0].value for size in found):
        return None
    return found[0]


def _layers(table: _Table) -> Size | None:
    """Count the blocks, if none is missing between the first and the last."""
    last: dict[int, Tensor] = {}
    for tensor, name in table.blocks:
        if name.layer is not None:
            last.setdefault(name.layer, tensor)
    if not last or max(last) != len(last) - 1:
        return None
    return Size(len(last), last[max(last)])


def _hidden(table: _Table) -> Size | None:
    norms = [(t.shape[0], t) for t, _ in table.of(*_BLOCK_NORMS) if len(t.shape) == 1]
    if norms:
        return _same(norms)
    return _same((t.shape[1], t) for t in table.top("embedding") if len(t.shape) == 2)


def _width(tensor: Tensor, hidden: int, experts: int = 1) -> int | None:
    """Divide a matrix's elements by the hidden size; None if they do not divide."""
    elements, per = tensor.elements, hidden * experts
    return elements // per if elements and per and elements % per == 0 else None


def _intermediate(table: _Table, hidden: int) -> Size | None:
    down = table.of("experts.down")
    if not down and any(table.of(*_EXPERT_ROLES)):
        return None
    widths = []
    for tensor, name in down or table.of("mlp.down"):
        fused = bool(down) and name.expert is None
        if len(tensor.shape) != (3 if fused else 2):
            return None
        width = _width(tensor, hidden, tensor.shape[0] if fused else 1)
        if width is None:
            return None
        widths.append((width, tensor))
    return _same(widths)


def _experts(table: _Table, hidden: int) -> Size | None:
    counts: list[tuple[int, Tensor]] = []
    numbers: dict[int | None, tuple[set[int], Tensor]] = {}
    for tensor, name in table.blocks:
        if name.role not in _EXPERT_ROLES or name.part not in ("weight", "packed"):
            continue
        if name.expert is not None:
            numbers.setdefault(name.layer, (set(), tensor))[0].add(name.expert)
        elif len(tensor.shape) >= 3:
            counts.append((tensor.shape[0], tensor))
    for seen, tensor in numbers.values():
        if max(seen) != len(seen) - 1:
            return None
        counts.append((len(seen), tensor))
    if not counts:
        return None
    for tensor, _ in table.of("router"):
        width = _width(tensor, hidden)
        counts.append((width or 0, tensor))
    return _same(counts)


def _attention_widths(table: _Table, hidden: int) -> tuple[int | None, int | None]:
    """Return the width of all queries and of all keys, if both are as in plain attention.

    The output projection takes in what the queries give out. Where it does not (latent
    attention, gates in the query matrix, values of another width) nothing is told.
    """
    out = _common(table.of("attention.o"), hidden)
    if out is None:
        return None, None
    if table.of("attention.qkv"):
        together = _common(table.of("attention.qkv"), hidden)
        if together is None or together <= out or (together - out) % 2:
            return None, None
        return out, (together - out) // 2
    if (
        table.of("attention.q_a", "attention.kv_a")
        or _common(table.of("attention.q"), hidden) != out
    ):
        return None, None
    return out, _common(table.of("attention.k"), hidden)


def _common(pairs: list[tuple[Tensor, TensorName]], hidden: int) -> int | None:
    size = _same((_width(t, hidden) or 0, t) for t, _ in pairs if len(t.shape) == 2)
    return size.value if size and size.value else None


def _heads(table: _Table, queries: int | None, keys: int | None) -> dict[str, Size | None]:
    """Tell heads from tensors that are as long as there are heads, or as one head is wide."""
    counts = [(t.shape[0], t) for t, _ in table.of("attention.sinks") if len(t.shape) == 1]
    counts += [(t.shape[1], t) for t, _ in table.of("attention.relative_bias") if len(t.shape) == 2]
    found: dict[str, Size | None] = {"heads": _same(counts)}
    one = _same((prod(t.shape), t) for t, _ in table.of("norm.q") if len(t.shape) == 1)
    if one is None or queries is None or not 0 < one.value < queries or queries % one.value:
        return found
    found["head_size"] = one
    found["heads"] = Size(queries // one.value, one.tensor)
    if keys is not None and keys % one.value == 0:
        found["kv_heads"] = Size(keys // one.value, one.tensor)
    return found


def _context(table: _Table, extra_rows: int) -> Size | None:
    positions = [
        (tensor, name)
        for tensor, name in table.all
        if name.role == "position_embedding"
        and name.part == "weight"
        and name.stack in _TEXT_STACKS
        and len(tensor.shape) == 2
        and has_logical_shape(tensor)
    ]
    decoding = [pair for pair in positions if pair[1].stack == "decoder"]
    size = _same((t.shape[0] - extra_rows, t) for t, _ in decoding or positions)
    return size if size and size.value > 0 else None


def _crossed(table: _Table) -> Tensor | None:
    if not table.stacks.issuperset({"encoder", "decoder"}):
        return None
    return next((t for t, n in table.all if n.role == "cross_attention.q"), None)


def _inputs(table: _Table) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    kinds = {"vision": "image", "audio": "audio"}
    for tensor, name in table.all:
        if name.layer is not None and name.stack in kinds:
            found.setdefault(kinds[name.stack], tensor)
        elif name.role == "embedding" and name.layer is None and name.stack in _TEXT_STACKS:
            found.setdefault("text", tensor)
    return found
