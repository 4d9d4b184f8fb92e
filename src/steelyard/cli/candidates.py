"""Models that may explain a child: named by the user, or relatives that registries know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from steelyard.cli.main import printable
from steelyard.errors import CheckpointError, SourceError

if TYPE_CHECKING:
    from steelyard.checkpoints.model import Model
    from steelyard.lineage.known.entries import Entry

_MOST: Final = 8
"""Relatives that are compared besides the base: each takes as much reading as the base does."""
_REMOTE: Final = ("hf://", "https://", "http://")
Open = Callable[[str], "Model"]


def known_candidates(
    child: Model, registries: Sequence[str], open_model: Open, *, fetch: bool, quiet: bool
) -> dict[str, Model]:
    """Open the relatives of a model that registries know, by their names there.

    Args:
        child: The model whose origin is asked.
        registries: Files of registries.
        open_model: Opens a source.
        fetch: Whether sources that are not on this machine may be opened, too: those of the
            registry that ships are none else.
        quiet: Whether to keep to oneself what cannot be opened.

    Raises:
        SourceError: If a registry cannot be opened.
        CheckpointError: If one is damaged.
    """
    found: dict[str, Model] = {}
    away: list[str] = []
    for entry in _relatives(child, registries, shipped=fetch):
        if len(found) >= _MOST:
            break
        if not _is_at_hand(entry, fetch=fetch):
            away.append(entry.title)
            continue
        try:
            found[entry.title] = open_model(entry.source or "")
        except (SourceError, CheckpointError):
            away.append(entry.title)
    if away and not quiet:
        named = ", ".join(map(printable, away[:_MOST]))
        click.echo(
            f"note: related, but not at hand: {named}; name a copy with --candidate", err=True
        )
    return found


def _relatives(child: Model, registries: Sequence[str], *, shipped: bool) -> Iterator[Entry]:
    from steelyard.cli.registries import open_registries
    from steelyard.lineage.known.registry import Registry, search
    from steelyard.lineage.reading.weights import open_weights
    from steelyard.lineage.relating.sketches import sketch_of

    with ExitStack() as stack:
        if shipped:
            known = open_registries(registries, stack)
        else:
            known = tuple(stack.enter_context(Registry.open(Path(path))) for path in registries)
        weights = stack.enter_context(open_weights(child))
        found = search(sketch_of(weights), known, child=weights)
        yield from (match.entry for match in found.matches)


def _is_at_hand(entry: Entry, *, fetch: bool) -> bool:
    source = entry.source or ""
    if source.startswith(_REMOTE):
        return fetch
    return bool(source) and Path(source).exists()
