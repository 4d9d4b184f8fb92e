"""What lineage found, in the words of facts and notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from steelyard.lineage.relating.nameless import TENSOR
from steelyard.lineage.relation import Component, Encoding, EncodingKind, Related, Relatedness

_ROUNDING: Final = 3.9
"""Most that rounding to b bits changes weights, as a multiple of 2^-b of their size: three times
what blocks of 32 lose (1.3), as whole rows, uneven levels and mixtures lose more."""
_FEWEST_BITS: Final = 2
_MOST_BITS: Final = 8
_BITS: Final = re.compile(r"(?<![0-9])[0-9](?![0-9])")
_VERBS: Final = {
    EncodingKind.CAST: "cast",
    EncodingKind.QUANTIZED: "quantized",
    EncodingKind.DEQUANTIZED: "dequantized",
}


def shared(parts: Sequence[Component]) -> str:
    """Say which parts have an origin in the base: `the embedding and 6 of 6 layers`."""
    singles = [part.name for part in parts if part.base and _kind(part) is None]
    named = [f"the {name}" for name in singles if not name.startswith(TENSOR)]
    tensors = len(singles) - len(named)
    if tensors:
        of = sum(part.name.startswith(TENSOR) for part in parts)
        named.append(f"{tensors} of {of} tensors")
    stacks = Counter(kind for part in parts if (kind := _kind(part)) is not None)
    matched = Counter(kind for part in parts if part.base and (kind := _kind(part)) is not None)
    named += [
        f"{matched[stack]} of {count} {_layers(stack)}"
        for stack, count in sorted(stacks.items())
        if matched[stack]
    ]
    return listed(named)


def sibling(related: Relatedness, name: str) -> str:
    """Say what is shared with a model, and that the rest is not."""
    parts = related.components
    text = f"shares {shared(parts) or 'a component'} with {name}"
    blocks = [part for part in parts if _kind(part) is not None]
    tensors = [part for part in parts if part.name.startswith(TENSOR)]
    if blocks and not any(part.base for part in blocks):
        return f"{text}, and no layer"
    if len(tensors) > 1 and not any(part.base for part in tensors):
        return f"{text}, and none of {len(tensors)} other tensors"
    return text if blocks or tensors else f"{text}; the rest could not be compared"


def is_whole(related: Relatedness, *, layered: bool) -> bool:
    """Tell whether a model as a whole is related.

    Where the base's matrices have no names, the embedding may be all that could be compared.

    Args:
        related: What was found.
        layered: Whether the model has more than an embedding and a head.
    """
    beyond = [
        part
        for part in related.components
        if _kind(part) is not None or part.name.startswith(TENSOR)
    ]
    return related.verdict is Related.RELATED and (bool(beyond) or not layered)


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _kind(part: Component) -> str | None:
    """Return the stack that a layer belongs to; None for what is no layer."""
    stack, found, _ = part.name.rpartition("layers.")
    return stack if found else None


def _layers(stack: str) -> str:
    return f"{stack.rstrip('.')} layers" if stack else "layers"


def within_rounding(change: float, encoding: str) -> bool:
    """Tell whether the rounding of an encoding (`Q4_K_M`, `I8`) explains a relative change."""
    found = _BITS.search(encoding)
    bits = int(found[0]) if found else 0
    return _FEWEST_BITS <= bits <= _MOST_BITS and change <= _ROUNDING * 2.0**-bits


def encoded(said: Encoding) -> str | None:
    """Write an encoding: `quantized from F32 to I8`; None where it cannot be told."""
    if said.kind is EncodingKind.CANNOT_TELL:
        return None
    if said.kind is EncodingKind.SAME:
        return f"same: {said.child}" if said.child else "same"
    text = f"{_VERBS[said.kind]} from {said.base} to {said.child}"
    return f"{text}; {said.note}" if said.note else text
