"""What the commands that seal and verify share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from steelyard.checkpoints.digest_cache import DigestCache
    from steelyard.cli.settings import Settings

_TURN: Final = 0.0005
_Command = TypeVar("_Command", bound=Callable[..., Any])
FILE: Final = click.Path(path_type=Path)
"""A path; whoever opens it says what is wrong with it."""


def path_options(command: _Command) -> _Command:
    """Add the options that say which files count."""
    for option in (
        click.option(
            "--allow-symlinks", is_flag=True,
            help="Follow links that stay within the folder; otherwise a link is an error.",
        ),
        click.option(
            "--ignore", "ignored", multiple=True, metavar="PATH",
            help="Leave out this path within SOURCE, and all below it; repeat for several.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def take_turns() -> None:
    """Let threads take turns more often than every five milliseconds.

    Libraries for signatures are imported while files are hashed; at the usual pace a thread that
    hashes a block in less than one would wait five for its next.
    """
    sys.setswitchinterval(_TURN)


def cache_of(settings: Settings) -> DigestCache | None:
    """Return the cache of digests that the settings name; None where they name none."""
    if not settings.cache_dir:
        return None
    from steelyard.checkpoints.digest_cache import DigestCache

    return DigestCache(Path(settings.cache_dir) / "digests.sqlite")
