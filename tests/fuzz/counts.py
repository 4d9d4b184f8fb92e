"""How much damage fuzz tests do: little in every run, much when it is asked for.

`STEELYARD_FUZZ=10000 pytest tests/fuzz` makes every fuzz test use 10,000 damaged files.
"""

from __future__ import annotations

import os


def fuzz_count(default: int) -> int:
    """Return how many damaged files to try: `STEELYARD_FUZZ`, where it asks for more."""
    return max(default, int(os.environ.get("STEELYARD_FUZZ") or 0))
