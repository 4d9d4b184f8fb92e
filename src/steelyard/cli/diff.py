"""`steelyard diff`: what changed from one model to another."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

import click

from steelyard.cli.compare import Size
from steelyard.cli.main import EXIT_FINDINGS
from steelyard.cli.options import NO_CACHE_OPTION, OFFLINE_OPTION, OUTPUT_OPTION, format_option
from steelyard.cli.sealing import cache_of

FORMATS: Final = {
    "text": "steelyard.sealing.reports.difference_text",
    "json": "steelyard.sealing.reports.difference_json",
    "markdown": "steelyard.sealing.reports.difference_markdown",
}


@click.command(name="diff")
@click.argument("old")
@click.argument("new")
@click.option(
    "--moved/--no-moved",
    default=True,
    help="Read samples of changed weights to tell how far they moved.  [default: yes]",
)
@click.option(
    "--budget",
    type=Size(),
    default="64MB",
    metavar="SIZE",
    help="Most bytes to read for that, of both models.  [default: 64MB]",
)
@format_option("text, json or markdown; repeat for several.")
@OUTPUT_OPTION
@OFFLINE_OPTION
@NO_CACHE_OPTION
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.pass_context
def command(ctx: click.Context, /, old: str, new: str, **given: Any) -> None:
    """Diff two models: weights, chat template, tokenizer, license, card and files, in words.

    OLD and NEW are sources or lock files. Exit codes: 0 the same, 1 different, 2 wrong usage,
    3 unreadable.

    \b
    steelyard diff ./model-v1 ./model-v2
    steelyard diff steelyard.lock ./model
    steelyard diff old.lock new.lock --format markdown=changes.md
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.context import network, resolve
    from steelyard.cli.outputs import targets, write
    from steelyard.cli.progress import TerminalProgress
    from steelyard.sealing.comparing import compare_sealed
    from steelyard.sealing.snapshots import Wanted, take

    to = targets(given["formats"], given["outputs"], FORMATS)
    settings = resolve({"offline": given["offline"]}).settings
    with ExitStack() as stack:
        wanted = Wanted(
            network=network(offline=settings.offline),
            cache=None if given["no_cache"] else cache_of(settings),
            progress=stack.enter_context(TerminalProgress(quiet=given["quiet"])),
            lineage=False,
        )
        snapshots = take(old, stack, wanted), take(new, stack, wanted)
        said = compare_sealed(*snapshots, budget=given["budget"] if given["moved"] else 0)
    write(said, to, FORMATS)
    ctx.exit(0 if said.same else EXIT_FINDINGS)
