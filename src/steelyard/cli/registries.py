"""The registries of known bases that a command looks in: what ships, and what the user has."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steelyard.lineage.known.registry import Registry

OWN: Final = "known_bases.lineage"
"""Name of the user's registry in the user's data folder."""


def paths_in_use(named: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of the user's registries: those named, else the one in the data folder.

    The first is the one that commands write to. The last may not be there yet.
    """
    own = Path(platformdirs.user_data_dir("steelyard")) / OWN
    return tuple(map(Path, named)) or (own,)


def open_registries(named: Iterable[str], stack: ExitStack) -> tuple[Registry, ...]:
    """Open the user's registries, in order, and add the one that ships.

    Args:
        named: Files of registries, as options and settings name them.
        stack: What closes them.

    Raises:
        SourceError: If one that is named cannot be opened.
        CheckpointError: If one is no registry, or is damaged.
    """
    from steelyard.lineage.known.registry import Registry, shipped_registry

    listed = tuple(named)
    paths = [path for path in paths_in_use(listed) if listed or path.exists()]
    return (*(stack.enter_context(Registry.open(path)) for path in paths), shipped_registry())
