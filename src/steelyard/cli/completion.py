"""`steelyard completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  steelyard completion bash > ~/.local/share/bash-completion/completions/steelyard
    zsh:   steelyard completion zsh  > ~/.zfunc/_steelyard
    fish:  steelyard completion fish > ~/.config/fish/completions/steelyard.fish
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.main import COMPLETE_VARIABLE, PROGRAM, cli

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    script = complete(cli, {}, PROGRAM, COMPLETE_VARIABLE)
    # `source()` first asks the shell for its version; the template itself needs no shell.
    click.echo(script.source_template % script.source_vars())
