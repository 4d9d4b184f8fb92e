"""Recognize a license by its text.

AI licenses first, by title and by phrases that must or must not be there (most of them are not
on SPDX's list, and some begin with the words of a license that they change). Then the licenses
of SPDX's list, by the `licenseclassifier` library, which says which part of the text is which
license. What is left over decides: a text that adds conditions to the MIT license is not MIT.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from steelyard.analyzers.licenses.names import license_id
from steelyard.knowledge import load

_LONGEST = 200_000
_HEAD = 4096
_FEWEST_WORDS = 12
_FEWEST_FOREIGN = 30
_LEAST_SHARE = 0.5
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "–": "-", "—": "-"})  # noqa: RUF001  the quotes that license texts use
_MARKUP = re.compile(r"[*_#`>\\|]+")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+")
_LETTER = re.compile(r"[^\W_]")
_FOREIGN = re.compile(r"[^\W_\x00-\u024f]")
_COPYRIGHT_LINE = re.compile(r"[ \t#*/-]*(?:copyright|\(c\)|©|all rights reserved)", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:shall|must|may not|unless|except|provided that|only|prohibit\w*|restrict\w*|revenue"
    r"|commercial\w*|modification|additional terms|not (?:be )?use[d]?|monthly active)\b",
    re.IGNORECASE,
)
_TAG_NAME = re.compile(r"/?[a-z][a-z0-9]*", re.IGNORECASE)
_HTML_START = re.compile(r"<(?:!doctype|html|head|body|div|p|h[1-6])\b", re.IGNORECASE)
_UNSEEN_TAGS = frozenset({"script", "style"})
_PREFACED = "CC-"
"""Creative Commons' own files carry a preface and an afterword that are no part of the text."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a text turned out to be."""

    ids: tuple[str, ...] = ()
    """Licenses found, SPDX identifiers or LicenseRefs, in order of appearance."""
    how: str = ""
    """How it was found, or why nothing was: `match 0.998`, `by title`, `MIT, and 60 words more`."""
    is_policy: bool = False
    """True when it only restricts use, and grants nothing."""


def recognize(text: str) -> Recognized:
    """Name the licenses whose text this is; none when it is not wholly understood."""
    text = text[:_LONGEST]
    if _HTML_START.search(text[:_HEAD]):
        text = _plain(text)
    titled = _by_title(text)
    return titled if titled is not None else _by_wording(text)


def _by_title(text: str) -> Recognized | None:
    body = _normalized(text)
    head = body[:_HEAD]
    for entry in load("license_titles"):
        if (
            _any(entry["titles"], head)
            and all(phrase in body for phrase in entry.get("requires", ()))
            and not _any(entry.get("forbids", ()), body)
        ):
            return Recognized((entry["id"],), "by title", bool(entry.get("policy")))
    return None


def _by_wording(text: str) -> Recognized:
    from licenseclassifier import identify_license  # loads its patterns in 0.15 s

    found = [match for match in identify_license(text, 0) if not _is_link(text[match.start :])]
    if not found:
        return Recognized(how="no known license text")
    ids = tuple(dict.fromkeys(license_id(match.id) for match in found))
    rest = list(_outside(text, [(match.start, match.end) for match in found]))
    extra = sum(len(_WORD.findall(piece)) for piece in rest)
    unmatched = sum(len(_LETTER.findall(piece)) for piece in rest)
    share = 1 - unmatched / max(1, len(_LETTER.findall(text)))
    prefaced = all(name.startswith(_PREFACED) for name in ids) and share > 0.7
    if share < _LEAST_SHARE or (not prefaced and any(_may_change(piece) for piece in rest)):
        return Recognized(how=f"{' and '.join(ids)}, and {extra} words more that may change it")
    return Recognized(ids, f"match {share:.3f}")


def _may_change(piece: str) -> bool:
    """Tell whether words beside a license's own could add to or take from what it grants."""
    if len(_FOREIGN.findall(piece)) >= _FEWEST_FOREIGN:
        return True  # not read, so not known to be harmless
    return len(_WORD.findall(piece)) >= _FEWEST_WORDS and _CONDITION.search(piece) is not None


def _outside(text: str, spans: Iterable[tuple[int, int]]) -> Iterable[str]:
    """Yield what no span covers, copyright lines left out."""
    place = 0
    for start, end in (*sorted(spans), (len(text), len(text))):
        lines = text[place:start].split("\n") if start > place else []
        yield "\n".join(line for line in lines if not _COPYRIGHT_LINE.match(line))
        place = max(place, end)


def _is_link(text: str) -> bool:
    """Tell whether a match is no license text but the address of one."""
    return text[:8].lower().startswith(("http://", "https://"))


def _any(phrases: Any, text: str) -> bool:
    return any(phrase in text for phrase in phrases)


def _normalized(text: str) -> str:
    """Put a text in lower case, without markup, with plain quotes and single spaces."""
    plain = _MARKUP.sub(" ", text.translate(_QUOTES).casefold())
    return _SPACE.sub(" ", plain).strip()


def _plain(text: str) -> str:
    """Take the tags out of a page, and what stands in scripts and styles."""
    first, *pieces = text.split("<")
    kept, unseen = [first], ""
    for piece in pieces:
        tag, closed, rest = piece.partition(">")
        name = _TAG_NAME.match(tag)
        called = name[0].lower() if name else ""
        if unseen:
            unseen = "" if called == "/" + unseen else unseen
        elif called in _UNSEEN_TAGS:
            unseen = called
            continue
        if not unseen:
            kept.append(("\n" if called in _BLOCKS else " ") + rest if closed else "<" + piece)
    return html.unescape("".join(kept))


_BLOCKS = frozenset(
    name + tag
    for name in ("", "/")
    for tag in ("p", "br", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "title")
)
