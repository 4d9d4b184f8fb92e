"""`steelyard lineage`: the registry of known bases, and what comes from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from steelyard.cli.main import printable
from steelyard.cli.options import OFFLINE_OPTION, QUIET_OPTION

if TYPE_CHECKING:
    # Imported when a command runs: `lineage --help` need not wait for them.
    from steelyard.checkpoints.model import Model
    from steelyard.cli.settings import Settings
    from steelyard.lineage.known.entries import Entry
    from steelyard.lineage.known.registry import Registry

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FORM_OPTION: Final = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="text for people, json for machines.  [default: text]",
)
_REVISION_OPTION: Final = click.option("--revision", metavar="TEXT", help="Commit, tag or version.")


def _registry_option(*, several: bool) -> Callable[[_Command], _Command]:
    """Add the option that names the registry to write to, or those to look in."""
    what = (
        "Look in this registry besides what ships; repeat for several."
        if several
        else "The registry to work on."
    )
    return click.option(
        "--registry",
        "registries",
        multiple=several,
        metavar="FILE",
        help=f"{what}  [default: yours]",
    )


@click.group(name="lineage")
def command() -> None:
    """Keep a registry of known bases, and find what a model comes from.

    A registry is one file of sketches, about 100 KB a model, that can be shared, signed and
    merged. Yours lies in your data folder, unless --registry or the setting registries
    (STEELYARD_REGISTRIES) names others; the one that ships is always searched as well.
    """


@command.command("add")
@click.argument("source")
@click.option("--name", required=True, metavar="NAME", help="What to call it: org/model.")
@_REVISION_OPTION
@click.option(
    "--license",
    "license_",
    metavar="EXPRESSION",
    help="Its license, SPDX or LicenseRef-.  [default: what the model's documents say]",
)
@click.option(
    "--base", metavar="NAME", help="What it is made from.  [default: what its documents say]"
)
@click.option("--note", metavar="TEXT", help="What else a reader should know.")
@click.option(
    "--digest/--no-digest",
    "digest",
    default=None,
    help="Compute the identity, which reads every byte of local files.  [default: yes]",
)
@_registry_option(several=False)
@OFFLINE_OPTION
@QUIET_OPTION
def add(source: str, **given: Any) -> None:
    """Sketch a model and add it to your registry.

    \b
    steelyard lineage add hf://org/model --name org/model --revision v1.0
    """  # noqa: D301  click looks for the backspace character itself
    settings = _settings(given)
    with ExitStack() as stack:
        registry, path = _writable(settings, stack)
        entry, sketch = _measured(source, given, settings, stack)
        changed = registry.add(entry, sketch)
        if len(changed) == len(registry):
            _say(f"{entry.title} is there already, with the same weights", given)
            return
        changed.save(path)
    _say(f"added {entry.title} to {path}", given)


@command.command("list")
@_registry_option(several=True)
@_FORM_OPTION
def list_entries(registries: tuple[str, ...], form: str) -> None:
    """List the known bases: yours, then those that ship."""
    from steelyard.cli.lineage_words import entry_lines, entry_row

    settings = _settings({"registries": registries})
    with _opened(settings) as opened:
        entries = [entry for registry in opened for entry in registry]
    if form == "json":
        _print_json([entry_row(entry) for entry in entries])
        return
    for line in entry_lines(entries):
        click.echo(line)
    click.echo(f"{len(entries)} known bases", err=True)


@command.command("search")
@click.argument("source")
@_registry_option(several=True)
@_FORM_OPTION
@OFFLINE_OPTION
@click.option("-q", "--quiet", is_flag=True, help="No messages on stderr.")
def search(source: str, **given: Any) -> None:
    """Search the registries for what a model comes from.

    About a megabyte of the model is read, more of small ones. Whatever is found, the exit code is
    0; it is 3 when the model or a registry cannot be read.
    """
    from steelyard.cli.lineage_words import found_document, found_lines
    from steelyard.lineage.known.registry import search as search_in
    from steelyard.lineage.reading.weights import open_weights
    from steelyard.lineage.relating.sketches import sketch_of

    settings = _settings(given)
    with ExitStack() as stack:
        opened = stack.enter_context(_opened(settings))
        weights = stack.enter_context(open_weights(_model(source, settings, stack)))
        found = search_in(sketch_of(weights), opened, child=weights)
        read = weights.bytes_read
    if given["form"] == "json":
        _print_json(found_document(printable(source), found))
    else:
        for line in found_lines(found):
            click.echo(line)
    _say(f"searched {found.entries} known bases, read {read / 1e6:.1f} MB of the model", given)


@command.command("export")
@click.argument("file")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_registry_option(several=False)
def export(file: str, names: tuple[str, ...], registries: str | None) -> None:
    """Export bases to a file that can be shared: all of yours, or those named.

    A NAME that is not in yours is taken from what ships. Of paths on this machine only the last
    name is written.
    """
    from steelyard.lineage.known.registry import shipped_registry

    with ExitStack() as stack:
        registry, _ = _writable(_settings({"registries": registries}), stack)
        if names:
            shipped = shipped_registry()
            missing = [name for name in names if not registry.find(name) and shipped.find(name)]
            registry = registry.merge(shipped.select(missing)).select(names)
        digest = registry.without_paths().save(Path(file))
    click.echo(f"{digest}  {file}")


@command.command("import")
@click.argument("file")
@click.option(
    "--keep-both",
    is_flag=True,
    help="Where two models have one name, keep both: the new one's revision tells them apart.",
)
@_registry_option(several=False)
def import_entries(file: str, keep_both: bool, registries: str | None) -> None:
    """Import the bases of another registry.

    Of equal ones yours stays. The file is checked whole first. Compare what
    steelyard lineage verify FILE prints with what its maker says.
    """
    from steelyard.lineage.known.registry import Registry

    with ExitStack() as stack:
        registry, path = _writable(_settings({"registries": registries}), stack)
        other = stack.enter_context(Registry.open(Path(file)))
        other.check()
        merged = registry.merge(other, keep_both=keep_both)
        merged.save(path)
    click.echo(f"{len(merged) - len(registry)} of {len(other)} added to {path}", err=True)


@command.command("remove")
@click.argument("name")
@_REVISION_OPTION
@_registry_option(several=False)
def remove(name: str, revision: str | None, registries: str | None) -> None:
    """Remove a base: all its revisions, or one."""
    with ExitStack() as stack:
        registry, path = _writable(_settings({"registries": registries}), stack)
        changed = registry.remove(name, revision)
        changed.save(path)
    click.echo(f"removed {len(registry) - len(changed)} from {path}", err=True)


@command.command("verify")
@click.argument("files", nargs=-1, metavar="[FILE...]")
def verify(files: tuple[str, ...]) -> None:
    """Verify registries and print their digests.

    Every entry and sketch is read. The digest covers all that is in the file. Whoever signs a
    registry signs the file or this digest; whoever receives one compares it. Without FILE, yours
    and the one that ships.
    """
    from steelyard.lineage.known.registry import SHIPPED, Registry, shipped_registry

    with ExitStack() as stack:
        if files:
            named = [(name, stack.enter_context(Registry.open(Path(name)))) for name in files]
        else:
            from steelyard.cli.registries import paths_in_use

            paths = [path for path in paths_in_use(_settings({}).registries) if path.exists()]
            named = [(str(path), stack.enter_context(Registry.open(path))) for path in paths]
            named.append((f"{SHIPPED} (ships)", shipped_registry()))
        for name, registry in named:
            click.echo(f"{registry.check()}  {printable(name)}")


def _settings(given: dict[str, Any]) -> Settings:
    from steelyard.cli.context import resolve

    named = given.get("registries") or ()
    return resolve(
        {
            "offline": given.get("offline"),
            "digest": given.get("digest"),
            "registries": [named] if isinstance(named, str) else list(named),
        }
    ).settings


def _writable(settings: Settings, stack: ExitStack) -> tuple[Registry, Path]:
    """Open the registry that is worked on; an empty one where there is no file yet."""
    from steelyard.cli.registries import paths_in_use
    from steelyard.lineage.known.registry import Registry

    path = paths_in_use(settings.registries)[0]
    return stack.enter_context(Registry.open(path) if path.exists() else Registry()), path


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Registry, ...]]:
    from steelyard.cli.registries import open_registries

    with ExitStack() as stack:
        yield open_registries(settings.registries, stack)


def _model(source: str, settings: Settings, stack: ExitStack) -> Model:
    from steelyard.cli.context import network
    from steelyard.cli.models import open_model

    reach = network(offline=settings.offline)
    return open_model(source, reach, stack, purpose="sketch")


def _measured(
    source: str, given: dict[str, Any], settings: Settings, stack: ExitStack
) -> tuple[Entry, Any]:
    from datetime import date

    from steelyard.checkpoints.digest_cache import DigestCache
    from steelyard.cli.progress import TerminalProgress
    from steelyard.lineage.known.adding import measure
    from steelyard.lineage.known.entries import Entry

    license_, base = _documented(source, settings)
    entry = Entry(
        given["name"],
        revision=given["revision"],
        license=_license(given["license_"]) or license_,
        base=given["base"] or base,
        source=_shown(source),
        added=date.today().isoformat(),
        note=given["note"],
    )
    cache = Path(settings.cache_dir) / "digests.sqlite" if settings.cache_dir else None
    return measure(
        _model(source, settings, stack),
        entry,
        identity=settings.digest,
        progress=stack.enter_context(TerminalProgress(quiet=given["quiet"])),
        cache=DigestCache(cache) if cache is not None and settings.digest else None,
    )


def _shown(source: str) -> str:
    """Return where a model came from: an address, or the whole path of a local one."""
    return printable(source if "://" in source else str(Path(source).resolve()))


def _license(stated: str | None) -> str | None:
    """Return a license as an SPDX expression.

    Raises:
        ConfigError: If it is none.
    """
    from steelyard.analyzers.licenses.names import read_license
    from steelyard.errors import ConfigError

    found = read_license(stated) if stated else None
    if stated and (found is None or not found.ids):
        raise ConfigError(
            f"{printable(stated)!r} is no license",
            fix="say an SPDX expression such as Apache-2.0, or LicenseRef-NAME",
        )
    return found.value if found else None


def _documented(source: str, settings: Settings) -> tuple[str | None, str | None]:
    """Return license and base as the model's own documents state them."""
    from datetime import date

    from steelyard.auditing import Options, audit
    from steelyard.cli.context import network

    options = Options(
        digest=False, lineage=False, packs=(), network=network(offline=settings.offline),
        allow_empty=True,
    )  # fmt: skip
    book = audit(source, as_of=date.min, options=options).book
    license_, base = (book.value(name) for name in ("license.effective", "lineage.declared_base"))
    named = sorted(base) if isinstance(base, frozenset) else [base]
    lone = named[0] if len(named) == 1 else None
    return (
        license_ if isinstance(license_, str) else None,
        lone if isinstance(lone, str) else None,
    )


def _print_json(said: object) -> None:
    click.echo(json.dumps(said, indent=2))


def _say(text: str, given: dict[str, Any]) -> None:
    if not given["quiet"]:
        click.echo(printable(text), err=True)
