"""Norms that were folded into the matrices after them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats, Weights


def folded(child: Weights, base: Weights, layers: Sequence[int | None]) -> bool:
    """Tell whether all of the child's norms are ones while the base's are not."""
    ours: list[float] = []
    theirs: list[float] = []
    for layer, mapped in enumerate(layers):
        for role in ("norm.attention", "norm.mlp"):
            mine = child.matrix(role, layer)
            other = None if mapped is None else base.matrix(role, mapped)
            if mine is not None and other is not None and len(ours) < 16:
                ours.append(_unlike_one(mine.whole()))
                theirs.append(_unlike_one(other.whole()))
    return bool(ours) and max(ours) < 1e-6 and median(theirs) > 1e-3


def _unlike_one(norm: Floats) -> float:
    difference = np.nan_to_num(np.abs(norm - 1), nan=1.0, posinf=1.0)
    return float(difference.mean()) if norm.size else 0.0
