"""What a card says in sentences: how to reach the publisher, what not to do, how large it is.

Sentences are easily misread, so only plain statements count: a size that the card names once
and not in comparison, an address, "not intended for". Every pattern runs in linear time.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from steelyard.analyzers.quoting import clean
from steelyard.facts import Interval

_UNITS: Final = {"thousand": "k", "million": "m", "billion": "b", "trillion": "t"}
_SIZE: Final = r"(\d{1,4}(?:\.\d{1,3})?)\s?(k|m|b|t|thousand|million|billion|trillion)\b"
_STATED = re.compile(
    rf"(?<![\w.,$~-]){_SIZE}[ -]{{0,2}}(?:of )?((?:total |trainable |model )?)param(?:eter)?s?\b",
    re.IGNORECASE,
)
_LABELED = re.compile(
    rf"\b(?:number of |total )?param(?:eter)?s?(?: count)?[*_]{{0,2}}:[*_]{{0,2}} ?()(){_SIZE}",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"[ -](?:model|variant|version|checkpoint)s\b", re.IGNORECASE)
_LISTED = re.compile(
    r"\d\s?(?:[kmbt]|thousand|million|billion|trillion)?(?:\s?(?:,|/|&|–|-)|,? (?:and|or|to))\s?$",  # noqa: RUF001  ranges are written with a dash
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\b(?:than|compared?|comparison|versus|vs|outperform\w*|surpass\w*|larger|smaller|similar"
    r"|distill\w*|teacher|up to|over|under|less|unlike|like|series|family|ranging|sizes|variants"
    r"|based on|fine-?tuned (?:from|on)|derived|draft|previous|other|original)\b",
    re.IGNORECASE,
)
_EXPERTS = re.compile(r"\b(?:experts?|moe|mixture|activ\w+)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TABLE = re.compile(r"\s*\||[^|]{0,400}\|[^|]{0,400}\|")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s")

_MAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}"
    r"@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6})"
)
_NO_MAIL = re.compile(r"^(?:git@|no-?reply|you@|user@|name@|email@)", re.IGNORECASE)
_NO_DOMAIN = re.compile(r"(?:^|\.)example(?:\.|$)|\.(?:png|jpg|svg)$", re.IGNORECASE)
_CHANNEL = re.compile(
    r"https?://[^\s<>()\[\]\"']{1,200}?/(?:issues|security|discussions)"
    r"(?:/new\b|/?(?=[\s<>()\[\]\"'.,;]|$))"
    r"|https?://[^\s<>()\[\]\"']{0,100}hackerone\.com"
    r"|\b(?:community|discussions?) tab\b|\bopen an issue\b|\breport (?:a |any )?(?:security "
    r"|software )?(?:issues?|bugs?|vulnerabilit\w+|problems?|risks?)\b",
    re.IGNORECASE,
)
_OUT_OF_SCOPE = re.compile(
    r"\b(?:should|must|may|shall|can) ?not be used\b|\bnot (?:intended|meant|designed|suitable"
    r"|suited|recommended) (?:for|to)\b|\bout[- ]of[- ]scope\b|\bdo not use (?:this|the|it)\b"
    r"|\bprohibited uses?\b|\bnot be used (?:for|to|in|as)\b",
    re.IGNORECASE,
)
_LIMITATIONS = re.compile(
    r"\b(?:has|have|had|these|those|following|known|several|some|its|their|important|main|certain"
    r"|same|other|inherent) limitations\b(?! under)|\blimitations(?:\*\*|__)?(?:\*\*|__)?"
    r"(?: of (?:the|this|our) model|:| include| are\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph or list item, its lines joined."""

    text: str
    starts: Sequence[int]
    """Where each of its lines starts in `text`."""
    lines: Sequence[int]
    """The number of each line in the file."""

    def line(self, offset: int) -> int:
        """Return the file's line for a place in `text`."""
        return self.lines[bisect_right(self.starts, offset) - 1]


@dataclass(frozen=True, slots=True)
class Found:
    """Words in a card, and where they stand."""

    line: int
    quote: str


def passages(prose: Iterable[tuple[int, str]]) -> list[Passage]:
    """Join numbered lines into paragraphs; a list item starts a new one, tables are left out."""
    found: list[Passage] = []
    pending: list[tuple[int, str]] = []
    for number, text in prose:
        is_table = bool(_TABLE.match(text))
        if pending and (is_table or _ITEM.match(text) or number != pending[-1][0] + 1):
            found.append(_joined(pending))
            pending = []
        if not is_table:
            pending.append((number, text.strip()))
    return [*found, _joined(pending)] if pending else found


def _joined(lines: Sequence[tuple[int, str]]) -> Passage:
    starts, place = [], 0
    for _, text in lines:
        starts.append(place)
        place += len(text) + 1
    return Passage(" ".join(text for _, text in lines), starts, [number for number, _ in lines])


def contact(found: Iterable[Passage]) -> Found | None:
    """Find an e-mail address, or a place where flaws are reported."""
    for passage in found:
        for match in _MAIL.finditer(passage.text) if "@" in passage.text else ():
            if not _NO_MAIL.match(match[0]) and not _NO_DOMAIN.search(match[1]):
                return Found(passage.line(match.start()), clean(match[0]))
        channel = _CHANNEL.search(passage.text)
        if channel:
            return Found(passage.line(channel.start()), clean(channel[0]))
    return None


def out_of_scope(found: Iterable[Passage]) -> Found | None:
    """Find a sentence that says what the model is not for."""
    return _first(_OUT_OF_SCOPE, found)


def limitations(found: Iterable[Passage]) -> Found | None:
    """Find a sentence about the model's limitations."""
    return _first(_LIMITATIONS, found)


def _first(pattern: re.Pattern[str], found: Iterable[Passage]) -> Found | None:
    for passage in found:
        match = pattern.search(passage.text)
        if match:
            around = passage.text[max(0, match.start() - 60) : match.end() + 80]
            return Found(passage.line(match.start()), clean(around))
    return None


@dataclass(frozen=True, slots=True)
class Size:
    """A number of parameters that a card states."""

    value: Interval
    found: Found


def stated_size(found: Iterable[Passage]) -> Size | None:
    """Return the one size that the card states; None when it names several, or none plainly."""
    sizes: dict[Interval, Size] = {}
    for passage in found:
        if "aram" not in passage.text and "ARAM" not in passage.text:
            continue
        for start, sentence in _sentences(passage.text):
            mentions = list(_mentions(sentence))
            if any(is_listed for *_, is_listed in mentions):
                return None  # several sizes in one breath: it speaks of a family
            for value, offset, quote, _ in mentions:
                place = passage.line(start + offset)
                sizes.setdefault(value, Size(value, Found(place, clean(quote))))
    return next(iter(sizes.values())) if len(sizes) == 1 else None


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    place = 0
    for end in _SENTENCE_END.finditer(text):
        yield place, text[place : end.start()]
        place = end.end()
    yield place, text[place:]


def _mentions(sentence: str) -> Iterator[tuple[Interval, int, str, bool]]:
    """Yield each plain size with its place and words; the flag says it is one of a list."""
    matches = [*_STATED.finditer(sentence), *_LABELED.finditer(sentence)]
    is_compared = bool(matches) and bool(_COMPARED.search(sentence) or _EXPERTS.search(sentence))
    for match in matches:
        figure, unit, *kinds = [group for group in match.groups() if group]
        before = sentence[max(0, match.start() - 40) : match.start()]
        after = sentence[match.end() : match.end() + 20]
        if _PLURAL.match(after) or _LISTED.search(before):
            yield Interval(0, 0), 0, "", True
            continue
        is_total = any("total" in kind.lower() for kind in (*kinds, match[0]))
        value = _interval(figure, unit)
        if value is not None and (is_total or not is_compared):
            words = sentence[max(0, match.start() - 80) : match.end() + 60]
            yield value, match.start(), words, False


def _interval(figure: str, unit: str) -> Interval | None:
    return Interval.from_rounded(figure + _UNITS.get(unit.lower(), unit), within=0.05)
