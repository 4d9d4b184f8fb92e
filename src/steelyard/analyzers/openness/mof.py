"""The Model Openness Framework: the class of a release, as the framework's own tool computes it.

Source: LF AI & Data, Model Openness Tool (snapshot 2026-05-11), `ModelEvaluator.php` and
`LicenseHandler.php`, reimplemented from its rules; paper "The Model Openness Framework",
arXiv 2403.13784, for the laxer reading of licenses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, Literal

from steelyard.knowledge import load

UNLICENSED: Final = "unlicensed"
"""What the tool's files write for a component without a license."""
ORDER: Final = ("III", "II", "I")
"""The classes, the least open first; each asks for all that the one before asks for."""
Strictness = Literal["tool", "paper"]


class State(StrEnum):
    """What a component contributes."""

    INCLUDED = "included"
    UNLICENSED = "unlicensed"
    INVALID = "invalid"
    """Its license is not open."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Part:
    """A component that the framework knows."""

    id: int
    name: str
    type: str
    """`code`, `data` or `document`."""
    first_class: str
    required: bool
    stand_in: str | None = None
    """The component that takes its place where it is absent."""


@dataclass(frozen=True, slots=True)
class Component:
    """A component that a release lists."""

    name: str
    license: str | None = None
    """As stated for the component itself; None where nothing is stated."""
    path: str = ""
    """Where it is."""
    license_path: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """A release as the tool's files describe it."""

    name: str
    producer: str = ""
    version: str = ""
    date: str = ""
    license: Mapping[str, str] | None = None
    """License for the whole release by `distribution`, `code`, `data`, `document`."""
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgment:
    """One component, judged."""

    part: Part
    state: State
    license: str | None
    level: str
    """Where the license was stated: `component`, a type, `distribution`, or empty."""
    suits_type: bool
    """The license suits this type of component; a component passes without, but with a note."""
    path: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The class of a release and what is missing for the next."""

    reached: str
    """`none`, `III`, `II` or `I`."""
    judgments: tuple[Judgment, ...]
    progress: Mapping[str, float]
    """Per cent of what each class asks for; 0 for a class whose predecessor is not reached."""
    strictness: Strictness = "tool"

    @property
    def label(self) -> str:
        """Name the class in the framework's words."""
        return str(load("mof")["classes"].get(self.reached, "Unclassified"))

    @property
    def next_class(self) -> str | None:
        """Name the class above; None for the highest."""
        position = ORDER.index(self.reached) + 1 if self.reached in ORDER else 0
        return ORDER[position] if position < len(ORDER) else None

    @property
    def missing(self) -> tuple[Judgment, ...]:
        """Return what keeps the release from the next class."""
        if self.next_class is None:
            return ()
        named = {part.name for part in _required(self.next_class)}
        slots = {judgment.part.name for judgment in self._filled(named)}
        return tuple(j for j in self.judgments if j.part.name in named and j.part.name not in slots)

    def _filled(self, named: set[str]) -> Iterable[Judgment]:
        for judgment in self.judgments:
            stands = _stands_in(judgment.part, self.judgments)
            if judgment.part.name in named and (judgment.state is State.INCLUDED or stands):
                yield judgment


@cache
def parts() -> tuple[Part, ...]:
    """Return the framework's components."""
    return tuple(
        Part(
            item["id"],
            item["name"],
            item["type"],
            item["class"],
            bool(item["required"]),
            item.get("stand_in"),
        )
        for item in load("mof")["components"]
    )


def evaluate(release: Release, *, strictness: Strictness = "tool") -> Evaluation:
    """Judge every component and find the class.

    Args:
        release: What is released, with the licenses that are stated.
        strictness: `tool` as the tool does it; `paper` accepts datasets under any license,
            or none, as the paper does.
    """
    listed = {component.name: component for component in release.components}
    judgments = tuple(
        _judge(part, listed.get(part.name), release.license or {}, strictness) for part in parts()
    )
    progress: dict[str, float] = {}
    reached = "none"
    for name in ORDER:
        done, needed = _count(name, judgments)
        complete_below = reached == (ORDER[ORDER.index(name) - 1] if name != "III" else "none")
        progress[name] = min(100.0, 100 * done / needed) if complete_below else 0.0
        if complete_below and done >= needed:
            reached = name
    return Evaluation(reached, judgments, progress, strictness)


def _count(name: str, judgments: Sequence[Judgment]) -> tuple[int, int]:
    """Count what a class asks for and what is there, the stand-in for an absent report included."""
    by_name = {judgment.part.name: judgment for judgment in judgments}
    required = _required(name)
    done = needed = 0
    for part in required:
        judgment = by_name[part.name]
        stands = judgment.state is State.MISSING and part.stand_in in by_name
        if stands and by_name[str(part.stand_in)].state is not State.MISSING:
            judgment = by_name[str(part.stand_in)]
            if judgment.part in required:
                # The paper counts once: in its own place.
                continue
        needed += 1
        done += judgment.state is State.INCLUDED
    return done, needed


def _stands_in(part: Part, judgments: Iterable[Judgment]) -> bool:
    return part.stand_in is not None and any(
        j.part.name == part.stand_in and j.state is State.INCLUDED for j in judgments
    )


def _required(name: str) -> tuple[Part, ...]:
    within = ORDER[: ORDER.index(name) + 1]
    return tuple(part for part in parts() if part.required and part.first_class in within)


def _judge(
    part: Part, component: Component | None, whole: Mapping[str, str], strictness: Strictness
) -> Judgment:
    if component is None:
        return Judgment(part, State.MISSING, None, "", False)
    name, level = _license(part, component, whole)
    lax = strictness == "paper" and part.name in ("Datasets", "Sample model outputs")
    if name is None:
        state = State.INCLUDED if lax else State.UNLICENSED
        return Judgment(part, state, None, "", False, component.path)
    is_open = lax or is_open_license(name)
    suits = suits_type(name, part.type)
    note = ""
    if is_open and not suits:
        note = f"open, but not made for {part.type}"
    if name in load("mof")["newer_than_the_tool"]:
        note = "newer than the tool's list; taken as open"
    state = State.INCLUDED if is_open else State.INVALID
    return Judgment(part, state, name, level, suits, component.path, note)


def _license(part: Part, component: Component, whole: Mapping[str, str]) -> tuple[str | None, str]:
    """Resolve a license: the component's own, then that of its type, then that of the release."""
    if component.license:
        stated = component.license.strip()
        return (None, "") if stated.lower() == UNLICENSED else (stated, "component")
    for level in (part.type, "distribution"):
        if whole.get(level):
            return whole[level], level
    return None, ""


def is_open_license(name: str) -> bool:
    """Tell whether the tool takes a license as open: FSF-libre, OSI-approved, or open data."""
    return name in _lists()["open"]


def suits_type(name: str, kind: str) -> bool:
    """Tell whether a license suits `code`, `data` or `document`."""
    return name in _lists()[kind]


@cache
def _lists() -> Mapping[str, frozenset[str]]:
    table: Mapping[str, Any] = load("mof")
    everywhere = frozenset(table["open_for_all"])
    names = (*table["osi_approved"], *table["fsf_libre"], *table["open_data"])
    kinds = {kind: frozenset(ids) | everywhere for kind, ids in table["types"].items()}
    return {"open": frozenset(map(str, names)) | everywhere, **kinds}
