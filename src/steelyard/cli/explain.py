"""`steelyard explain`: what a rule or a fact is, where it comes from, how to settle it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Final

import click

from steelyard.cli.rule_words import describe_rule, wrapped

if TYPE_CHECKING:
    from steelyard.facts import Term

EXIT_CODES: Final = """\
Exit codes of steelyard:

  0    nothing at or above --fail-on (default: error)
  1    findings at or above it; with --strict, undetermined rules at that level too
       verify, lock --check, diff: it does not verify, or is different
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
        click.echo("\n".join(describe_rule(pack, rule, date.today())))
    elif name in vocabulary():
        users = [rule.id for pack in packs for rule in pack.rules if name in rule.names]
        click.echo("\n".join(_fact(vocabulary()[name], users)))
    else:
        known = {each.lower(): each for each in (*rules, *vocabulary(), *_TOPICS)}
        near = [known[each] for each in difflib.get_close_matches(name.lower(), known, n=3)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"there is no rule, fact or topic named {name!r}{hint}")


def _fact(entry: Term, users: list[str]) -> Iterable[str]:
    yield f"{entry.name}  {entry.kind}{f' in {entry.unit}' if entry.unit else ''}"
    yield ""
    yield from wrapped("meaning", entry.meaning)
    yield from wrapped("question", entry.question)
    yield from wrapped("expects", entry.expects)
    yield from wrapped("state it", f'--fact "{entry.name}=…", or [facts] in steelyard.toml')
    yield from wrapped("used by", ", ".join(users) or "no rule yet")
