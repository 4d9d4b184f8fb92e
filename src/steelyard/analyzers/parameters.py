"""How many parameters are there, counted from the weights themselves?

The total holds every trained parameter once: tied weights once, quantized blocks as the elements
they decode to, adapters apart. Constants, statistics and what decodes quantized weights are left
out, and the note says so.

Active parameters are those that take part in one token's forward pass: all but the experts that
the router does not choose, and but the blocks that predict further tokens. The embedding table and
the shared experts are counted in, as is usual in published figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from steelyard.analyzers.architecture import at, is_complete
from steelyard.analyzers.configurations import (
    Stated,
    knowledge_of,
    language_part,
    read_config,
    read_gguf,
)
from steelyard.analyzers.counting import COPY, Count, Counted, Packing, count
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.grouping import is_adapter
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, Tensor
from steelyard.facts import Basis, Evidence, Fact, Interval

_NAMED_ENOUGH = 0.9
_VAGUE = 0.05
_PACKED_PARTS = ("weight", "packed")


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the numbers of parameters.

    Facts: `model.parameters.total`, `.active`, `.embedding` and `.adapter`. No total is given when
    a part of the weights is missing, or packed in a way that does not show how many they are.
    """
    main = model.main
    if main is None or not main.tensors:
        return
    config, gguf = read_config(model), read_gguf(model)
    packing = _packing(model)
    counted = count(main, packing)
    yield from _adapters(model, counted, packing)
    if is_adapter(main) or not is_complete(main):
        return
    yield from _label(main, counted)
    if counted.unknown or not counted.parameters:
        return
    evidence = (Evidence(file=main.files[0]),)
    yield Fact("model.parameters.total", counted.total, Basis.MEASURED, evidence, _note(counted))
    yield from _embedding(counted)
    yield from _active(counted, [stated for stated in (config, gguf) if stated is not None])


def _packing(model: Model) -> Packing:
    """Read how the configuration says that weights are packed."""
    found = model.config()
    content: Mapping[str, JsonValue] = found[1] if found else {}
    _, inner = language_part(content)
    for holder in (content, inner):
        for key in ("quantization_config", "quantization"):
            stated = holder.get(key)
            if isinstance(stated, dict):
                return Packing(_bits(stated), _whole(stated.get("group_size")))
    return Packing()


def _bits(stated: Mapping[str, JsonValue]) -> int | None:
    groups = stated.get("config_groups")
    if isinstance(groups, dict):
        weights = [g.get("weights") for g in groups.values() if isinstance(g, dict)]
        bits = {_whole(w.get("num_bits")) for w in weights if isinstance(w, dict)}
        return bits.pop() if len(bits) == 1 else None
    return _whole(stated.get("bits")) or _whole(stated.get("w_bit"))


def _whole(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= 1024 else None


def _adapters(model: Model, of_main: Count, packing: Packing) -> Iterator[Fact]:
    """Count the adapter that is mixed with the main weights, or the first that lies beside."""
    for weights in model.weights:
        alone, is_main = is_adapter(weights), weights is model.main
        if alone or is_main:
            counted = of_main if is_main else count(weights, packing)
            parts = [*counted.adapter, *(counted.parameters if alone else ())]
            if parts:
                total = sum(part.parameters for part in parts)
                evidence = (Evidence(file=weights.files[0]),)
                yield Fact("model.parameters.adapter", total, Basis.MEASURED, evidence)
                return


def _note(counted: Count) -> str:
    """Say what was left out."""
    notes = [
        f"{sum(t.elements for t in tensors):,} elements of {reason} ({_example(tensors)})"
        for reason, tensors in sorted(counted.left_out.items())
    ]
    if counted.adapter:
        notes.append(f"{sum(c.parameters for c in counted.adapter):,} of an adapter")
    told = [f"left out: {', '.join(notes)}"] if notes else []
    if counted.aliases:
        told.append(f"counted once under two names: {_example(counted.aliases)}")
    layers = _mtp_layers(counted)
    further = sum(c.parameters for c in counted.parameters if _further(c, layers))
    if further:
        told.append(f"{further:,} are in blocks that predict further tokens")
    return "; ".join(told)


def _example(tensors: list[Tensor]) -> str:
    first = tensors[0].name[:80]
    return first if len(tensors) == 1 else f"{first} and {len(tensors) - 1} more"


def _embedding(counted: Count) -> Iterator[Fact]:
    parts = [
        c
        for c in counted.parameters
        if c.name is not None
        and c.name.role in ("embedding", "output_head")
        and c.name.part in _PACKED_PARTS
        and c.name.layer is None
        and c.name.stack in (None, "encoder", "decoder")
    ]
    if any(c.name is not None and c.name.role == "embedding" for c in parts):
        total = sum(c.parameters for c in parts)
        evidence = tuple(at(c.tensor) for c in parts)
        yield Fact("model.parameters.embedding", total, Basis.MEASURED, evidence)


@dataclass(slots=True)
class _Layer:
    """The routed experts of one block."""

    parameters: int = 0
    experts: int = 0


def _mtp_layers(counted: Count) -> set[tuple[str | None, int | None]]:
    names = [c.name for c in counted.parameters if c.name is not None]
    return {(n.stack, n.layer) for n in names if n.role.startswith("mtp.")}


def _further(counted: Counted, layers: set[tuple[str | None, int | None]]) -> bool:
    return counted.name is not None and (counted.name.stack, counted.name.layer) in layers


def _active(counted: Count, witnesses: list[Stated]) -> Iterator[Fact]:
    further = _mtp_layers(counted)
    layers: dict[tuple[str | None, int | None], _Layer] = {}
    base = 0
    for part in counted.parameters:
        name = part.name
        if _further(part, further):
            continue
        base += part.parameters
        if name is not None and name.role.startswith("experts."):
            layer = layers.setdefault((name.stack, name.layer), _Layer())
            layer.parameters += part.parameters
            fused = part.tensor.shape[0] if len(part.tensor.shape) >= 2 else 0
            layer.experts = max(
                layer.experts, name.expert + 1 if name.expert is not None else fused
            )
    parents = ["model.parameters.total"]
    if not layers:
        if _surely_dense(counted, witnesses):
            note = "there are no experts to choose from"
            yield Fact("model.parameters.active", base, Basis.DERIVED, _parents(parents), note)
        return
    chosen = {s.sizes["experts.active"][0] for s in witnesses if "experts.active" in s.sizes}
    low = _with_experts(base, layers, min(chosen) if chosen else 1)
    high = _with_experts(base, layers, max(chosen) if chosen else None)
    if low is None or high is None:
        return
    if chosen:
        parents.append("model.experts.active")
        note = f"of each block's experts, {' or '.join(map(str, sorted(chosen)))} for each token"
    else:
        note = "from one expert to all, as nothing says how many are chosen"
    value = low if low == high else Interval(low, high)
    yield Fact("model.parameters.active", value, Basis.DERIVED, _parents(parents), note)


def _with_experts(
    base: int, layers: Mapping[tuple[str | None, int | None], _Layer], chosen: int | None
) -> int | None:
    """Count the parameters that take part when `chosen` experts of each block do (None: all)."""
    if chosen is None:
        return base
    for layer in layers.values():
        if layer.experts < chosen or layer.parameters % layer.experts:
            return None
        base -= layer.parameters // layer.experts * (layer.experts - chosen)
    return base


def _parents(names: list[str]) -> tuple[Evidence, ...]:
    return (Evidence(parents=tuple(names)),)


def _surely_dense(counted: Count, witnesses: list[Stated]) -> bool:
    """Tell whether there are no experts: nothing states any, and the tensors are known."""
    if any("experts" in stated.sizes for stated in witnesses):
        return False
    designs = knowledge_of("designs").values()
    if any(stated.family in families for stated in witnesses for families in designs):
        return True
    named = sum(c.parameters for c in counted.parameters if c.name is not None)
    return named >= _NAMED_ENOUGH * counted.total


def _label(main: Checkpoint, counted: Count) -> Iterator[Fact]:
    """Read the sizes that GGUF metadata states.

    `8x7B` is not a total. Where the file holds a copy of the embedding, the label may count it.
    """
    number = main.metadata.get("general.parameter_count")
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        evidence = Evidence(file=main.files[0], field="general.parameter_count")
        yield Fact("model.parameters.total", number, Basis.DECLARED, (evidence,))
    label = main.metadata.get("general.size_label")
    if not isinstance(label, str) or not label[-1:].isalpha() or COPY in counted.left_out:
        return
    claim = meant_by(label)
    if claim is not None:
        evidence = Evidence(file=main.files[0], field="general.size_label", quote=label[:40])
        yield Fact("model.parameters.total", claim, Basis.DECLARED, (evidence,))


def meant_by(label: str) -> Interval | None:
    """Return the range that a label such as `7B`, `1.7B` or `270M` may stand for.

    Some publishers round and some cut: it reaches from half a unit of the last digit below to a
    whole unit above (Qwen2.5-7B has 7.6 billion). Zeros at the end may not be meant, within
    five percent (Gemma 3 270M has 268 million). None if it is no such label.
    """
    rounded = Interval.from_rounded(label)
    if rounded is None or rounded.low <= 0:
        return None
    half = (rounded.high - rounded.low) / 2
    value = rounded.low + half
    digits = label.strip().rstrip("kmbtKMBT ")
    zeros = 0 if "." in digits else len(digits) - len(digits.rstrip("0"))
    vague = min(half * 10**zeros, _VAGUE * value)
    return Interval(value - max(half, vague), value + max(2 * half, vague))
