"""What a comparison of laws says, before it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.obligations.crosswalk import Crosswalk, Entry
from steelyard.reports.text import plain
from steelyard.rules.jurisdictions import jurisdictions


@dataclass(frozen=True, slots=True)
class EntryWords:
    """One rule or value, for a person."""

    id: str
    text: str
    """The figure of a threshold, else the rule's title."""
    details: tuple[str, ...]
    """Status, roles, dates, deadlines, exemptions, verdict."""
    citation: str
    link: str


@dataclass(frozen=True, slots=True)
class CellWords:
    """What one jurisdiction says on one topic."""

    place: str
    name: str
    entries: tuple[EntryWords, ...]


@dataclass(frozen=True, slots=True)
class RowWords:
    """One topic."""

    topic: str
    cells: tuple[CellWords, ...]
    disagreement: str


def rows(said: Crosswalk) -> tuple[RowWords, ...]:
    """Return the comparison, topic by topic, with the places that say something."""
    return tuple(
        RowWords(
            row.topic.words,
            tuple(
                CellWords(place, _name(place), tuple(map(_entry, entries)))
                for place, entries in row.cells
                if entries
            ),
            plain(row.disagreement),
        )
        for row in said.rows
    )


def _name(place: str) -> str:
    known = jurisdictions().get(place)
    return known.name if known else place


def _entry(entry: Entry) -> EntryWords:
    details = [entry.status.replace("_", " ")] if entry.status else []
    if entry.roles:
        details.append(f"binds {', '.join(entry.roles)}")
    if entry.starts is not None:
        details.append(f"from {entry.starts}")
    if entry.enforceable is not None and entry.enforceable != entry.starts:
        details.append(f"enforceable from {entry.enforceable}")
    details += [plain(deadline) for deadline in entry.deadlines]
    if entry.exemptions:
        details.append(f"unless {', '.join(entry.exemptions)}")
    if entry.confidence == "low":
        details.append("low confidence")
    if entry.verdict:
        details.append(f"this model: {entry.verdict.replace('_', ' ')}")
    text = f"{entry.figure}: {plain(entry.title)}" if entry.figure else plain(entry.title)
    return EntryWords(entry.id, text, tuple(details), plain(entry.citation), entry.link)
