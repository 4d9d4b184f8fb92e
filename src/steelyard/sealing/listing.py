"""Which files a signature covers: all but those that its ignore list names.

A source passes over what version control and desktops leave behind, as nobody wants to be told
about it. A signature may not: a compiled file in `__pycache__` runs as well as any other. The
rules are those of OpenSSF model signing, so that both list the same files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from steelyard.checkpoints.signatures import covers
from steelyard.errors import SourceError
from steelyard.sources.hf_cache import enclosing_snapshot
from steelyard.sources.paths import printable
from steelyard.sources.walking import Listing, list_folder


def sealed_files(
    folder: Path, ignored: Iterable[str] = (), *, allow_symlinks: bool = False
) -> Mapping[str, Path]:
    """List every file of a folder, by path within it, with its place on disk.

    Args:
        folder: The folder.
        ignored: Paths within it that are left out, with all that lies below them.
        allow_symlinks: Follow links that stay within the folder (or, of a snapshot in the hub
            cache, within that model's blobs); otherwise a link is an error.

    Raises:
        SourceError: If there is a link, a device, or something that may not be read: what cannot
            be listed cannot be vouched for.
    """
    left_out = tuple(ignored)
    real = Path(os.path.realpath(folder))
    snapshot = enclosing_snapshot(real)
    listing = list_folder(real, also=snapshot.blobs if snapshot else None, noise=frozenset())
    found = {path: entry.real for path, entry in listing.entries.items() if covers(left_out, path)}
    _refuse_unlisted(listing, left_out)
    if not allow_symlinks:
        for path, place in found.items():
            if place != real / path:
                raise _linked(path)
    return found


def _refuse_unlisted(listing: Listing, left_out: tuple[str, ...]) -> None:
    """Refuse a folder of which something could not be listed."""
    for skipped in listing.skipped:
        if covers(left_out, skipped.path):
            raise SourceError(
                "cannot be sealed or verified",
                why=f"{skipped.reason.value.replace('_', ' ')}: {skipped.detail}".rstrip(": "),
                fix="remove it, or leave it out with --ignore",
                file=skipped.path,
            )


def _linked(path: str) -> SourceError:
    return SourceError(
        "is a symbolic link, or lies behind one, which no signature covers",
        why="what a link leads to can change without the folder being touched",
        fix="put the file itself there, or say --allow-symlinks",
        file=printable(path),
    )
