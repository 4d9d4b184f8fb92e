"""`steelyard audit`: weigh a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.main import EXIT_FINDINGS, printable
from steelyard.cli.options import NO_CACHE_OPTION, OFFLINE_OPTION, QUIET_OPTION, format_option
from steelyard.cli.rules import split

if TYPE_CHECKING:
    # Imported when the command runs: `audit --help` need not wait for them.
    from steelyard.analyzers.topics import Scope
    from steelyard.auditing import Options
    from steelyard.cli.interview import Interview
    from steelyard.cli.settings import Settings
    from steelyard.reports.report import Report
    from steelyard.rules import Pack
    from steelyard.rules.ignores import Ignore


def complete_topics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  as click calls it
    """Complete the last of the topics that are named."""
    from steelyard.analyzers.topics import TOPICS

    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    fits = [name for name in TOPICS if name.startswith(last) and name not in named]
    return [f"{before}{comma}{name}" for name in fits]


@click.command(name="audit")
@click.argument("source")
@format_option(
    "text, json, markdown, sarif, junit or github; repeat for several. A file may follow: "
    "json=r.json."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="Write to a file; pairs with --format in order, else its suffix decides.",
)
@click.option(
    "--sarif-include-suppressed",
    "suppressed",
    is_flag=True,
    help="Write ignored findings into SARIF too, as suppressed results.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    help="Least severity that makes the exit code 1.  [default: error]",
)
@click.option("--strict", is_flag=True, default=None, help="Let what is undetermined fail too.")
@click.option(
    "--only",
    "topics",
    multiple=True,
    metavar="TOPIC[,TOPIC]",
    shell_complete=complete_topics,
    help="Ask about these topics alone: code, integrity, card, license, ...  [default: all]",
)
@click.option(
    "--fact",
    "stated",
    multiple=True,
    metavar="NAME=VALUE",
    help="State what no file can show; repeat for several. See: steelyard facts",
)
@click.option(
    "-m",
    "--market",
    "markets",
    multiple=True,
    metavar="CODE[,CODE]",
    help="Apply the law of these markets (eu, us-ca, kr, all). See: steelyard rules list",
)
@click.option(
    "-r",
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE[,ROLE]",
    help="What you do with the model: provider, modifier, adopter, ...  [default: adopter]",
)
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Apply the rules as of this day.  [default: today]",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="RULE=DATE:REASON",
    help="Ignore a rule's findings until a date, for a reason.",
)
@click.option("--no-ignores", is_flag=True, help="Report what settings would ignore.")
@click.option(
    "--pack",
    "packs",
    multiple=True,
    metavar="PATH",
    help="Apply this rule pack too; repeat for several.",
)
@click.option(
    "--digest/--no-digest",
    "digest",
    default=None,
    help="Compute the identity and file digests, which reads every byte.  [default: yes]",
)
@click.option(
    "--lineage/--no-lineage",
    "lineage",
    default=None,
    help="Look for the origin of the weights among known models.  [default: yes]",
)
@click.option(
    "--base",
    metavar="SOURCE",
    help="Compare with this model, taken for the base, and tell what was changed.",
)
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="FILE",
    help="Look in this registry of known models too; repeat for several.",
)
@click.option(
    "--lineage-budget",
    metavar="SIZE",
    help="Most bytes to read for lineage, as 64MB; 0 for a sketch alone.  [default: what is quick]",
)
@click.option("--tensors", is_flag=True, help="List every tensor in the JSON report.")
@click.option(
    "--scan-values", is_flag=True, default=None, help="Look at every element for NaN and infinity."
)
@click.option(
    "--interview",
    is_flag=True,
    help="Ask for what no file shows, and keep the answers in the model's steelyard.toml.",
)
@click.option("--allow-empty", is_flag=True, default=None, help="Accept a source without a model.")
@OFFLINE_OPTION
@NO_CACHE_OPTION
@QUIET_OPTION
@click.pass_context
def command(ctx: click.Context, /, source: str, **given: Any) -> None:
    """Weigh a model: what it is, and where its files disagree.

    SOURCE is a folder, a file, an https:// address, or hf://org/name[@revision][/file]. Only
    headers, documents and a sample of the weights are read, and for the digests every byte;
    nothing is ever run.

    Most options are also settings in steelyard.toml or [tool.steelyard] of pyproject.toml, and
    in the environment as STEELYARD_FAIL_ON and the like. See: steelyard config show
    """
    from steelyard.auditing import audit
    from steelyard.cli.interview import Interview
    from steelyard.cli.outputs import targets, write

    settings, notices = _settings(source, given)
    today = date.today()
    to = targets(settings.format, given["outputs"])
    as_of = given["as_of"].date() if given["as_of"] else today
    with ExitStack() as stack:
        interview = Interview() if given["interview"] else None
        options = _options(settings, given, today, stack, interview)
        report = audit(source, as_of=as_of, options=options)
    if interview is not None:
        notices += _kept(interview, source)
    write(report, to, options=_of_formats(settings, suppressed=given["suppressed"]))
    if not given["quiet"]:
        for notice in notices:
            click.echo(f"note: {printable(notice)}", err=True)
    ctx.exit(EXIT_FINDINGS if _fails(report, settings) else 0)


def _settings(source: str, given: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Resolve the settings, and say what the reader should know about them."""
    from steelyard.analyzers.stated import FILE
    from steelyard.cli.context import resolve

    # What lies in the model's own folder cannot silence what is found about it.
    examined = Path(source).resolve() if Path(source).is_dir() else None

    overrides = {
        "fail_on": given["fail_on"],
        "strict": given["strict"],
        "format": list(given["formats"]),
        "only": split(given["topics"]),
        "digest": given["digest"],
        "scan_values": given["scan_values"],
        "offline": given["offline"],
        "allow_empty": given["allow_empty"],
        "packs": list(given["packs"]),
        "lineage": given["lineage"],
        "registries": list(given["registries"]),
        "lineage_budget": given["lineage_budget"],
        "market": split(given["markets"]),
        "role": split(given["roles"]),
    }
    resolved = resolve(overrides, examined)
    settings, notices = resolved.settings, []
    if given["outputs"] and not given["formats"]:
        # Files named on the command line replace the formats that settings ask for.
        settings = replace(settings, format=[])
    if settings.ignore and not given["no_ignores"]:
        notices.append(f"ignores come from {resolved.origins['ignore']}")
    if examined and Path.cwd().is_relative_to(examined) and (examined / FILE).is_file():
        notices.append(f"{FILE} in {examined} is the model's: only the facts in it count")
    return settings, notices


def _of_formats(settings: Settings, *, suppressed: bool) -> dict[str, dict[str, Any]]:
    """Tell each format what it needs to know beyond the report."""
    from steelyard.rules import Severity

    fail_on = None if settings.fail_on == "never" else Severity(settings.fail_on)
    return {
        "sarif": {"suppressed": suppressed},
        "junit": {"fail_on": fail_on, "strict": settings.strict},
    }


def _kept(interview: Interview, source: str) -> Iterable[str]:
    """Keep the answers where the model lies in a folder; else show what to write down."""
    from steelyard.cli.interview import keep
    from steelyard.rules.rendering import show

    if not interview.answers:
        return
    if Path(source).is_dir():
        path = keep(interview.answers, Path(source))
        yield f"answers kept in {path}: {', '.join(interview.answers)}"
        return
    for name, value in interview.answers.items():
        yield f'not kept, as the model lies in no folder: --fact "{name}={show(value)}"'


def _options(
    settings: Settings,
    given: Mapping[str, Any],
    today: date,
    stack: ExitStack,
    interview: Interview | None,
) -> Options:
    from steelyard.analyzers.topics import scope_of
    from steelyard.auditing import Options
    from steelyard.cli.context import network
    from steelyard.cli.facts_given import facts_given
    from steelyard.cli.markets import read_markets, read_roles
    from steelyard.cli.progress import TerminalProgress
    from steelyard.cli.registries import open_registries
    from steelyard.cli.settings import check_ignores
    from steelyard.errors import ConfigError

    ignores = [*_ignores(settings), *_parsed(given["ignored"])]
    check_ignores(ignores, today=today)
    scope = scope_of(settings.only)
    lineage = scope.does("lineage", settings.lineage)
    if given["base"] and not lineage:
        raise ConfigError(
            "--base asks where the weights come from, and that was left out",
            fix="add lineage to --only, or leave out --no-lineage",
        )
    progress = stack.enter_context(TerminalProgress(quiet=given["quiet"]))
    cache = None
    digest = scope.does("digest", settings.digest)
    if settings.cache_dir and digest and not given["no_cache"]:
        from steelyard.checkpoints.digest_cache import DigestCache

        cache = DigestCache(Path(settings.cache_dir) / "digests.sqlite")
    return Options(
        only=scope.only,
        digest=settings.digest,
        allow_empty=settings.allow_empty,
        tensors=given["tensors"],
        scan_values=settings.scan_values,
        lineage=settings.lineage,
        registries=open_registries(settings.registries, stack) if lineage else (),
        base=given["base"],
        lineage_budget=_budget(settings.lineage_budget),
        facts=facts_given(settings, given["stated"]),
        ask=interview.ask if interview else None,
        ignores=[] if given["no_ignores"] else ignores,
        markets=read_markets(settings.market),
        roles=read_roles(settings.role),
        packs=_packs(settings.packs, scope),
        network=network(offline=settings.offline),
        cache=cache,
        progress=progress,
    )


def _budget(text: str) -> int | None:
    """Read a number of bytes, zero included; None where nothing is said.

    Raises:
        ConfigError: If it is no size.
    """
    from steelyard.cli.compare import Size
    from steelyard.errors import ConfigError

    said = text.strip()
    if not said or said == "0":
        return 0 if said else None
    try:
        return Size().convert(said, None, None)
    except click.BadParameter as error:
        raise ConfigError(f"lineage-budget: {error.message}") from error


def _packs(paths: Iterable[str], scope: Scope) -> list[Pack] | None:
    from steelyard.auditing import shipped_packs
    from steelyard.rules import load_packs

    own = [Path(path) for path in paths]
    return [*shipped_packs(scope), *load_packs(own)] if own else None


def _ignores(settings: Settings) -> Iterable[Ignore]:
    from steelyard.rules.ignores import Ignore

    for item in settings.ignore:
        yield Ignore(item.rule, item.reason, item.expires, item.source, item.approved_by)


def _parsed(texts: Iterable[str]) -> Iterable[Ignore]:
    from steelyard.errors import ConfigError
    from steelyard.rules.ignores import Ignore

    for text in texts:
        rule, _, rest = text.partition("=")
        day, _, reason = rest.partition(":")
        try:
            expires = date.fromisoformat(day)
        except ValueError:
            expires = None
        if not rule or expires is None or len(reason.strip()) < 3:
            raise ConfigError(
                f"--ignore wants RULE=DATE:REASON, not {text!r}",
                fix='for example --ignore "DOC005=2027-03-31:mailbox is being set up"',
            )
        yield Ignore(rule, reason.strip(), expires)


def _fails(report: Report, settings: Settings) -> bool:
    from steelyard.rules import Severity

    if settings.fail_on == "never":
        return False
    threshold = Severity(settings.fail_on)
    open_too = settings.strict and any(
        finding.severity.rank <= threshold.rank for finding in report.undetermined
    )
    return report.fails(threshold) or open_too
