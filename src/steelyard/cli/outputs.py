"""Which formats go where: pair `--format` with `--output`, render, write whole files only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import click

from steelyard.cli.main import close_stdout
from steelyard.errors import ConfigError
from steelyard.writing import whole_file

FORMATS: Final = {
    "text": "steelyard.reports.terminal",
    "json": "steelyard.reports.json",
    "markdown": "steelyard.reports.markdown",
    "sarif": "steelyard.reports.sarif",
    "junit": "steelyard.reports.junit",
    "github": "steelyard.reports.github",
}
"""Each format's module, which has a `render`."""

BY_SUFFIX: Final = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".sarif": "sarif",
    ".xml": "junit",
}
STDOUT: Final = "-"
_NONE: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to write."""

    format: str
    path: str
    """A file, or `-` for standard output."""


def targets(
    formats: Sequence[str],
    outputs: Sequence[str],
    known: Mapping[str, str] = FORMATS,
    suffixes: Mapping[str, str] = BY_SUFFIX,
) -> tuple[Target, ...]:
    """Pair formats with outputs.

    A format may name its file itself (`json=report.json`). The others take the outputs in order;
    an output that is left over has the format that its suffix tells; a format that is left over
    goes to standard output, where there is room for one.

    Args:
        formats: What `--format` says.
        outputs: What `--output` says.
        known: The formats there are, each with the module that renders it.
        suffixes: The format that each suffix of a file name tells.

    Raises:
        ConfigError: If a format is unknown, a suffix tells none, or two want the same place.
    """
    waiting = list(outputs)
    found: list[Target] = []
    for text in formats:
        name, _, path = text.partition("=")
        if name not in known:
            raise ConfigError(f"there is no format {name!r}", fix=f"one of {', '.join(known)}")
        found.append(Target(name, path or (waiting.pop(0) if waiting else STDOUT)))
    for path in waiting:
        suffix = Path(path).suffix.lower()
        if suffix not in suffixes:
            raise ConfigError(
                f"the name {path!r} does not tell a format",
                fix=f"say --format before --output, or end the name in {', '.join(suffixes)}",
            )
        found.append(Target(suffixes[suffix], path))
    if not found:
        found.append(Target("text", STDOUT))
    paths = [target.path for target in found]
    if paths.count(STDOUT) > 1:
        raise ConfigError(
            "only one format can go to standard output", fix="give the others a file: json=FILE"
        )
    if len(set(paths)) < len(paths):
        raise ConfigError("two formats have the same file", fix="give each a file of its own")
    return tuple(found)


def write(
    said: object,
    to: Sequence[Target],
    known: Mapping[str, str] = FORMATS,
    options: Mapping[str, Mapping[str, Any]] = _NONE,
) -> None:
    """Render what is said for each target, then write: every file whole, or none at all.

    Args:
        said: What to render.
        to: What to write.
        known: The formats there are, each with the module that renders it.
        options: By format, what its `render` is told besides.

    Raises:
        ConfigError: If something cannot be written.
    """
    texts = [_render(said, t, known, options.get(t.format, {})) for t in to]
    _write(to, texts)


def write_bytes(path: Path, data: bytes) -> None:
    """Write one file whole, or not at all.

    Raises:
        ConfigError: If it cannot be written.
    """
    _write((Target("text", str(path)),), (data,))


def _write(to: Sequence[Target], texts: Sequence[bytes]) -> None:
    with ExitStack() as all_or_none:
        for target, text in zip(to, texts, strict=True):
            if target.path != STDOUT:
                all_or_none.enter_context(_explained(target.path))
                stream = all_or_none.enter_context(whole_file(Path(target.path)))
                stream.write(text)
                stream.flush()
    for target, text in zip(to, texts, strict=True):
        if target.path == STDOUT:
            with _explained("standard output"):
                _print(text)


def _print(text: bytes) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        # Whoever reads has seen enough; the exit code still tells what was found.
        close_stdout()
    except OSError:
        # What is left in the buffer would fail again at exit, and change the exit code.
        close_stdout()
        raise


def _render(
    said: object, target: Target, known: Mapping[str, str], options: Mapping[str, Any]
) -> bytes:
    render = cast("Callable[..., str | bytes]", import_module(known[target.format]).render)
    if target.format != "text" or target.path != STDOUT:
        text = render(said, **options)
        return text.encode() if isinstance(text, str) else text
    stream = sys.stdout
    tty = stream is not None and stream.isatty()  # None where the shell has closed it
    # A pipe gets 80 columns, whatever the terminal behind it: the same bytes everywhere.
    width = min(os.get_terminal_size(stream.fileno()).columns, 120) if tty else 80
    text = render(said, width=width, color=_color(tty), **options)
    return text.encode() if isinstance(text, str) else text


def _color(tty: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (tty and os.environ.get("TERM") != "dumb")


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say what could not be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}", why=error.strerror or str(error)) from error
