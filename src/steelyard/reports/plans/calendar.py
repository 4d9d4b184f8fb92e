"""A plan as iCalendar (RFC 5545): one entry a day by which something is to be done."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta

from icalendar import Calendar, Event

from steelyard.obligations.plan import Action, Plan
from steelyard.reports.plans.words import steps


def render(plan: Plan) -> bytes:
    """Return the actions that have a day, as all-day entries.

    Entries keep their UID from plan to plan, so that a newer calendar replaces the older one.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//Steelyard//steelyard plan//EN")
    calendar.add("version", "2.0")
    for action, step in zip(plan.actions, steps(plan), strict=True):
        if action.by is not None:
            calendar.add_component(_entry(action, action.by, step.satisfies, plan.as_of))
    return bytes(calendar.to_ical())


def _entry(action: Action, day: date, satisfies: tuple[str, ...], as_of: date) -> Event:
    entry = Event()
    digest = hashlib.sha256(action.id.encode()).hexdigest()[:16]
    entry.add("uid", f"{digest}@steelyard")
    entry.add("dtstamp", datetime.combine(as_of, time(), tzinfo=UTC))
    entry.add("dtstart", day)
    entry.add("dtend", day + timedelta(days=1))
    entry.add("summary", action.title)
    entry.add("description", "\n".join(satisfies))
    entry.add("categories", list(action.jurisdictions))
    entry.add("transp", "TRANSPARENT")
    return entry
