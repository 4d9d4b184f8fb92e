"""Help: there for everything, quick, and plain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from steelyard.cli.main import COMMANDS, cli
from tests.cli.running import process

SLOW = ("rich", "pydantic", "numpy", "huggingface_hub", "httpx", "yaml", "blake3")


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('cli', *path))}")
    assert ALL[path].help
    assert result.stderr == ""
    assert CliRunner().invoke(cli, [*path, "-h"]).stdout == result.stdout


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_has_help(path: tuple[str, ...]) -> None:
    for option in ALL[path].params:
        if isinstance(option, click.Option):
            assert option.help, option.opts


def test_the_table_of_commands_says_what_each_says_of_itself() -> None:
    for name, (_, line) in COMMANDS.items():
        command = ALL.get((name,)) or cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").split()[0] == line.split()[0]


def test_help_names_the_exit_codes() -> None:
    assert b"Exit codes: 0 clean, 1 findings" in process("--help").stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([*path, "--help"] for path in ALL if path)]
)
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from steelyard.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "finally:\n"
        f"    print([name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
