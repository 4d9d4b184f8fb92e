"""`steelyard rules`: list, show, compare, check and test rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.main import EXIT_FINDINGS
from steelyard.cli.options import (
    DAY_OPTION,
    OFFLINE_OPTION,
    OUTPUT_OPTION,
    PACK_OPTION,
    format_option,
)

if TYPE_CHECKING:
    from steelyard.rules import Pack, Rule

MARKET_OPTION = click.option(
    "-m",
    "--market",
    "markets",
    multiple=True,
    metavar="CODE[,CODE]",
    help="Only these markets (eu, us-ca, kr), each with what it lies in.  [default: all]",
)
_FORM_OPTION = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How to write it.  [default: text]",
)
_BY_SUFFIX: Final = {".txt": "text", ".md": "markdown", ".json": "json", ".html": "html"}
_COMPARISONS: Final = {
    "text": "steelyard.reports.comparisons.terminal",
    "markdown": "steelyard.reports.comparisons.markdown",
    "html": "steelyard.reports.comparisons.html",
    "json": "steelyard.reports.comparisons.json",
}
_TIMELINES: Final = {
    "text": "steelyard.reports.timelines.terminal",
    "markdown": "steelyard.reports.timelines.markdown",
    "json": "steelyard.reports.timelines.json",
}


@click.group(name="rules")
def command() -> None:
    """List, show, compare, check and test rules.

    Rules are data, with source, dates and tests: one YAML file an instrument.
    """


def day_of(given: dict[str, Any]) -> date:
    """Return the day that was asked for, or today."""
    return given["as_of"].date() if given["as_of"] else date.today()


def split(texts: Iterable[str]) -> list[str]:
    """Split what may be repeated and separated by commas."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def loaded(paths: Sequence[str]) -> tuple[Pack, ...]:
    """Load the packs that ship, and those at `paths`."""
    from steelyard.rules import load_packs

    own = load_packs([Path(path) for path in paths]) if paths else ()
    return (*load_packs(), *own)


@command.command("list")
@MARKET_OPTION
@click.option("-r", "--role", "roles", multiple=True, metavar="ROLE", help="Only what binds these.")
@click.option("-t", "--topic", "topics", multiple=True, metavar="TOPIC", help="Only these topics.")
@click.option("--practice", is_flag=True, help="Good practice, too; law only if not given.")
@_FORM_OPTION
@DAY_OPTION
@PACK_OPTION
def list_rules(**given: Any) -> None:
    """List rules: id, place, state on the day, and what they ask for."""
    from steelyard.cli.markets import read_markets, read_roles
    from steelyard.cli.rule_words import state_on, summary
    from steelyard.rules.jurisdictions import covers

    day = day_of(given)
    markets, roles = read_markets(split(given["markets"])), set(read_roles(split(given["roles"])))
    topics = set(split(given["topics"]))
    rows = [
        (pack, rule)
        for pack in loaded(given["packs"])
        for rule in pack.rules
        if (given["practice"] or rule.is_law)
        and (not markets or not rule.is_law or covers(markets, rule.jurisdiction))
        and (not roles or not rule.roles or roles & {*rule.roles})
        and (not topics or (rule.topic is not None and rule.topic.value in topics))
    ]
    if given["form"] == "json":
        listed = [summary(rule, pack, day) for pack, rule in rows]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    width = max((len(rule.id) for _, rule in rows), default=0)
    for pack, rule in rows:
        state = state_on(rule, pack, day)
        click.echo(f"{rule.id:{width}}  {rule.jurisdiction:8}  {state:22}  {rule.title}")
    click.echo(f"{len(rows)} rules as of {day}", err=True)


@command.command("show")
@click.argument("rule")
@click.option("--tests", is_flag=True, help="Show the test cases, too.")
@_FORM_OPTION
@DAY_OPTION
@PACK_OPTION
def show(rule: str, **given: Any) -> None:
    """Show a rule: its condition, duties, dates, source and tests."""
    from steelyard.cli.rule_words import describe_rule, describe_tests, summary

    pack, found = _find(rule, loaded(given["packs"]))
    if given["form"] == "json":
        said = summary(found, pack, day_of(given))
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(describe_rule(pack, found, day_of(given))))
    if given["tests"]:
        click.echo("\n".join(["", *describe_tests(found)]))


def _find(name: str, packs: Iterable[Pack]) -> tuple[Pack, Rule]:
    import difflib

    known = {
        one: (pack, rule)
        for pack in packs
        for rule in pack.rules
        for one in (rule.id, *rule.aliases)
    }
    lower = {one.lower(): found for one, found in known.items()}
    if name.lower() in lower:
        return lower[name.lower()]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; see: steelyard rules list"
    raise click.UsageError(f"there is no rule named {name!r}{hint}")


@command.command("validate")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def validate(paths: tuple[str, ...]) -> None:
    """Check packs: files, or folders of them. Nothing in them is ever run.

    The first thing that is wrong is told with file, line and a way to put it right.
    """
    from steelyard.rules import load_packs, rules_on

    packs = load_packs([Path(path) for path in paths])
    # Exemptions may lie in packs that ship; these must fit together with all of them.
    shipped = {pack.id: pack for pack in load_packs()} | {pack.id: pack for pack in packs}
    rules_on(shipped.values(), max(rule.reviewed for pack in packs for rule in pack.rules))
    for pack in packs:
        cases = sum(len(rule.tests) for rule in pack.rules)
        click.echo(f"{pack.file}: {pack.id}, {len(pack.rules)} rules, {cases} test cases")


@command.command("test")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.pass_context
def test(ctx: click.Context, paths: tuple[str, ...]) -> None:
    """Run the test cases that rules carry: those of PATH, else of all packs that ship.

    Exit code 1 if a rule does not say what its author expects.
    """
    from steelyard.analyzers.derived import derive
    from steelyard.rules import load_packs, run_tests

    shipped = load_packs()
    packs = load_packs([Path(path) for path in paths]) if paths else shipped
    own = {pack.id for pack in packs}
    among = [*packs, *(pack for pack in shipped if pack.id not in own)]
    failures = [found for pack in packs for found in run_tests(pack, among=among, derive=derive)]
    for failure in failures:
        click.echo(str(failure))
    cases = sum(len(rule.tests) for pack in packs for rule in pack.rules)
    click.echo(f"{cases} test cases of {len(packs)} packs, {len(failures)} failures", err=True)
    ctx.exit(EXIT_FINDINGS if failures else 0)


@command.command("crosswalk")
@click.argument("subject", required=False, metavar="[SOURCE|FACTS.yaml]")
@MARKET_OPTION
@click.option("-r", "--role", "roles", multiple=True, metavar="ROLE", help="Your role, if any.")
@click.option("--fact", "stated", multiple=True, metavar="NAME=VALUE", help="State a fact.")
@OFFLINE_OPTION
@format_option("text, markdown, html or json; repeat for several.")
@OUTPUT_OPTION
@DAY_OPTION
@PACK_OPTION
def crosswalk(subject: str | None, **given: Any) -> None:
    """Set laws side by side: thresholds, roles, deadlines and exemptions, topic by topic.

    For a given model, tell where jurisdictions come to different answers.
    """
    from steelyard.assessing import law_packs
    from steelyard.cli.markets import read_markets
    from steelyard.cli.outputs import targets, write
    from steelyard.cli.subjects import findings_of
    from steelyard.obligations.crosswalk import crosswalk as compare

    to = targets(given["formats"], given["outputs"], _COMPARISONS, _BY_SUFFIX)
    day, places = day_of(given), read_markets(split(given["markets"]))
    found = findings_of(subject, given, day).findings if subject else None
    packs = law_packs(loaded(given["packs"]))
    write(compare(packs, places, as_of=day, findings=found), to, _COMPARISONS)


@command.command("timeline")
@click.argument("subject", required=False, metavar="[SOURCE|FACTS.yaml]")
@MARKET_OPTION
@click.option("-r", "--role", "roles", multiple=True, metavar="ROLE", help="Your role, if any.")
@click.option("--fact", "stated", multiple=True, metavar="NAME=VALUE", help="State a fact.")
@OFFLINE_OPTION
@click.option(
    "--day", "days", multiple=True, type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
    help="Compare these days; repeat.  [default: every day on which law changes]",
)  # fmt: skip
@format_option("text, markdown or json; repeat for several.")
@OUTPUT_OPTION
@PACK_OPTION
def show_timeline(subject: str | None, **given: Any) -> None:
    """Tell what changes on which day, for a model or, without one, for whomever law concerns."""
    from steelyard.assessing import law_packs
    from steelyard.cli.outputs import targets, write
    from steelyard.cli.timelines import timeline_of

    to = targets(given["formats"], given["outputs"], _TIMELINES, _BY_SUFFIX)
    packs = law_packs(loaded(given["packs"]))
    write(timeline_of(subject, packs, given), to, _TIMELINES)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of packs, for editors."""
    from steelyard.rules.schema import pack_schema

    click.echo(json.dumps(pack_schema(), indent=2))
