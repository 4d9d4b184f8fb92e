"""`steelyard explain`: what a rule or a fact is, where it comes from, how to settle it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from steelyard.facts import Term
    from steelyard.rules import Pack, Rule

EXIT_CODES: Final = """\
Exit codes of steelyard:

  0    nothing at or above --fail-on (default: error)
  1    findings at or above it; with --strict, undetermined rules at that level too
  2    wrong usage: an option, a setting, a fact or a rule pack
  3    the source could not be read: not found, no access, offline, or damaged beyond reading
  70   a bug in Steelyard
  130  interrupted"""

_BASES: Final = """\
How a fact is known, strongest first:

  measured   read from the model's own bytes
  derived    computed from other facts
  declared   a document or a person says so
  assumed    a default, named as such

Every claim is kept. The strongest answers; claims that cannot all be true are a contradiction."""

_TOPICS: Final = {"exit-codes": EXIT_CODES, "basis": _BASES}


@click.command(name="explain")
@click.argument("name")
def command(name: str) -> None:
    """Explain a rule, a fact, or a topic (exit-codes, basis).

    \b
    steelyard explain LIC002
    steelyard explain model.parameters.total
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.facts import vocabulary
    from steelyard.rules import load_packs

    if name in _TOPICS:
        click.echo(_TOPICS[name])
        return
    packs = load_packs()
    rules = {
        known: (pack, rule)
        for pack in packs
        for rule in pack.rules
        for known in (rule.id, *rule.aliases)
    }
    if name.upper() in rules or name in rules:
        pack, rule = rules.get(name) or rules[name.upper()]
        click.echo("\n".join(_rule(pack, rule)))
    elif name in vocabulary():
        users = [rule.id for pack in packs for rule in pack.rules if name in _names(rule)]
        click.echo("\n".join(_fact(vocabulary()[name], users)))
    else:
        known = {each.lower(): each for each in (*rules, *vocabulary(), *_TOPICS)}
        near = [known[each] for each in difflib.get_close_matches(name.lower(), known, n=3)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"there is no rule, fact or topic named {name!r}{hint}")


def _rule(pack: Pack, rule: Rule) -> Iterable[str]:
    yield f"{rule.id}  {rule.title}"
    yield ""
    yield f"  severity    {rule.severity}, confidence {rule.confidence}"
    yield f"  from        {pack.title} ({rule.jurisdiction}, {rule.status})"
    yield from _wrapped("source", rule.citation.text)
    yield f"              {rule.citation.link}"
    yield f"  reviewed    {rule.reviewed}"
    dates = (
        ("applies", rule.applies_from),
        ("enforced", rule.enforceable_from),
        ("until", rule.until),
    )
    for label, day in dates:
        if day is not None:
            yield f"  {label:10}  {day}"
    if rule.roles:
        yield f"  binds       {', '.join(rule.roles)}"
    yield from _wrapped("applies if", rule.when.text)
    for duty in rule.duties:
        yield ""
        yield from _wrapped("duty", duty.text)
        yield from _wrapped("met if", duty.satisfied_when.text)
        yield from _wrapped("fix", duty.fix)


def _fact(entry: Term, users: list[str]) -> Iterable[str]:
    yield f"{entry.name}  {entry.kind}{f' in {entry.unit}' if entry.unit else ''}"
    yield ""
    yield from _wrapped("meaning", entry.meaning)
    yield from _wrapped("question", entry.question)
    yield from _wrapped("expects", entry.expects)
    yield from _wrapped("state it", f'--fact "{entry.name}=…", or [facts] in steelyard.toml')
    yield from _wrapped("used by", ", ".join(users) or "no rule yet")


def _names(rule: Rule) -> frozenset[str]:
    conditions = [rule.when, *(duty.satisfied_when for duty in rule.duties)]
    return frozenset(name for condition in conditions for name in condition.names)


def _wrapped(label: str, text: str) -> Iterable[str]:
    lines = textwrap.wrap(text, 78 - 14, break_on_hyphens=False) or [""]
    yield f"  {label:10}  {lines[0]}" if len(label) <= 10 else f"  {label}  {lines[0]}"
    for line in lines[1:]:
        yield f"{'':14}{line}"
