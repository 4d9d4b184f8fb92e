"""What commands ask law about: a model, or a file of facts about one that is only planned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from steelyard.cli.options import OFFLINE_OPTION
from steelyard.cli.rules import loaded, split

if TYPE_CHECKING:
    from steelyard.assessing import Assessment
    from steelyard.facts import FactBook, Value

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FACTS_SUFFIXES = frozenset({".yaml", ".yml"})


def subject_options(command: _Command) -> _Command:
    """Add the options that say for whom and where law is asked."""
    for option in (
        OFFLINE_OPTION,
        click.option(
            "--fact", "stated", multiple=True, metavar="NAME=VALUE",
            help="State what no file can show; repeat for several.",
        ),
        click.option(
            "-r", "--role", "roles", multiple=True, metavar="ROLE[,ROLE]",
            help="What you do with the model: provider, modifier, adopter, ...",
        ),
        click.option(
            "-m", "--market", "markets", multiple=True, metavar="CODE[,CODE]",
            help="Where the model is or will be offered (eu, us-ca, kr, all).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def is_facts(subject: str) -> bool:
    """Tell a file of facts from a model."""
    return Path(subject).suffix.lower() in _FACTS_SUFFIXES and not Path(subject).is_dir()


def book_of(subject: str, given: dict[str, Any]) -> FactBook:
    """Return what is known of the subject, markets and roles included, before law is asked."""
    from steelyard.analyzers.stated import by_user
    from steelyard.assessing.files import read_facts
    from steelyard.facts import FactBook

    stated = stated_facts(given)
    if is_facts(subject):
        return FactBook(by_user({**read_facts(Path(subject)), **stated}))
    from steelyard.auditing import Options, audit
    from steelyard.cli.context import network, resolve

    settings = resolve({"offline": given["offline"]}).settings
    options = Options(
        digest=False, facts=stated, packs=(), network=network(offline=settings.offline)
    )
    return audit(subject, as_of=date.min, options=options).book


def stated_facts(given: dict[str, Any]) -> dict[str, Value]:
    """Return what the command line and the settings state: facts, markets and roles."""
    from steelyard.cli.context import resolve
    from steelyard.cli.facts_given import facts_given
    from steelyard.cli.markets import read_markets, read_roles

    settings = resolve({"market": split(given["markets"]), "role": split(given["roles"])}).settings
    facts = facts_given(settings, given["stated"])
    for name, values in (
        ("actor.markets", read_markets(settings.market)),
        ("actor.role", read_roles(settings.role)),
    ):
        if values:
            facts[name] = frozenset(values)
    return facts


def findings_of(subject: str, given: dict[str, Any], day: date) -> Assessment:
    """Apply the law of a day to a model or a file of facts."""
    from steelyard.assessing import assess, law_packs

    packs = law_packs(loaded(given["packs"]))
    return assess(book_of(subject, given), as_of=day, packs=packs)
