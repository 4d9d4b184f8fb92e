"""The outline of a model card: its headings, what stands under each, what is only a placeholder.

Markdown is read by line: headings (`#`, underlined, or a line all in bold that names a section),
code fences, comments. A section of the Hub's template counts when some heading calls it by one
of its names and something stands there; a subsection's content counts for the sections above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from steelyard.analyzers.card.document import Card
from steelyard.knowledge import load

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})[ \t]*")
_BOLD_LINE = re.compile(r"[ \t]*(?:\*\*|__)([^*_]{2,80})(?:\*\*|__):?[ \t]*")
_HTML_HEADING = re.compile(r"[ \t]*<h([1-6])\b[^>]{0,300}>(.{1,300}?)</h[1-6]>", re.IGNORECASE)
_LABEL = re.compile(r"[-*+ \t]*(?:\*\*|__)(?:[^*_]{1,80}:(?:\*\*|__)|[^*_]{1,80}(?:\*\*|__):)")
_TEMPLATE = re.compile(r"\{\{[^{}]{0,300}\}\}|\{[a-z_]{2,40}\}")
_OPTIONAL = re.compile(r"\[optional\]", re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)")
_TAG = re.compile(r"<[^<>]{0,300}>")
_NUMBERING = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){0,4}|[ivx]{1,5})[.):][ \t]*|\d{1,3}[ \t]+")
_WORD = re.compile(r"[^\W_]+")
_BOLD_LEVEL = 7
_MOST_HEADINGS = 3000
_FEWEST_LETTERS = 2


@dataclass(slots=True)
class Section:
    """One heading and what stands under it, up to the next."""

    title: str
    """The heading's words, without markup."""
    level: int
    """1 to 6; 7 for a line in bold; 0 for what stands before the first heading."""
    line: int
    """Line of the heading in the file."""
    parent: int | None = None
    """Place of the section that this one is a part of."""
    has_content: bool = False
    """Something stands here or in a subsection that is no placeholder."""
    has_placeholder: bool = False
    """A placeholder stands here."""
    prose: list[tuple[int, str]] = field(default_factory=list)
    """Numbered lines outside code and comments."""

    is_title: bool = False
    """The heading is the card's only one at the first level, so most likely its name."""

    @property
    def ids(self) -> frozenset[str]:
        """Name the sections of the template that the heading stands for."""
        return section_ids(self.title, whole=self.is_title)


@dataclass(frozen=True, slots=True)
class Outline:
    """All sections of a card."""

    sections: Sequence[Section]
    cut: bool
    """True when there are too many headings, and those after are not looked at."""

    def filled(self) -> Mapping[str, int]:
        """Map each section of the template that has content to its heading's line."""
        found: dict[str, int] = {}
        for section in self.sections:
            if section.level and section.has_content:
                for name in sorted(section.ids):
                    found.setdefault(name, section.line)
                    above = _template()[name].get("part_of")
                    if above:
                        found.setdefault(above, section.line)
        return found

    def placeholders(self) -> Mapping[str, int]:
        """Map each section that holds only a placeholder, or nothing, to its heading's line."""
        filled, found = self.filled(), dict[str, int]()
        for section in self.sections:
            if not section.level or section.level == _BOLD_LEVEL or section.has_content:
                continue
            names = section.ids - filled.keys()
            if not section.ids and section.has_placeholder:
                found.setdefault(section.title or f"line {section.line}", section.line)
            for name in sorted(names):
                found.setdefault(name, section.line)
        return found

    def introduced(self) -> bool:
        """Tell whether prose stands before the first section, or right under the title."""
        opening = self.sections[: 2 if len(self.sections) > 1 else 1]
        under_title = (s for s in opening if s.level <= 1)
        return any(len(text.split()) >= 8 for s in under_title for _, text in s.prose)

    def prose(self) -> Iterator[tuple[int, str]]:
        """Yield the numbered lines of text, headings, code, comments and tables left out."""
        for section in self.sections:
            yield from section.prose


def outline(card: Card) -> Outline:
    """Read a card's body."""
    sections = [Section("", 0, card.first)]
    path: list[int] = []
    cut = False
    for number, text, in_code in _visible(card):
        heading = None if in_code else _heading(text, sections[-1], number)
        if heading is None:
            _add(sections[-1], number, text, in_code)
        elif len(sections) >= _MOST_HEADINGS:
            cut = True
            break
        else:
            level, title = heading
            while path and sections[path[-1]].level >= level:
                path.pop()
            sections.append(Section(title, level, number, path[-1] if path else None))
            path.append(len(sections) - 1)
    for section in reversed(sections):
        if section.has_content and section.parent is not None:
            sections[section.parent].has_content = True
    highest = [section for section in sections if section.level == 1]
    if len(highest) == 1:
        highest[0].is_title = True
    return Outline(sections, cut)


def expected_sections() -> Sequence[str]:
    """Name the sections that most models have something to say in."""
    return [name for name, entry in _template().items() if entry.get("expected")]


def _template() -> Mapping[str, Any]:
    sections: Mapping[str, Any] = load("card_template")["sections"]
    return sections


def _visible(card: Card) -> Iterator[tuple[int, str, bool]]:
    """Yield number, text and whether it is code, of each line; comments taken out."""
    fence, in_comment = "", False
    for number, line in enumerate(card.body, card.first):
        if not fence:
            line, in_comment = _without_comments(line, in_comment)
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not line[match.end() :].strip():
                fence = ""
            else:
                yield number, line, True
        elif match and not (match[1][0] == "`" and "`" in line[match.end() :]):
            fence = match[1]
        else:
            yield number, line, False


def _without_comments(line: str, inside: bool) -> tuple[str, bool]:
    """Take `<!-- ... -->` out of a line; `inside` says whether one is open before it."""
    kept: list[str] = []
    place = 0
    while True:
        if inside:
            end = line.find("-->", place)
            if end < 0:
                return "".join(kept), True
            place, inside = end + 3, False
        start = line.find("<!--", place)
        if start < 0:
            kept.append(line[place:])
            return "".join(kept), False
        kept.append(line[place:start])
        place, inside = start + 4, True


def _heading(text: str, last: Section, number: int) -> tuple[int, str] | None:
    """Read a heading; an underline turns the line before it into one."""
    match = _HEADING.fullmatch(text) if text.lstrip(" ").startswith("#") else None
    if match:
        return len(match[1]), _plain((match[2] or "").rstrip().rstrip("#"))
    if _UNDERLINE.fullmatch(text) and last.prose and last.prose[-1][0] == number - 1:
        above = last.prose[-1][1]
        if above.strip() and len(above) <= 200 and not above.lstrip().startswith(("|", "-", "*")):
            last.prose.pop()
            return (1 if "=" in text else 2), _plain(above)
    match = _HTML_HEADING.match(text)
    if match:
        return int(match[1]), _plain(match[2])
    match = _BOLD_LINE.fullmatch(text)
    if match and section_ids(_plain(match[1])):
        return _BOLD_LEVEL, _plain(match[1])
    return None


def _plain(text: str) -> str:
    """Take Markdown and numbering off a heading."""
    text = _TAG.sub(" ", _LINK.sub(r"\1", text[:400]))
    text = _OPTIONAL.sub("", text).strip(" \t*_`#:")
    number = _NUMBERING.match(text)
    return " ".join(text[number.end() if number else 0 :].split())


def _add(section: Section, number: int, text: str, in_code: bool) -> None:
    if in_code:
        section.has_content = section.has_content or bool(text.strip())
        return
    if not text.strip():
        return
    start = text[:2000].lower()
    if any(phrase in start for phrase in load("card_template")["boilerplate"]):
        section.has_placeholder = section.has_placeholder or bool(_placeholder().search(start))
        return
    section.prose.append((number, text))
    if section.has_content:
        return
    lowered = _TEMPLATE.sub(" ", _OPTIONAL.sub(" ", start))
    rest = _placeholder().sub(" ", lowered)
    if rest != start:
        section.has_placeholder = True
    rest = _LINK.sub(r"\1", _TAG.sub("", rest))
    letters = "".join(_WORD.findall(_LABEL.sub("", rest, count=1)))
    if len(letters) >= _FEWEST_LETTERS or "![" in text or "<img" in lowered:
        section.has_content = True


@cache
def _placeholder() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(load('card_template')['placeholders'])})\b")


@cache
def _phrases() -> Sequence[tuple[str, frozenset[str], Sequence[str], Sequence[str]]]:
    """List for each section of the template: exact names, phrases, and what rules it out."""
    return [
        (
            name,
            frozenset(entry.get("exact", ())),
            [f" {phrase} " for phrase in entry.get("phrases", ())],
            [f" {phrase} " for phrase in entry.get("unless", ())],
        )
        for name, entry in _template().items()
    ]


def section_ids(title: str, *, whole: bool = False) -> frozenset[str]:
    """Name the sections of the template that a heading of these words stands for.

    Args:
        title: The heading, without markup.
        whole: The heading must be one of the names and nothing more.
    """
    words = " ".join(_WORD.findall(title[:200].lower()))
    spaced = f" {words} "
    return frozenset(
        name
        for name, exact, phrases, unless in _phrases()
        if (
            words in exact
            or (spaced in phrases if whole else any(phrase in spaced for phrase in phrases))
        )
        and not any(phrase in spaced for phrase in unless)
    )
