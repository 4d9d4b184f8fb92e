"""The rules themselves, as data: one YAML file for each instrument or practice, with its tests.

`practice/` holds what good practice asks of a model's files and documents. Folders for law and
release gates stand beside it. The packs know no code and the code knows no law: to add a rule is
to add text here, with its source, the day of its review, and the cases that show what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Resource:
    """A pack's file and the name that errors and reports give it."""

    name: str
    path: Traversable


def shipped(under: str = "") -> list[Resource]:
    """Return the packs that come with Steelyard, by name (`practice/integrity.yaml`).

    Args:
        under: The folder to look in (`practice`); empty for all.
    """
    folder = resources.files(__package__)
    found = _below(folder / under, f"{under}/", _DEEPEST) if under else _below(folder, "", _DEEPEST)
    return sorted(found, key=lambda item: item.name)


def _below(folder: Traversable, prefix: str, depth: int) -> list[Resource]:
    found: list[Resource] = []
    for item in folder.iterdir():
        if item.name.endswith(".yaml"):
            found.append(Resource(prefix + item.name, item))
        elif depth and item.is_dir():
            found += _below(item, f"{prefix}{item.name}/", depth - 1)
    return found
