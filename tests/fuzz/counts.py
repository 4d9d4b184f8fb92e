"""How much damage fuzz tests do: little in every run, much when it is asked for.

`STEELYARD_FUZZ=10000 pytest tests/fuzz` gives every reader 10,000 damaged files, and a tenth of
them to tests that audit or compare whole models, which read each with all that there is.
"""

from __future__ import annotations

import os


def fuzz_count(default: int, share: int = 1) -> int:
    """Return how many damaged files to try.

    Args:
        default: How many there are at least.
        share: What part of `STEELYARD_FUZZ` to take where that is more: 10 for a tenth.
    """
    return max(default, int(os.environ.get("STEELYARD_FUZZ") or 0) // share)
