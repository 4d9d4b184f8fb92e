"""`steelyard compare`: whose weights a model has, and what was done to them."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.main import printable
from steelyard.cli.options import OFFLINE_OPTION, OUTPUT_OPTION, QUIET_OPTION, format_option
from steelyard.version import VERSION

if TYPE_CHECKING:
    # Imported when the command runs: `compare --help` need not wait for them.
    from steelyard.checkpoints.model import Model
    from steelyard.cli.settings import Settings
    from steelyard.lineage.relation import Comparison

FORMATS: Final = {
    "text": "steelyard.reports.pairs.text",
    "json": "steelyard.reports.pairs.json",
    "html": "steelyard.reports.pairs.html",
    "markdown": "steelyard.reports.pairs.markdown",
}
_BY_SUFFIX: Final = {
    ".txt": "text",
    ".json": "json",
    ".html": "html",
    ".md": "markdown",
    ".markdown": "markdown",
}
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BINARY: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE: Final = re.compile(r"([0-9]{1,12})\s*([kmg]i?)?b?", re.IGNORECASE)


class Size(click.ParamType[int]):
    """A number of bytes, as `64MB`; whole numbers only."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `64MB`, `64 MiB`, `64000000`; refuse anything else and nothing at all."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        count = int(found[1]) * {**_UNITS, **_BINARY}[(found[2] or "").lower()] if found else 0
        if count <= 0:
            self.fail(f"{printable(str(value))!r} is no size; say 64MB or 1GB", param, ctx)
        return count


@click.command(name="compare")
@click.argument("base")
@click.argument("child")
@click.option(
    "--candidate",
    "candidates",
    multiple=True,
    metavar="SOURCE",
    help="A model that may have gone into a merge, or be the nearer origin; repeat for several.",
)
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="FILE",
    help="Take candidates from this registry too, where their files are at hand; repeat for "
    "several.",
)
@click.option(
    "--fetch-candidates",
    is_flag=True,
    help="Open candidates that registries know by a remote source, too.",
)
@click.option(
    "--verdict-only",
    is_flag=True,
    help="Tell only whether the weights are related: about 1 MB is read, whatever the size.",
)
@click.option(
    "--budget",
    type=Size(),
    default="64MB",
    metavar="SIZE",
    help="Most bytes to read of both models, headers aside.  [default: 64MB]",
)
@format_option("text, json, html or markdown; repeat for several.")
@OUTPUT_OPTION
@click.option("--ascii", "only_ascii", is_flag=True, help="Draw with ASCII characters alone.")
@OFFLINE_OPTION
@QUIET_OPTION
def command(base: str, child: str, **given: Any) -> None:
    """Compare two models: does CHILD come from BASE, and what was done to it.

    Rows of both are read, not the whole: at most --budget. The verdict comes with the chance that
    independent models agree as much; encoding and edits are told apart. Whatever the verdict, the
    exit code is 0; it is 3 when a model cannot be read.

    \b
    steelyard compare hf://org/base ./my-model
    steelyard compare ./base ./merged --candidate ./other --format html=merged.html
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.context import resolve
    from steelyard.cli.outputs import STDOUT, targets, write
    from steelyard.reports.pairs.words import PairReport

    to = targets(given["formats"], given["outputs"], FORMATS, _BY_SUFFIX)
    overrides = {"offline": given["offline"], "registries": list(given["registries"])}
    said = _compared(base, child, given, resolve(overrides).settings)
    seen = any(target.format == "text" and target.path == STDOUT for target in to)
    only_ascii = given["only_ascii"] or (seen and not _shows_blocks())
    write(PairReport(said, VERSION, only_ascii=only_ascii), to, FORMATS)


def _compared(base: str, child: str, given: dict[str, Any], settings: Settings) -> Comparison:
    """Open the models and compare them, telling on stderr what a reader should know."""
    from steelyard.cli.candidates import known_candidates
    from steelyard.cli.context import network
    from steelyard.cli.models import open_model
    from steelyard.cli.progress import TerminalProgress
    from steelyard.lineage.comparing import compare

    reach = network(offline=settings.offline)
    with ExitStack() as stack:
        progress = stack.enter_context(TerminalProgress(quiet=given["quiet"]))
        progress.start("comparing", 0)

        def opened(spec: str) -> Model:
            return open_model(spec, reach, stack, purpose="compare", progress=progress)

        theirs, ours = opened(base), opened(child)
        others = {spec: opened(spec) for spec in given["candidates"]}
        if settings.registries or given["fetch_candidates"]:
            found = known_candidates(
                ours, settings.registries, opened,
                fetch=given["fetch_candidates"], quiet=given["quiet"],
            )  # fmt: skip
            others = {**found, **others}
        known = {spec: model for spec, model in others.items()
                 if not _is_same(model, theirs) and not _is_same(model, ours)}  # fmt: skip
        said = compare(
            theirs,
            ours,
            candidates=known,
            names=(base, child),
            budget=given["budget"],
            edits=not given["verdict_only"],
        )
        progress.stop()
        if not given["quiet"]:
            _tell({base: theirs, child: ours, **known}, same=_is_same(theirs, ours))
    return said


def _is_same(one: Model, other: Model) -> bool:
    """Tell whether two models are the same files."""
    a, b = one.source, other.source
    if "hub" in (a.kind, b.kind) or "url" in (a.kind, b.kind):
        return (a.spec, a.revision) == (b.spec, b.revision)
    return Path(a.spec).resolve() == Path(b.spec).resolve()


def _tell(models: dict[str, Model], *, same: bool) -> None:
    """Say on stderr that both are one, or that files of a model are not part of the comparison."""
    from steelyard.checkpoints.tensors import ProblemKind

    if same:
        click.echo("note: base and child are the same files", err=True)
    missed = (ProblemKind.UNREADABLE, ProblemKind.NOT_FULLY_READ, ProblemKind.TENSORS_UNREAD)
    for spec, model in models.items():
        if count := sum(problem.kind in missed for problem in model.problems):
            files = "1 file was" if count == 1 else f"{count} files were"
            click.echo(
                f"note: {printable(spec)}: {files} not read in full; steelyard audit says why",
                err=True,
            )


def _shows_blocks() -> bool:
    """Tell whether standard output can show block characters."""
    import sys

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "▁█·".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True
