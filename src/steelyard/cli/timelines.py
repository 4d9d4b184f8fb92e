"""The timeline of a subject, asked day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from steelyard.cli.subjects import book_of, stated_facts

if TYPE_CHECKING:
    from steelyard.obligations.timeline import Timeline
    from steelyard.rules import Finding, Pack


def timeline_of(subject: str | None, packs: Sequence[Pack], given: dict[str, Any]) -> Timeline:
    """Read the subject once and ask the law of each day about it."""
    from steelyard.analyzers.derived import derive
    from steelyard.analyzers.stated import by_user
    from steelyard.facts import FactBook
    from steelyard.obligations.timeline import Timeline, days_of_change, timeline
    from steelyard.rules import conclude, rules_on

    book = book_of(subject, given) if subject else FactBook(by_user(stated_facts(given)))
    book.extend(derive(book))

    def ask(day: date) -> Sequence[Finding]:
        return conclude(rules_on(packs, day), book).findings

    chosen = [moment.date() for moment in given["days"]]
    days = timeline(ask, chosen or days_of_change(packs), every=bool(chosen))
    return Timeline(subject or "All law", days)
