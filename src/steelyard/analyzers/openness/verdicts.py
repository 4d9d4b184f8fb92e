"""The classes and tiers side by side, for a model or for a release that is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from steelyard.analyzers.licenses.names import read_license
from steelyard.analyzers.openness.index import Dimension, judged
from steelyard.analyzers.openness.mof import Component, Evaluation, Release, State, evaluate
from steelyard.facts import FactBook

PERMISSIVE: Final = frozenset({"attribution", "share_alike"})
"""Conditions that leave the four freedoms whole."""
_FACTS_OF: Final = (
    ("code.public", "Training code"),
    ("inference_code.public", "Inference code"),
    ("data.public", "Datasets"),
)
_DATA: Final = ("Datasets", "Research paper", "Technical report", "Data card")
_CODE: Final = ("Data preprocessing code", "Training code", "Inference code")


@dataclass(frozen=True, slots=True)
class Openness:
    """What is open, in the words of each framework."""

    mof: Evaluation | None
    mof_by_paper: Evaluation | None
    """The same under the paper's laxer reading; None where it does not differ."""
    osaid: Mapping[str, str | None]
    """`data`, `code` and `parameters`: met, partial, not_met, or None where unknown."""
    tier: str | None
    index: tuple[Dimension, ...]


def assess(book: FactBook) -> Openness:
    """Judge a model by its facts."""
    release = _release(book)
    tool = evaluate(release) if release else None
    paper = evaluate(release, strictness="paper") if release else None
    differs = tool is not None and paper is not None and paper.reached != tool.reached
    return Openness(tool, paper if differs else None, osaid_of(book), tier_of(book), index_of(book))


def of_release(release: Release) -> tuple[Evaluation, Evaluation]:
    """Judge a release that is listed, as the tool and as the paper read it."""
    return evaluate(release), evaluate(release, strictness="paper")


def mof_of(book: FactBook) -> Evaluation | None:
    """Return the class by what was found or stated; None where nothing was."""
    release = _release(book)
    return None if release is None else evaluate(release)


def _release(book: FactBook) -> Release | None:
    """List what was found and stated, all under the license in effect."""
    found = book.value("openness.components")
    names = set(found) if isinstance(found, frozenset) else set()
    names |= {name for fact, name in _FACTS_OF if book.value(fact) is True}
    if not names:
        return None
    license_id = book.value("license.effective")
    stated = read_license(license_id) if isinstance(license_id, str) else None
    whole = {"distribution": stated.value} if stated else {}
    places = {
        member: evidence.file or ""
        for claim in book.claims("openness.components")
        if isinstance(claim.value, frozenset)
        for member in claim.value
        for evidence in claim.evidence
    }
    title = book.value("model.name")
    return Release(
        name=title if isinstance(title, str) else "",
        license=whole,
        components=tuple(Component(n, path=places.get(n, "")) for n in sorted(names)),
    )


def release_of(book: FactBook) -> Release:
    """Return the release as a list of components, empty where nothing is known."""
    return _release(book) or Release(name="")


def osaid_of(book: FactBook) -> dict[str, str | None]:
    """Judge the elements of the Open Source AI Definition 1.0: data information, code, parameters.

    `met` needs what the definition's checklist asks for under open terms; `partial` some of it. An
    element of which nothing is known is None.
    """
    judged_mof = mof_of(book)
    states = {j.part.name: j.state for j in judged_mof.judgments} if judged_mof else {}
    return {
        "data": _data(book, states),
        "code": _part(states, _CODE),
        "parameters": _parameters(book, states),
    }


def _data(book: FactBook, states: Mapping[str, State]) -> str | None:
    if book.value("data.information_public") is True or book.value("data.public") is True:
        return "met"
    if any(states.get(name) is State.INCLUDED for name in _DATA):
        return "partial" if "data.information_public" not in book else "not_met"
    return "not_met" if book.value("data.information_public") is False else None


def _part(states: Mapping[str, State], names: tuple[str, ...]) -> str | None:
    there = [name for name in names if states.get(name) is State.INCLUDED]
    if len(there) == len(names):
        return "met"
    return "partial" if there else None


def _parameters(book: FactBook, states: Mapping[str, State]) -> str | None:
    restrictions = book.value("license.restrictions")
    if isinstance(restrictions, frozenset) and not restrictions <= PERMISSIVE:
        return "not_met"
    if book.value("weights.public") is False:
        return "not_met"
    included = states.get("Model parameters (Final)") is State.INCLUDED
    if included and states.get("Model architecture") is State.INCLUDED:
        return "met"
    return "partial" if included else None


def tier_of(book: FactBook) -> str | None:
    """Return the G7 tier (Vision on AI Openness, Paris 2026-05-29); None where facts lack.

    Weights-available: weights under restrictive terms. Open-weights: under open terms. Open-source
    AI: training code, too, and data or detailed information on it. With open data: the data, too.
    """
    if book.value("weights.public") is False:
        return "closed"
    restrictions = book.value("license.restrictions")
    if book.value("weights.public") is not True or not isinstance(restrictions, frozenset):
        return None
    if not restrictions <= PERMISSIVE:
        return "weights-available"
    code, data = book.value("code.public"), book.value("data.public")
    if code is True and data is True:
        return "open-source-open-data"
    if code is True and book.value("data.information_public") is True:
        return "open-source"
    return "open-weights"


def index_of(book: FactBook) -> tuple[Dimension, ...]:
    """Judge the dimensions of the European index that facts tell; the others are unknown."""
    states: dict[str, tuple[str | None, str]] = {}
    for key, fact in (
        ("weights_endmodel", "weights.public"),
        ("datasources_basemodel", "data.public"),
        ("trainingcode", "code.public"),
        ("hardware_architecture", "architecture.public"),
    ):
        value = book.value(fact)
        if isinstance(value, bool):
            states[key] = ("open" if value else "closed", fact)
    card = book.value("card.present")
    if isinstance(card, bool):
        missing = book.value("card.sections.missing")
        complete = card and isinstance(missing, frozenset) and not missing
        states["modelcard"] = ("open" if complete else "partial" if card else "closed", "card")
    restrictions = book.value("license.restrictions")
    if isinstance(restrictions, frozenset):
        free = restrictions <= PERMISSIVE
        states["licenses"] = ("open" if free else "partial", "license.restrictions")
    return judged(states)
