"""Which formats go where: pair `--format` with `--output`, render, write whole files only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import click

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
        ConfigError: If a format is unknown, a suffix tells none, or two want standard output.
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
    if sum(target.path == STDOUT for target in found) > 1:
        raise ConfigError(
            "only one format can go to standard output", fix="give the others a file: json=FILE"
        )
    return tuple(found)


def write(report: Report, to: Sequence[Target]) -> None:
    """Render the report once for each target; write files whole or not at all.

    Raises:
        ConfigError: If a file cannot be written.
    """
    for target in to:
        if target.path == STDOUT:
            click.echo(_render(report, target.format, terminal=True), nl=False, color=True)
        else:
            _write_file(Path(target.path), _render(report, target.format, terminal=False))


def _render(report: Report, name: str, *, terminal: bool) -> str:
    module = import_module(FORMATS[name])
    render: Callable[..., str] = module.render
    if name != "text" or not terminal:
        return render(report)
    stream = click.get_text_stream("stdout")
    tty = stream.isatty()
    # A pipe gets 80 columns, whatever the terminal behind it: the same bytes everywhere.
    width = min(os.get_terminal_size(stream.fileno()).columns, 120) if tty else 80
    return render(report, width=width, color=_color(tty))


def _color(tty: bool) -> bool:
    if "NO_COLOR" in os.environ:
        return False
    return "FORCE_COLOR" in os.environ or (tty and os.environ.get("TERM") != "dumb")


def _write_file(path: Path, text: str) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot write {path}", why=error.strerror or str(error)) from error
