"""What an import of a pickle is worth, in three grades, by an allowlist."""

from __future__ import annotations

from functools import cache
from typing import Final

from steelyard.knowledge import load_lists

REBUILDS: Final = "rebuilds"
"""It only puts tensors, plain values and the attributes of known estimators together."""
DANGEROUS: Final = "dangerous"
"""It runs commands, code or network access, or leads there."""
UNKNOWN: Final = "unknown"
"""Nothing is known of it, so nothing is claimed."""


def grade(name: str) -> str:
    """Grade a dotted name: `rebuilds`, `dangerous` or `unknown`."""
    rebuilds, dangerous, modules = _tables()
    if name in rebuilds:
        return REBUILDS
    return DANGEROUS if name in dangerous or name.startswith(modules) else UNKNOWN


@cache
def _tables() -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    """Return what rebuilds, what is dangerous, and how names in dangerous modules begin."""
    table = load_lists("pickle_imports")
    whole = [entry for entry in table["dangerous"] if not entry.endswith(".*")]
    modules = [entry[:-1] for entry in table["dangerous"] if entry.endswith(".*")]
    harmless = frozenset((*table["rebuilds"], *load_lists("estimators")["estimators"]))
    return harmless, frozenset(whole), tuple(modules)
