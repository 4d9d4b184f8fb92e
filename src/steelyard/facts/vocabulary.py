"""The names that facts may have, with type, unit, meaning, and the question a person is asked.

The entries are data (`terms/*.yaml` beside this module, one file a subject). Rules are checked
against them when a pack loads, facts when they are added to a book, `--fact name=value` when it
is parsed.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from steelyard.errors import FactError
from steelyard.facts.fact import Value
from steelyard.facts.interval import Interval

_LONGEST_SHOWN = 80
_YES = frozenset({"yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})
SUBJECTS = (
    "model",
    "files",
    "code",
    "documents",
    "lineage",
    "license",
    "training",
    "openness",
    "actor",
    "measures",
    "eu",
    "eu_systems",
    "us",
    "asia",
)
"""The files of the vocabulary, in the order in which `steelyard facts` lists them."""


class Kind(StrEnum):
    """What type of value a name takes."""

    BOOL = "bool"
    COUNT = "count"
    """A whole number, zero or more; or an interval of such."""
    QUANTITY = "quantity"
    """A number with a unit; or an interval of such."""
    DATE = "date"
    TEXT = "text"
    ENUM = "enum"
    """One of `choices`."""
    SET = "set"
    """Any number of texts (of `choices`, if there are any)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One entry of the vocabulary."""

    name: str
    kind: Kind
    meaning: str
    """What it means, in one or two sentences."""
    question: str
    """What a person would be asked for it."""
    unit: str = ""
    choices: tuple[str, ...] = ()
    action: str = ""
    """What a person does to make it true, where it is something that can be done."""
    subject: str = ""
    """The file of the vocabulary that holds it: `model`, `training`, `measures`."""

    def check(self, value: Value) -> None:
        """Refuse a value of the wrong type.

        Raises:
            FactError: If `value` is not one that this name takes.
        """
        if not self._fits(value):
            raise FactError(
                f"{self.name} takes {self.expects}, not {_shown(value)}",
                fix=f"see: steelyard explain {self.name}",
            )

    @property
    def expects(self) -> str:
        """Describe the values that the name takes, for a person."""
        match self.kind:
            case Kind.BOOL:
                return "yes or no"
            case Kind.COUNT:
                return "a whole number or a range low..high"
            case Kind.QUANTITY:
                return f"a number or a range low..high, in {self.unit}"
            case Kind.DATE:
                return "a date such as 2026-11-23"
            case Kind.TEXT:
                return "text"
            case Kind.ENUM:
                return "one of " + ", ".join(self.choices)
            case Kind.SET:
                of = " of " + ", ".join(self.choices) if self.choices else ""
                return f"a comma-separated list{of}"

    def _fits(self, value: Value) -> bool:
        match self.kind:
            case Kind.BOOL:
                return isinstance(value, bool)
            case Kind.COUNT | Kind.QUANTITY:
                return _is_amount(value, whole=self.kind is Kind.COUNT)
            case Kind.DATE:
                return isinstance(value, date)
            case Kind.TEXT:
                return isinstance(value, str)
            case Kind.ENUM:
                return value in self.choices
            case Kind.SET:
                return isinstance(value, frozenset) and (
                    not self.choices or value <= frozenset(self.choices)
                )

    def parse(self, text: str) -> Value:
        """Read a value that a person wrote: `yes`, `1e25`, `1e22..3e22`, `text,image`.

        Raises:
            FactError: If `text` is not a value that this name takes.
        """
        value = self._parsed(text.strip())
        if value is None or not self._fits(value):
            raise FactError(
                f"{self.name} takes {self.expects}, not {_shown(text)}",
                fix=f"see: steelyard explain {self.name}",
            )
        return value

    def _parsed(self, text: str) -> Value | None:
        match self.kind:
            case Kind.BOOL:
                lowered = text.lower()
                return True if lowered in _YES else (False if lowered in _NO else None)
            case Kind.COUNT | Kind.QUANTITY:
                return _amount(text)
            case Kind.DATE:
                try:
                    return date.fromisoformat(text)
                except ValueError:
                    return None
            case Kind.TEXT | Kind.ENUM:
                return text or None
            case Kind.SET:
                return frozenset(part.strip() for part in text.split(",") if part.strip())


def _is_amount(value: Value, *, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, Interval):
        return 0 <= value.low <= sys.float_info.max
    if isinstance(value, int):
        return value >= 0
    return isinstance(value, float) and math.isfinite(value) and value >= 0 and not whole


def _shown(value: object) -> str:
    """Show a value of any size in a few characters."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "a number beyond the range of a double"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _number(text: str) -> int | float | None:
    try:
        number = float(text.replace("_", "").replace(",", ""))
    except ValueError:
        return None
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _amount(text: str) -> int | float | Interval | None:
    low, dots, high = text.partition("..")
    if not dots:
        return _number(text)
    bounds = _number(low), _number(high)
    if bounds[0] is None or bounds[1] is None or bounds[0] > bounds[1]:
        return None
    return Interval(bounds[0], bounds[1])


@cache
def vocabulary() -> Mapping[str, Term]:
    """Return every term by name, subject by subject, in the order of the data files.

    Raises:
        FactError: If two files define one name.
    """
    found: dict[str, Term] = {}
    for subject in SUBJECTS:
        text = (resources.files(__package__) / f"terms/{subject}.yaml").read_text(encoding="utf-8")
        entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  safe loaders both
        for name, entry in entries.items():
            if name in found:
                raise FactError(f"{name} is defined in {found[name].subject} and in {subject}")
            found[name] = Term(
                name=name,
                kind=Kind(entry["kind"]),
                meaning=entry["meaning"],
                question=entry["question"],
                unit=entry.get("unit", ""),
                choices=tuple(entry.get("choices", ())),
                action=entry.get("action", ""),
                subject=subject,
            )
    return MappingProxyType(found)


def term(name: str) -> Term:
    """Look up one name.

    Raises:
        FactError: If there is no such name; the message suggests the nearest ones.
    """
    terms = vocabulary()
    if name in terms:
        return terms[name]
    near = difflib.get_close_matches(name, terms, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise FactError(f"there is no fact named {name!r}", fix=f"{hint}all names: steelyard facts")
