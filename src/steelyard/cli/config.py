"""`steelyard config show`: the settings in force."""

from __future__ import annotations

import json
from typing import Any

import click


@click.group(name="config")
def command() -> None:
    """Show the settings in force and where they come from."""


@command.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="text for people, json for machines.  [default: text]",
)
def show(origin: bool, form: str) -> None:
    """Print every setting, as steelyard.toml would have it.

    Command-line options win over STEELYARD_..., that over steelyard.toml or [tool.steelyard] of
    the nearest pyproject.toml, that over the user's own steelyard.toml, that over the defaults.
    """
    from steelyard.cli.context import resolve
    from steelyard.cli.settings import MEANINGS, data_form

    resolved = resolve({})
    values: dict[str, Any] = data_form().dump_python(resolved.settings, mode="json", by_alias=True)
    if form == "json":
        rows = {
            name: {"value": value, "origin": resolved.origins[name.replace("-", "_")]}
            for name, value in values.items()
        }
        click.echo(json.dumps(rows, indent=2))
        return
    for name, value in values.items():
        field = name.replace("-", "_")
        where = f"  (from {resolved.origins[field]})" if origin else ""
        click.echo(f"# {MEANINGS[field]}{where}")
        click.echo(f"{name} = {_toml(value)}\n")


def _toml(value: Any) -> str:
    """Write a value as inline TOML."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
