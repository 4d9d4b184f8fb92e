"""Options that several commands have, so that each is written and explained alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

OUTPUT_OPTION: Final = click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FILE", help="Write to a file."
)
OFFLINE_OPTION: Final = click.option(
    "--offline", is_flag=True, default=None, help="Never use the network."
)
NO_CACHE_OPTION: Final = click.option(
    "--no-cache", is_flag=True, help="Neither use nor fill the cache of digests."
)
QUIET_OPTION: Final = click.option(
    "-q", "--quiet", is_flag=True, help="No progress and no messages on stderr."
)
PACK_OPTION: Final = click.option(
    "--pack",
    "packs",
    multiple=True,
    metavar="PATH",
    help="Use this rule pack too; repeat for several.",
)
DAY_OPTION: Final = click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Under the law of this day.  [default: today]",
)


def format_option(formats: str) -> Callable[[_Command], _Command]:
    """Add the option for the formats of a report, of which several may be asked for.

    Args:
        formats: The formats in words.
    """
    return click.option(
        "-f", "--format", "formats", multiple=True, metavar="NAME[=FILE]", help=formats
    )
