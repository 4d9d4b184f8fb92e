"""Jurisdictions: which rules concern somebody who names markets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from steelyard import knowledge
from steelyard.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A place or body that makes rules."""

    code: str
    name: str
    parent: str | None = None
    members: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    everywhere: bool = False
    """Its principles are not tied to a market."""


@cache
def jurisdictions() -> dict[str, Jurisdiction]:
    """Return every jurisdiction by its code."""
    return {
        code: Jurisdiction(
            code,
            entry["name"],
            entry.get("parent"),
            tuple(str(member).lower() for member in entry.get("members", ())),
            tuple(str(alias).lower() for alias in entry.get("aliases", ())),
            bool(entry.get("everywhere", False)),
        )
        for code, entry in knowledge.load("jurisdictions").items()
    }


@cache
def _by_any_name() -> dict[str, str]:
    names: dict[str, str] = {}
    for code, place in jurisdictions().items():
        names |= dict.fromkeys((*place.members, *place.aliases, place.name.lower()), code)
    return names | {code: code for code in jurisdictions()}


def read_market(text: str) -> str:
    """Return the code of the jurisdiction that `text` names (`de` is in `eu`, `uk` is `gb`).

    Raises:
        ConfigError: If Steelyard knows no such place.
    """
    names = _by_any_name()
    wanted = text.strip().lower()
    if wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(
            f"there is no market {text.strip()!r} in Steelyard's rules",
            fix=f"{hint}one of {', '.join(jurisdictions())}, or all",
        )
    return names[wanted]


def covers(markets: Iterable[str], jurisdiction: str) -> bool:
    """Tell whether rules of `jurisdiction` concern somebody in `markets`.

    A state's market lies within its federation's, so federal rules concern it, too.
    """
    place = jurisdictions().get(jurisdiction)
    if place is None or place.everywhere:
        return True
    return any(jurisdiction in _line(market) for market in markets)


@cache
def _line(market: str) -> tuple[str, ...]:
    """Return the market's jurisdiction and all that it lies in."""
    place = jurisdictions().get(_by_any_name().get(market.lower(), market))
    found: list[str] = []
    while place is not None and place.code not in found:
        found.append(place.code)
        place = jurisdictions().get(place.parent or "")
    return tuple(found)
