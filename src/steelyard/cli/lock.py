"""`steelyard lock`: pin everything that tells one model from another."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.main import EXIT_FINDINGS, printable
from steelyard.cli.options import NO_CACHE_OPTION, OFFLINE_OPTION, QUIET_OPTION
from steelyard.cli.sealing import FILE, cache_of

if TYPE_CHECKING:
    # Imported when the command runs: `lock --help` need not wait for them.
    from steelyard.sealing.snapshots import Snapshot, Wanted


@click.command(name="lock")
@click.argument("source")
@click.option(
    "-o",
    "--output",
    "output",
    type=FILE,
    default="steelyard.lock",
    metavar="FILE",
    help="Write, or with --check read, this file.  [default: steelyard.lock]",
)
@click.option("--check", is_flag=True, help="Write nothing; say what differs from the lock.")
@click.option(
    "--lineage/--no-lineage",
    "lineage",
    default=True,
    help="Look for the origin of the weights, too.  [default: yes]",
)
@OFFLINE_OPTION
@NO_CACHE_OPTION
@QUIET_OPTION
@click.pass_context
def command(ctx: click.Context, /, source: str, **given: Any) -> None:
    """Pin a model: digests, tensors, card, license, template, tokenizer and lineage in one file.

    The same model gives the same lock, byte for byte. With --check nothing is written, and the
    exit code is 0 when the model is still what the lock says, 1 when it is not (what differs is
    said), 2 for wrong usage, 3 when one of them cannot be read; --check reads every byte.

    \b
    steelyard lock hf://org/name@main
    steelyard lock ./model --output model.lock
    steelyard lock ./model --output model.lock --check
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.context import network, resolve
    from steelyard.cli.progress import TerminalProgress
    from steelyard.sealing.snapshots import Wanted

    settings = resolve({"offline": given["offline"]}).settings
    output: Path = given["output"]
    with ExitStack() as stack:
        wanted = Wanted(
            network=network(offline=settings.offline),
            cache=None if given["no_cache"] or given["check"] else cache_of(settings),
            progress=stack.enter_context(TerminalProgress(quiet=given["quiet"])),
            lineage=given["lineage"],
            without=(output,),
        )
        if given["check"]:
            ctx.exit(_check(source, output, stack, wanted))
        _lock(source, output, stack, wanted, quiet=given["quiet"])


def _check(source: str, output: Path, stack: ExitStack, wanted: Wanted) -> int:
    """Compare a model with its lock, and say what differs."""
    from dataclasses import replace

    from steelyard.cli.outputs import Target, write
    from steelyard.errors import SourceNotFound
    from steelyard.sealing.comparing import compare_sealed
    from steelyard.sealing.snapshots import take

    if not output.is_file():
        raise SourceNotFound(
            "there is no lock", fix=f"steelyard lock {source}", file=printable(str(output))
        )
    locked = take(output, stack, wanted)
    wanted = replace(wanted, lineage=wanted.lineage and locked.lock.lineage is not None)
    now: Snapshot = take(source, stack, wanted)
    said = compare_sealed(locked, now)
    formats = {"text": "steelyard.sealing.reports.difference_text"}
    write(said, (Target("text", "-"),), formats)
    return 0 if said.same else EXIT_FINDINGS


def _lock(source: str, output: Path, stack: ExitStack, wanted: Wanted, *, quiet: bool) -> None:
    from steelyard.cli.outputs import STDOUT, write_bytes
    from steelyard.reports.text import counted
    from steelyard.sealing.lock_document import write_lock
    from steelyard.sealing.snapshots import take

    made = take(source, stack, wanted)
    write_bytes(output, write_lock(made.lock))
    apart = str(output) == STDOUT
    files = counted(len(made.lock.files), "file")
    click.echo(f"locked {files}: {printable(str(output))}", err=apart)
    if made.lock.weights is not None and made.lock.weights.identity:
        click.echo(f"  identity   {made.lock.weights.identity}", err=apart)
    for note in () if quiet else made.notes:
        click.echo(f"note: {printable(note)}", err=True)
