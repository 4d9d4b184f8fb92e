"""What is wrong, one alert each, for the formats that other programs read.

SARIF, JUnit and annotations on GitHub all say the same: every failing finding and every
contradiction that no rule tells, the gravest first, each with a place. What speaks of the whole
model has a place too, for consumers refuse what has none: the card, else the first weights file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from steelyard.facts import Contradiction, Evidence
from steelyard.reports.claims import fact_text, places
from steelyard.reports.outline import contradiction_words
from steelyard.reports.report import Report, deciding
from steelyard.reports.text import plain
from steelyard.rules import Finding, Severity, State
from steelyard.rules.ignores import Ignore

CONTRADICTION: Final = "contradiction"
"""Stands for the rule where none tells of a contradiction."""
_CARD: Final = "README.md"
"""Where a card would lie: the place in a source without any file."""
_MOST_PLACES: Final = 50
_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the model's files."""

    file: str
    line: int | None = None
    offset: int | None = None
    says: str = ""
    """What stands there, where it is not the place of the alert itself."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong."""

    rule: str
    """A rule's id, or `contradiction`."""
    title: str
    """What the rule asks for."""
    severity: Severity
    message: str
    place: Place
    also: tuple[Place, ...]
    """Further places that decided it."""
    identity: str
    """Hex digits that stay the same as long as it is the same matter: wherever the model lies,
    whatever else is found, and if the line moves within the file."""
    fixes: tuple[str, ...] = ()
    finding: Finding | None = None
    """None for a contradiction that no rule tells."""
    ignore: Ignore | None = None
    """Why it does not count, where it was ignored."""


def alerts(report: Report, *, ignored: bool = False) -> tuple[Alert, ...]:
    """Return what is wrong, the gravest first, in the order of the reports for people.

    Args:
        report: What an audit says.
        ignored: Add what is wrong and was ignored, at the end.
    """
    found = [_of_finding(report, finding) for finding in report.failing]
    found += [_of_contradiction(report, one) for one in report.untold]
    found.sort(key=lambda alert: alert.severity.rank)
    if ignored:
        found += [_of_finding(report, item.finding, item.ignore) for item in report.ignored]
    return tuple(found)


def from_here(report: Report, file: str) -> str:
    """Name a file of the source as it is seen from where the audit was called.

    A model that lies below that folder is named with its way there, as a repository names it;
    any other by its path within the source, the same on every machine.
    """
    folder = _folder(report)
    return f"{folder}/{file}" if folder else file


def subject(report: Report) -> str:
    """Name the model in a way that is the same on every machine."""
    spec = report.source.spec.rstrip("/")
    if "://" in spec:
        return plain(spec)
    below = _folder(report)
    if report.source.kind == "file" or not below:
        own = PurePosixPath(spec).name
        return plain(f"{below}/{own}" if below else own) or "model"
    return plain(below)


def _folder(report: Report) -> str:
    spec = report.source.spec
    path = PurePosixPath(spec)
    if "://" in spec or path.is_absolute() or ".." in path.parts or spec.startswith("~"):
        return ""
    folder = path.parent if report.source.kind == "file" else path
    return "" if str(folder) == "." else str(folder)


def _of_finding(report: Report, finding: Finding, ignore: Ignore | None = None) -> Alert:
    spot = finding.location
    own = [finding.rule]
    if spot is not None:
        place = Place(spot.file, spot.line, spot.offset)
        own.append(spot.file)
    names = sorted(deciding(finding))
    also = list(_evidence(report, names))
    if spot is None:
        place = also[0] if also else _somewhere(report)
    unmet = [duty for duty in finding.duties if duty.state is State.UNMET]
    return Alert(
        rule=finding.rule,
        title=plain(finding.title),
        severity=finding.severity,
        message=plain(finding.message, _LONGEST),
        place=Place(place.file, place.line, place.offset),
        also=tuple(_others(also, place)),
        identity=_digest(own),
        fixes=tuple(dict.fromkeys(duty.fix for duty in unmet if duty.fix)),
        finding=finding,
        ignore=ignore,
    )


def _of_contradiction(report: Report, found: Contradiction) -> Alert:
    # What is weakest is most likely to be corrected, so that is where to look.
    where = [
        Place(item.file, item.line, item.offset, plain(f"{claim.basis}: {fact_text(claim)}"))
        for claim in reversed(found.claims)
        for item in claim.evidence
        if item.file is not None
    ]
    place = where[0] if where else _somewhere(report)
    said = dict.fromkeys(
        f"{claim.basis} {fact_text(claim)}" + (f" ({places(claim)})" if places(claim) else "")
        for claim in found.claims
    )
    return Alert(
        rule=CONTRADICTION,
        title="Claims about one fact can all be true",
        severity=Severity.WARNING,
        message=plain(f"{contradiction_words(found)} {'; '.join(said)}.", _LONGEST),
        place=Place(place.file, place.line, place.offset),
        also=tuple(_others(where, place)),
        identity=_digest([CONTRADICTION, found.name]),
        fixes=("Correct the claim that is wrong, or ask whoever made it.",),
    )


def _evidence(report: Report, names: Iterable[str]) -> Iterable[Place]:
    for name in names:
        for claim in report.book.claims(name):
            for item in claim.evidence:
                if item.file is not None:
                    yield Place(item.file, item.line, item.offset, _quoted(name, item))


def _quoted(name: str, item: Evidence) -> str:
    said = item.quote or item.field or ""
    return plain(f"{name}: {said}" if said else name)


def _others(found: Iterable[Place], place: Place) -> Iterable[Place]:
    """Yield each further place once, as many as anybody would look at."""
    here = (place.file, place.line, place.offset)
    distinct = {(one.file, one.line, one.offset): one for one in reversed(list(found))}
    kept = [one for key, one in reversed(distinct.items()) if key != here]
    yield from kept[:_MOST_PLACES]


def _somewhere(report: Report) -> Place:
    """Return the place of what speaks of the whole model."""
    card = report.book.resolve("card.present")
    if card is not None and card.value is True:
        for item in card.evidence:
            if item.file is not None:
                return Place(item.file)
    main = report.book.resolve("weights.main")
    if main is not None:
        for item in main.evidence:
            if item.file is not None:
                return Place(item.file)
    ranked = sorted(report.files, key=lambda file: (_ROLES.index(file.role), file.path))
    return Place(ranked[0].path if ranked else _CARD)


_ROLES: Final = ("document", "weights", "other")


def _digest(parts: Iterable[str]) -> str:
    """Return hex digits that tell these texts from any others."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()
