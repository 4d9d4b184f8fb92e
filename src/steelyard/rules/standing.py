"""Where a rule stands in time: enacted, to come, in transition, applicable, enforceable, ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from steelyard.facts import FactBook
from steelyard.rules.answering import Answer, answer
from steelyard.rules.finding import Standing, Status
from steelyard.rules.law import BoundRule, BoundStart

_ALWAYS: Final = Answer(True)


@dataclass(frozen=True, slots=True)
class Times:
    """The days that matter for one rule and one model."""

    standing: Standing
    applies_from: date | None = None
    enforceable_from: date | None = None
    missing: tuple[str, ...] = ()
    """The facts that would tell when it begins; empty unless that is unsettled."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """When something begins, as far as the facts tell."""

    day: date | None
    """The day, or the earliest of those that are possible."""
    by: bool | None
    """Whether it has begun on the day that is asked about; None when the facts do not tell."""
    conditional: bool = False
    missing: tuple[str, ...] = ()


def times(item: BoundRule, book: FactBook, day: date) -> Times:
    """Place a rule in time on `day`.

    A rule without `applies_from` applies as long as it stands; one without `enforceable_from`
    is never enforced by a sanction.
    """
    rule = item.rule
    applies = _begun(item.applies_from, book, day)
    enforced = _begun(item.enforceable_from, book, day)
    days = applies.day, enforced.day
    if rule.enacted is not None and day < rule.enacted:
        return Times(Standing.NOT_ENACTED, *days)
    if rule.until is not None and rule.until < day:
        return Times(Standing.ENDED, *days)
    if rule.status is Status.PROPOSED:
        return Times(Standing.PROPOSED, *days)
    if item.applies_from and applies.by is None:
        return Times(Standing.UNSETTLED, *days, missing=applies.missing)
    if item.applies_from and not applies.by:
        to_come = Standing.TRANSITION if applies.conditional else Standing.UPCOMING
        return Times(to_come, *days)
    enforceable = bool(item.enforceable_from) and enforced.by is True
    return Times(Standing.ENFORCEABLE if enforceable else Standing.APPLICABLE, *days)


def _begun(starts: Iterable[BoundStart], book: FactBook, day: date) -> _Begun:
    possible: list[tuple[date, bool]] = []
    missing: dict[str, None] = {}
    for start in starts:
        found = answer(start.when, book) if start.when.names else _ALWAYS
        begins = book.value(start.day) if isinstance(start.day, str) else start.day
        missing |= dict.fromkeys(found.missing)
        if found.truth is not False and isinstance(begins, date):
            possible.append((begins, start.conditional))
        if found.truth:
            break
    if not possible:
        return _Begun(None, False)
    begun = {begins <= day for begins, _ in possible}
    earliest = min(begins for begins, _ in possible)
    if len(begun) > 1:
        return _Begun(earliest, None, missing=tuple(missing))
    return _Begun(earliest, begun.pop(), conditional=len(possible) == 1 and possible[0][1])
