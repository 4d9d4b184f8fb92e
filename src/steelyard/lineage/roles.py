"""What matrices read and write, by the roles of `knowledge/tensor_names.yaml`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

UP: Final = ("mlp.up", "experts.up")
"""Whose rows are neurons, gated or not."""
INTO_NEURONS: Final = (*UP, "mlp.gate", "experts.gate")
"""Whose rows are neurons."""
FROM_NEURONS: Final = ("mlp.down", "experts.down")
"""Whose columns are neurons."""
WRITING: Final = ("attention.o", *FROM_NEURONS)
"""What layers write to the residual stream with: rows are hidden dimensions."""
BY_TOKEN: Final = ("embedding", "output_head")
"""Whose rows are tokens."""
NORM_BEFORE: Final = MappingProxyType(
    {
        "attention.q": "norm.attention",
        "attention.k": "norm.attention",
        "attention.v": "norm.attention",
        **dict.fromkeys((*INTO_NEURONS, "router"), "norm.mlp"),
        "output_head": "norm.final",
    }
)
"""Matrices that read the residual stream, and the norm before them."""
