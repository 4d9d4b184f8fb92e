"""The entry point: find the command, run it, turn errors into words and exit codes.

Commands are imported only when they are called, so that `--help` is quick. Exit codes: 0 nothing
at or above `--fail-on`; 1 findings at or above it; 2 wrong usage or settings; 3 the source could
not be read; 70 a bug in Steelyard; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from importlib import import_module
from typing import Final

import click

from steelyard.errors import CheckpointError, SourceError, SteelyardError
from steelyard.version import VERSION

PROGRAM: Final = "steelyard"
COMPLETE_VARIABLE: Final = "_STEELYARD_COMPLETE"
"""Set by completion scripts."""
EXIT_FINDINGS: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREADABLE: Final = 3
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130

COMMANDS: Final = {
    "audit": ("steelyard.cli.audit", "Weigh a model: what it is, and where its files disagree."),
    "compare": ("steelyard.cli.compare", "Compare two models: whose weights, changed how."),
    "lineage": ("steelyard.cli.lineage", "Keep a registry of known bases; search it."),
    "sign": ("steelyard.cli.sign", "Sign a model: a signature over every file."),
    "verify": ("steelyard.cli.verify", "Verify a model: is every file what somebody signed."),
    "lock": ("steelyard.cli.lock", "Pin a model: everything that tells it from another."),
    "diff": ("steelyard.cli.diff", "Diff two models: what changed, in words."),
    "plan": ("steelyard.cli.plan", "Merge the duties of all markets into one ordered plan."),
    "assess": ("steelyard.cli.assess", "Apply law to facts alone: a planned model, or a table."),
    "rules": ("steelyard.cli.rules", "List, show, compare, check and test rules."),
    "openness": ("steelyard.cli.openness", "Tell what is open, component by component."),
    "explain": ("steelyard.cli.explain", "Explain a rule, a fact, or the exit codes."),
    "facts": ("steelyard.cli.facts", "List the vocabulary: every fact that rules can use."),
    "config": ("steelyard.cli.config", "Show the settings in force and where they come from."),
    "cache": ("steelyard.cli.cache", "Show or clear the cache of digests."),
    "completion": ("steelyard.cli.completion", "Print the completion script for a shell."),
}
"""Each command's module, which has a `command`, and its line in the help."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is called or completed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  as click calls it
        """List the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as click calls it
        """Import the command, or return None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as click calls it
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 clean, 1 findings, 2 wrong usage, 3 unreadable source. "
    "More: steelyard explain exit-codes",
)
@click.version_option(VERSION, prog_name="steelyard")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Weigh open-weight AI models.

    Steelyard measures what a model is, sets that beside what is declared, and applies dated,
    cited rules. It never runs what it examines.
    """
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(cli, {}, PROGRAM, COMPLETE_VARIABLE, instruction))
    # Matrices here are small: a second thread of OpenBLAS waits more than it works.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = _run(arguments)
    except SteelyardError as error:
        code = EXIT_UNREADABLE if isinstance(error, SourceError | CheckpointError) else EXIT_USAGE
        _complain(describe(error), debug)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo("\n".join(map(printable, said.getvalue().splitlines())), err=True)
        code = EXIT_USAGE
    except (click.Abort, EOFError, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        close_stdout()
        code = 0
    except Exception as error:  # noqa: BLE001  what nobody foresaw gets an exit code, too
        code = EXIT_BUG
        _complain(
            f"error: Steelyard failed: {type(error).__name__}: {printable(str(error))}\n"
            "  this is a bug; please report it with the output of: steelyard --debug ...",
            debug,
        )
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Run one command and return its exit code.

    click's own `main` is not used: it makes a reader that went away look like findings.
    """
    try:
        with cli.make_context(PROGRAM, list(arguments)) as ctx:
            cli.invoke(ctx)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return 0


def _complain(text: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(text, err=True)


def close_stdout() -> None:
    """Write to nowhere from now on: the reader of our output went away (`| head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe(error: SteelyardError) -> str:
    """Write an error for a person: what, why, and what to do."""
    place = f"{error.location}: " if error.location else ""
    lines = [f"error: {place}{error.what}"]
    if error.why:
        lines.append(f"  why: {error.why}")
    if error.fix:
        lines.append(f"  fix: {error.fix}")
    return "\n".join(printable(line) for line in lines)


def printable(text: str) -> str:
    """Drop control characters: file names in errors come from whoever made the model."""
    return "".join(char if char.isprintable() else "?" for char in text)
