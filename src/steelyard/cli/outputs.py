"""Which formats go where: pair `--format` with `--output`, render, write whole files only."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, cast

import click

from steelyard.cli.main import close_stdout
from steelyard.errors import ConfigError
from steelyard.reports.report import Report

FORMATS: Final = {
    "text": "steelyard.reports.terminal",
    "json": "steelyard.reports.json",
    "markdown": "steelyard.reports.markdown",
}
"""Each format's module, which has a `render`."""

_BY_SUFFIX: Final = {".json": "json", ".md": "markdown", ".markdown": "markdown", ".txt": "text"}
STDOUT: Final = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to write."""

    format: str
    path: str
    """A file, or `-` for standard output."""


def targets(formats: Sequence[str], outputs: Sequence[str]) -> tuple[Target, ...]:
    """Pair formats with outputs.

    A format may name its file itself (`json=report.json`). The others take the outputs in order;
    an output that is left over has the format that its suffix tells; a format that is left over
    goes to standard output, where there is room for one.

    Raises:
        ConfigError: If a format is unknown, a suffix tells none, or two want the same place.
    """
    waiting = list(outputs)
    found: list[Target] = []
    for text in formats:
        name, _, path = text.partition("=")
        if name not in FORMATS:
            raise ConfigError(f"there is no format {name!r}", fix=f"one of {', '.join(FORMATS)}")
        found.append(Target(name, path or (waiting.pop(0) if waiting else STDOUT)))
    for path in waiting:
        suffix = Path(path).suffix.lower()
        if suffix not in _BY_SUFFIX:
            raise ConfigError(
                f"the name {path!r} does not tell a format",
                fix="say --format before --output, or end the name in .json, .md or .txt",
            )
        found.append(Target(_BY_SUFFIX[suffix], path))
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


def write(report: Report, to: Sequence[Target]) -> None:
    """Render the report for each target, then write: every file whole, or none at all.

    Raises:
        ConfigError: If something cannot be written.
    """
    texts = [_render(report, t.format, terminal=t.path == STDOUT) for t in to]
    staged: list[tuple[Path, Path]] = []
    try:
        for target, text in zip(to, texts, strict=True):
            if target.path != STDOUT:
                with _explained(target.path):
                    staged += _stage(Path(target.path), text)
        for temporary, final in staged:
            with _explained(str(final)):
                temporary.replace(final)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    for target, text in zip(to, texts, strict=True):
        if target.path == STDOUT:
            with _explained("standard output"):
                _print(text)


def _print(text: str) -> None:
    try:
        click.echo(text.encode(), nl=False)
    except BrokenPipeError:
        # Whoever reads has seen enough; the exit code still tells what was found.
        close_stdout()
    except OSError:
        # What is left in the buffer would fail again at exit, and change the exit code.
        close_stdout()
        raise


def _render(report: Report, name: str, *, terminal: bool) -> str:
    render = cast("Callable[..., str]", import_module(FORMATS[name]).render)
    if name != "text" or not terminal:
        return render(report)
    stream = sys.stdout
    tty = stream is not None and stream.isatty()  # None where the shell has closed it
    # A pipe gets 80 columns, whatever the terminal behind it: the same bytes everywhere.
    width = min(os.get_terminal_size(stream.fileno()).columns, 120) if tty else 80
    return render(report, width=width, color=_color(tty))


def _color(tty: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (tty and os.environ.get("TERM") != "dumb")


def _stage(path: Path, text: str) -> Iterator[tuple[Path, Path]]:
    """Write beside the file that is meant; yield what to rename to what."""
    final = path.resolve()
    before = path.stat() if path.exists() else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        # A device or a pipe (or a folder, which refuses) is written to, never replaced.
        with path.open("w", encoding="utf-8") as stream:
            stream.write(text)
        return
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.chmod(_default_mode() if before is None else stat.S_IMODE(before.st_mode))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    yield temporary, final


def _default_mode() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say what could not be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}", why=error.strerror or str(error)) from error
