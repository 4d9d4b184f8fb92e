"""Whether attention computes what it did with other numbers: heads in another order or basis.

Values may be mixed within a head, and heads reordered, if the output mixes them back: what values
and output do together, `W_o W_v`, stays as it was. Training that moves both does not keep it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from steelyard.lineage.aligning.alignment import Alignment, sample, spread
from steelyard.lineage.aligning.matching import cosine
from steelyard.lineage.aligning.pairs import Pair
from steelyard.lineage.matrix import Floats, Weights

_LAYERS: Final = 2
_SMALLEST: Final = 4
_SAME: Final = 0.95
"""Least cosine of the products: quantization keeps it, training that turned the parts does not."""


def keeps_products(child: Weights, base: Weights, alignment: Alignment, *, budget: int) -> bool:
    """Tell whether values and output together do what the base's do, in a few layers.

    Args:
        child: The model whose origin is asked.
        base: The model it comes from.
        alignment: What stands beside what.
        budget: Most bytes to read of both.
    """
    found = list(_products(child, base, alignment, budget))
    return bool(found) and min(found) > _SAME


def _products(child: Weights, base: Weights, alignment: Alignment, budget: int) -> Iterator[float]:
    known = [layer for layer, mapped in enumerate(alignment.layers) if mapped is not None]
    for layer in sorted(spread(known, _LAYERS)):
        only = tuple(
            mapped if number == layer else None for number, mapped in enumerate(alignment.layers)
        )
        value = child.matrix("attention.v", layer)
        if value is None:
            continue
        taken = sample(
            child,
            base,
            replace(alignment, layers=only),
            budget=budget // _LAYERS,
            rows=(value.shape[0],),
            roles=("attention.v", "attention.o"),
        )
        values, outputs = taken.of("attention.v"), taken.of("attention.o")
        if values and outputs and values[0].is_full:
            yield from _through(outputs[0], values[0], child.sizes.heads)


def _through(output: Pair, value: Pair, heads: int | None) -> Iterator[float]:
    """Yield how alike are the products of values and output, m x hidden each."""
    copies, left = divmod(output.child.shape[1], max(len(value.child), 1))
    if left or copies < 1:
        return
    ours = output.ours.numbers, value.ours.numbers
    theirs = output.theirs.numbers, value.theirs.numbers
    yield max(
        cosine(ours[0] @ _shared(ours[1], size, copies), theirs[0] @ _shared(theirs[1], size,
                                                                             copies))
        for size in _sizes(output.child.shape[1], len(value.child), copies, heads)
    )  # fmt: skip


def _sizes(width: int, rows: int, copies: int, heads: int | None) -> list[int]:
    """Return the sizes that heads may have; that of another size makes no products alike."""
    if copies == 1:
        return [rows]
    if heads and width % heads == 0 and rows % (width // heads) == 0:
        return [width // heads]
    return [size for size in range(_SMALLEST, rows + 1) if rows % size == 0] or [rows]


def _shared(value: Floats, size: int, copies: int) -> Floats:
    """Repeat the values of each head for all heads of queries that share them."""
    groups = np.repeat(value.reshape(-1, size, value.shape[1]), copies, axis=0)
    result: Floats = groups.reshape(-1, value.shape[1])
    return result
