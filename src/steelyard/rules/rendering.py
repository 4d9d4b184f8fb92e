"""Messages: text with the names of facts in braces, filled in from what is known.

`{card.placeholders}` stands for the resolved value, `{model.layers:claims}` for every claim with
its basis and place. Values come from the examined model, so they are shortened, cleaned of
control characters, and never read as templates again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from steelyard.errors import PackError
from steelyard.facts import Fact, FactBook, Interval, Value, term

_SLOT: Final = re.compile(r"\{([a-z0-9_.]+)(:claims)?\}")
_BRACE: Final = re.compile(r"[{}]")
_MOST_MEMBERS: Final = 4
_MOST_CLAIMS: Final = 3
_LONGEST: Final = 100


def check_template(text: str) -> str:
    """Return `text` if each brace in it belongs to the name of a fact.

    Raises:
        PackError: If a brace is loose.
        FactError: If there is no fact of that name.
    """
    for slot in _SLOT.finditer(text):
        term(slot[1])
    if _BRACE.search(_SLOT.sub("", text)):
        raise PackError(
            "a brace in a message belongs to no fact", fix="write {fact.name} or {fact.name:claims}"
        )
    return text


def render(text: str, book: FactBook) -> str:
    """Fill in a checked template."""
    return _SLOT.sub(lambda slot: _fill(slot[1], bool(slot[2]), book), text)


def _fill(name: str, all_claims: bool, book: FactBook) -> str:
    if all_claims:
        return _claims(book.claims(name))
    value = book.value(name)
    return "unknown" if value is None else show(value)


def _claims(claims: Iterable[Fact]) -> str:
    """Set the claims side by side, those of the same value as one."""
    by_value: dict[Value, Fact] = {}
    for claim in claims:
        by_value.setdefault(claim.value, claim)
    shown = [f"{show(c.value)} ({_basis(c)})" for c in list(by_value.values())[:_MOST_CLAIMS]]
    if len(by_value) > _MOST_CLAIMS:
        shown.append(f"{len(by_value) - _MOST_CLAIMS} more")
    return " against ".join(shown) if shown else "unknown"


def _basis(claim: Fact) -> str:
    place = next((item.place for item in claim.evidence if item.place), "")
    return f"{claim.basis}, {_clean(place)}" if place else str(claim.basis)


def show(value: Value) -> str:
    """Write a value for a person: `1,100,048,384`, `1e25`, `6.5e9 to 7.5e9`, `a, b and 3 more`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        if value.exact:
            return show(value.low)
        return f"{show(value.low)} to {show(value.high)}"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return _members(value)
    return _clean(value)


def _number(value: float) -> str:
    if abs(value) < 10**15:
        if float(value).is_integer():
            return f"{int(value):,}"
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    try:
        mantissa, exponent = f"{value:.3e}".split("e")
    except (OverflowError, ValueError):
        # An integer past the range of floats, or infinity.
        return "more than 1e308"
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _members(values: frozenset[str]) -> str:
    shown = [_clean(text) for text in sorted(values)]
    if len(shown) > _MOST_MEMBERS:
        return f"{', '.join(shown[:_MOST_MEMBERS])} and {len(shown) - _MOST_MEMBERS} more"
    return ", ".join(shown) if shown else "none"


def _clean(text: str) -> str:
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else " " for c in cut)
