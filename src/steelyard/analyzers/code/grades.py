"""What an import of a pickle is worth, in three grades, by an allowlist."""

from __future__ import annotations

from steelyard.knowledge import load


def grade(name: str) -> str:
    """Grade a dotted name: `rebuilds`, `dangerous` or `unknown`."""
    table = load("pickle_imports")
    if name in table["rebuilds"]:
        return "rebuilds"
    for entry in table["dangerous"]:
        if name == entry or (entry.endswith(".*") and name.startswith(entry[:-1])):
            return "dangerous"
    return "unknown"
