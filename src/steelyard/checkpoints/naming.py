"""What a tensor is, told from its name.

Every framework names the same matrix differently: `model.layers.3.self_attn.q_proj.weight` in
Transformers, `blk.3.attn_q.weight` in GGUF. Both are read here into one `TensorName`, and have
the canonical name `layers.3.attention.q.weight`. The patterns are data
(`knowledge/tensor_names.yaml`). Reading a name takes a few dictionary look-ups, whatever the name
is; a name that no pattern knows is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from steelyard import knowledge
from steelyard.checkpoints.tensors import Checkpoint, Tensor

_LONGEST_NAME = 512
_MOST_WORDS = 32
_MOST_WRAPPERS = 8
_LONGEST_NUMBER = 6
_TEXT_STACKS = ("encoder", "decoder")

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorName:
    """What a tensor is for.

    Law: `canonical` differs for different values.
    """

    role: str
    """What it does: `embedding`, `attention.q`, `mlp.down`, `norm.final`, `router`, ..."""
    part: str
    """Which part of it: `weight`, `bias`, `packed`, `scale`, `lora_a`, ..."""
    layer: int | None = None
    """Number of the block it lies in, counted from 0; None outside of blocks."""
    expert: int | None = None
    """Number of the expert; None when there is none, or all lie in one tensor."""
    stack: str | None = None
    """`encoder`, `decoder`, `vision`, `audio`, `projector`; None where the name does not say."""

    @property
    def canonical(self) -> str:
        """Write the canonical name, stack and all: `decoder.layers.3.attention.q.weight`."""
        words = [self.stack] if self.stack else []
        if self.layer is not None:
            words += ["layers", str(self.layer)]
        first, dot, rest = self.role.partition(".")
        words += [first, str(self.expert)] if self.expert is not None else [first]
        return ".".join([*words, rest, self.part] if dot else [*words, self.part])


@dataclass(frozen=True, slots=True)
class _Pattern:
    role: str
    part: str | None
    """None when the part follows in the name."""
    slots: Words
    """What each number of the pattern stands for: `expert`, or digits for themselves."""


Patterns = dict[str, list[_Pattern]]


@dataclass(frozen=True, slots=True)
class _Table:
    wrappers: Mapping[str, tuple[Words, ...]]
    """By first word; longest first."""
    stacks: Mapping[str, str]
    layers: frozenset[str]
    top: Patterns
    block: Patterns
    of_stack: Mapping[str, Patterns]
    parts: Mapping[str, str]
    trailing: Mapping[str, str]
    adapters: Mapping[str, str]
    dialects: tuple[tuple[str, str, str], ...]
    permuted: frozenset[str]
    norm_plus_one: frozenset[str]


def _is_number(word: str) -> bool:
    return word.isdecimal() and word.isascii() and len(word) <= _LONGEST_NUMBER


def _marked(words: Iterable[str]) -> Words:
    """Write `#` for every number."""
    return tuple(["#" if _is_number(word) else word for word in words])


def _patterns(roles: Mapping[str, Iterable[str]]) -> Patterns:
    found: Patterns = {}
    for role, texts in roles.items():
        for text in texts:
            spelling, _, part = text.partition(" = ")
            words = spelling.replace("{expert}", "0").split(".")
            slots = tuple(
                "expert" if word == "{expert}" else word
                for word in spelling.split(".")
                if word == "{expert}" or _is_number(word)
            )
            found.setdefault(".".join(_marked(words)), []).append(
                _Pattern(role, part or None, slots)
            )
    return found


@cache
def _table() -> _Table:
    data: dict[str, Any] = knowledge.load("tensor_names")
    wrappers: dict[str, tuple[Words, ...]] = {}
    for text in data["wrappers"]:
        words = tuple(text.split("."))
        known = wrappers.get(words[0], ())
        wrappers[words[0]] = tuple(sorted((*known, words), key=len, reverse=True))
    return _Table(
        wrappers=wrappers,
        stacks=data["stacks"],
        layers=frozenset(data["layers"]),
        top=_patterns(data["top"]),
        block=_patterns(data["block"]),
        of_stack={stack: _patterns(data[stack]) for stack in _TEXT_STACKS},
        parts=data["parts"],
        trailing=data["trailing_parts"],
        adapters=data["adapters"],
        dialects=tuple((d["when"], d["word"], d["role"]) for d in data["dialects"]),
        permuted=frozenset(data["permuted"]),
        norm_plus_one=frozenset(data["norm_plus_one"]),
    )


def split_part(name: str) -> tuple[str, str | None]:
    """Split a name into what it belongs to and its part; the part is None if it has none known.

    `a.q_proj.lora_A.default.weight` gives `a.q_proj` and `lora_a`, `a.qweight` gives `a` and
    `packed`. Names with the same first half belong together.
    """
    words = tuple(name.split("."))
    end, part = _split(words)
    return ".".join(words[:end]), part


def _split(words: Words) -> tuple[int, str | None]:
    """Count the words before the part, and name the part."""
    table = _table()
    count = len(words)
    for back in range(1, min(4, count)):
        adapter = table.adapters.get(words[-back])
        if adapter is not None and (back < 3 or words[-1] == "weight"):
            end = count - back
            return end - (end > 1 and words[end - 1] == "weight"), adapter
    if words[-1] in table.trailing:
        end = count - 3 if words[-2:-1] == ("quant_state",) else count - 2
        if end > 0 and words[end] == "weight":
            return end, table.trailing[words[-1]]
    part = table.parts.get(words[-1])
    if part is None or count < 2:
        return count, None
    return count - 1 - (count > 2 and words[-2] == "base_layer"), part


def parse(name: str) -> TensorName | None:
    """Tell what the tensor called `name` is; None when no pattern knows the name."""
    if len(name) > _LONGEST_NAME:
        return None
    words = tuple(name.split("."))
    if len(words) > _MOST_WORDS:
        return None
    table = _table()
    marked = _marked(words)
    end, part = _split(words)
    stack: str | None = None
    start = 0
    for _ in range(_MOST_WRAPPERS):
        layer: int | None = None
        tables = [table.top]
        if words[start] in table.layers and marked[start + 1 : start + 2] == ("#",):
            layer = int(words[start + 1])
            start += 2
            tables = [table.of_stack.get(stack or "", {}), table.block]
        for patterns in tables:
            for stop, known in ((len(words), None), (end, part)):
                for pattern in patterns.get(".".join(marked[start:stop]), ()):
                    expert = _expert(pattern.slots, words[start:stop])
                    if (pattern.part is None) is not (known is None) and expert is not False:
                        role, part = pattern.role, known or pattern.part or ""
                        return TensorName(role, part, layer, expert, stack)
        dropped, stack = _drop(words[start:], stack)
        if layer is not None or not dropped:
            return None
        start += dropped
    return None


def _expert(slots: Words, words: Words) -> int | Literal[False] | None:
    """Return the expert's number, None if the pattern has none, False if a digit differs."""
    expert: int | None = None
    if not slots:
        return None
    for slot, number in zip(slots, filter(_is_number, words), strict=True):
        if slot == "expert":
            expert = int(number)
        elif slot != number:
            return False
    return expert


def _drop(words: Words, stack: str | None) -> tuple[int, str | None]:
    """Count the leading words that are a wrapper or name a stack; return the stack with it."""
    table = _table()
    for wrapper in table.wrappers.get(words[0], ()) if words else ():
        if words[: len(wrapper)] == wrapper and len(words) > len(wrapper):
            return len(wrapper), stack
    named = table.stacks.get(words[0]) if len(words) > 1 else None
    if named is None:
        return 0, stack
    # A vision tower may have an encoder of its own: what is named first says more.
    return 1, named if stack is None or stack in _TEXT_STACKS else stack


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Give each name of one checkpoint its canonical name.

    A name that no pattern knows keeps its own spelling. So do names that would share a canonical
    name: the result is one to one. A stack is named only where there are several.
    """
    names = list(dict.fromkeys(names))
    parsed = parse_together(names)
    stacks = {found.stack for found in parsed.values()}
    lone = not stacks.issuperset(_TEXT_STACKS)
    result: dict[str, str] = {}
    for name in names:
        found = parsed.get(name)
        if found is None:
            result[name] = name
        elif lone and found.stack in _TEXT_STACKS:
            result[name] = replace(found, stack=None).canonical
        else:
            result[name] = found.canonical
    return _one_to_one(result)


def parse_together(names: Sequence[str]) -> dict[str, TensorName]:
    """Parse all names of one checkpoint, minding words that change their meaning beside others."""
    parsed = {name: found for name in names if (found := parse(name)) is not None}
    for when, word, role in _table().dialects:
        if any(when in name for name in names):
            for name, found in parsed.items():
                if found.layer is not None and f".{word}." in name:
                    parsed[name] = replace(found, role=role)
    return parsed


def _one_to_one(result: dict[str, str]) -> dict[str, str]:
    """Give every name that shares its canonical name its own spelling back."""
    holders: dict[str, list[str]] = {}
    for name, target in result.items():
        holders.setdefault(target, []).append(name)
    shared = [name for held in holders.values() if len(held) > 1 for name in held]
    while shared:
        name = shared.pop()
        if result[name] != name:
            # Another name may hold this spelling as its canonical name: it must yield as well.
            shared += [other for other in holders.get(name, ()) if result[other] == name != other]
            result[name] = name
    return result


def gguf_permutation(checkpoint: Checkpoint, tensor: Tensor) -> int | None:
    """Count the heads by which llama.cpp's converter reordered the rows of a tensor.

    The two halves of each rotary pair were brought side by side: with `n` heads, the rows as
    published are `stored.reshape(n, rows // n // 2, 2, ...).swapaxes(1, 2)` of those stored.
    None for tensors that were not reordered: all but the queries and keys of some architectures.

    Source: `LlamaModel.permute` in convert_hf_to_gguf.py of ggml-org/llama.cpp.
    """
    architecture = checkpoint.metadata.get("general.architecture")
    if checkpoint.format != "gguf" or architecture not in _table().permuted:
        return None
    name = parse(tensor.name)
    if name is None or name.layer is None or name.part not in ("weight", "bias", "lora_b"):
        return None
    if name.role not in ("attention.q", "attention.k") or name.stack is not None:
        return None
    heads = checkpoint.metadata.get(f"{architecture}.attention.head_count")
    if name.role == "attention.k":
        heads = checkpoint.metadata.get(f"{architecture}.attention.head_count_kv", heads)
    if isinstance(heads, tuple):
        heads = heads[name.layer] if name.layer < len(heads) else None
    if not isinstance(heads, int) or isinstance(heads, bool) or heads <= 0 or not tensor.shape:
        return None
    return heads if tensor.shape[0] % (2 * heads) == 0 else None


def gguf_norm_shift(checkpoint: Checkpoint) -> float:
    """Return what llama.cpp's converter added to the weights of norms: 1 for some, else 0.

    Source: `norm_shift` and `modify_tensors` of the Gemma models in convert_hf_to_gguf.py.
    """
    architecture = checkpoint.metadata.get("general.architecture")
    return float(checkpoint.format == "gguf" and architecture in _table().norm_plus_one)
