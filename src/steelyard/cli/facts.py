"""`steelyard facts`: the vocabulary."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command(name="facts")
@click.argument("prefix", default="")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="text for people, json for machines.  [default: text]",
)
def command(prefix: str, form: str) -> None:
    """List the vocabulary: every fact that rules can use.

    PREFIX narrows the list: steelyard facts training
    """
    from steelyard.facts import vocabulary

    terms = [entry for name, entry in vocabulary().items() if name.startswith(prefix)]
    if not terms:
        raise click.UsageError(f"no fact's name starts with {prefix!r}")
    if form == "json":
        click.echo(json.dumps([asdict(entry) for entry in terms], indent=2))
        return
    width = max(len(entry.name) for entry in terms)
    for entry in terms:
        unit = f" in {entry.unit}" if entry.unit else ""
        click.echo(f"{entry.name:{width}}  {entry.kind}{unit}: {entry.meaning}")
