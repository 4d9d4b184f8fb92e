"""What `steelyard lineage` prints: entries and matches, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from steelyard.lineage.known.entries import NO_SIZES, Entry
from steelyard.lineage.known.registry import Found, Match
from steelyard.lineage.relation import Component, Related
from steelyard.reports.pairs.figures import chance, share
from steelyard.reports.pairs.parts import is_nameless, part_name, place
from steelyard.reports.text import counted, plain

_TAGS = {Related.RELATED: "related", Related.SHARES_COMPONENT: "shares a part"}
_WIDTH = 15
"""Columns of the tag before what is said of a match."""
_INDENT = " " * _WIDTH
_COLUMNS = 80
_LONGEST_NAME = 80


def entry_row(entry: Entry) -> dict[str, Any]:
    """Return an entry for programs: what is unknown is left out."""
    row = {name: value for name, value in asdict(entry).items() if value is not None}
    sizes = row.pop("sizes")
    if entry.sizes != NO_SIZES:
        row["sizes"] = {name: value for name, value in sizes.items() if value is not None}
    return row


def entry_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line for each entry: name and revision, license, sizes."""
    titles = [plain(entry.title, _LONGEST_NAME) for entry in entries]
    licenses = [plain(entry.license or "license unknown") for entry in entries]
    width, wide = (max(map(len, texts), default=0) for texts in (titles, licenses))
    for entry, title, license_ in zip(entries, titles, licenses, strict=True):
        yield f"{title:{width}}  {license_:{wide}}  {_sizes(entry)}".rstrip()


def _sizes(entry: Entry) -> str:
    sizes = entry.sizes
    said = [f"{sizes.hidden:,} wide"] if sizes.hidden else []
    said += [counted(sizes.layers, "layer")] if sizes.layers else []
    return ", ".join(said)


def found_document(source: str, found: Found) -> dict[str, Any]:
    """Return what a search found, for programs."""
    return {
        "source": source,
        "entries": found.entries,
        "tested": found.tested,
        "alike": found.alike,
        "matches": [_match_row(match) for match in found.matches],
    }


def _match_row(match: Match) -> dict[str, Any]:
    related = match.related
    return {
        "entry": entry_row(match.entry),
        "verdict": related.verdict.value,
        "log10_p": round(match.log10_p, 3),
        "exact": related.exact,
        "agreement": round(match.agreement, 3),
        "components": [
            {
                "name": part.name,
                "base": part.base,
                "log10_p": round(part.log10_p, 3),
                "change": None if part.change is None else float(f"{part.change:.3g}"),
            }
            for part in related.components
        ],
        "assumptions": list(related.assumptions),
        "notes": list(related.notes),
    }


def found_lines(found: Found) -> Iterator[str]:
    """Yield what a search found, for a person: the nearest first."""
    if not found.matches:
        yield f"no weight lineage found among {counted(found.entries, 'known model')}"
        yield "that does not prove independence: a model that is not known here is not found,"
        yield "and a distilled model carries nothing of its teacher in its weights"
    for match in found.matches:
        yield f"{_TAGS[match.related.verdict]:{_WIDTH}}{plain(match.entry.title, _LONGEST_NAME)}"
        for text in _details(match):
            yield from _wrapped(text, _INDENT)
    if found.matches:
        yield ""
        assumptions = dict.fromkeys(a for match in found.matches for a in match.related.assumptions)
        for text in assumptions:
            yield from _wrapped("assumed: " + plain(text))


def _wrapped(text: str, indent: str = "") -> list[str]:
    return wrap(
        text, _COLUMNS, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _details(match: Match) -> Iterator[str]:
    parts = match.related.components
    yield "; ".join(_parts(parts))
    by_chance = f"by chance at most {chance(match.log10_p)}"
    changes = [part.change for part in parts if part.change is not None]
    if changes and max(changes) == 0:
        by_chance += "; sampled weights are the same"
    elif changes:
        by_chance += f"; sampled weights moved up to {share(max(changes))}"
    yield by_chance
    entry = match.entry
    said = [f"license {plain(entry.license)}" if entry.license else "license unknown"]
    said += [f"made from {plain(entry.base, _LONGEST_NAME)}"] if entry.base else []
    yield "; ".join(said)
    if entry.note:
        yield plain(entry.note)


def _parts(parts: Sequence[Component]) -> Iterator[str]:
    """Say which parts come from the entry: single ones by name, layers and matrices by count."""
    layers = [part for part in parts if place(part.name)]
    tensors = [part for part in parts if is_nameless(part.name)]
    for part in parts:
        if part not in layers and part not in tensors:
            yield part_name(part.name) if part.base else f"not the {part_name(part.name)}"
    for group, one, many in (
        (layers, "layer", "layers"),
        (tensors, "matrix without a role", "matrices without a role"),
    ):
        if group:
            matched = sum(part.base is not None for part in group)
            yield f"{matched or 'none'} of {len(group)} {one if len(group) == 1 else many}"
