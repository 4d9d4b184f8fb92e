"""The catalog of license terms (`knowledge/license_terms.yaml`), checked as it is read."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from steelyard.facts import term
from steelyard.knowledge import load

Grant = Literal["yes", "no", "conditional"]
"""Conditional: not for everyone or not for every purpose; the restrictions say for which reason."""
Confidence = Literal["high", "medium", "low"]
GRANTS: Final = ("access", "use", "modify", "distribute")

_Text = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int | date) else v)]


def _complete(given: object) -> object:
    """Read YAML's booleans as words, and fill in the grants that an entry need not name."""
    if not isinstance(given, dict):
        return given
    if unknown := given.keys() - set(GRANTS):
        raise ValueError(f"no such grant: {', '.join(sorted(map(str, unknown)))}")
    words = {True: "yes", False: "no"}
    return {grant: words.get(given.get(grant, True), given.get(grant)) for grant in GRANTS}


def _of_vocabulary(kinds: dict[str, Clause]) -> dict[str, Clause]:
    term("license.restrictions").check(frozenset(kinds))
    return kinds


class Clause(BaseModel):
    """One condition. What is not a field is a figure of it (`monthly_users: 700000000`)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    at: _Text
    """Where it stands in the text; `not read` where the text was not at hand."""
    says: str
    """What it says, in our words."""

    def __hash__(self) -> int:
        """Hash by place and words; the figures follow from these."""
        return hash((self.at, self.says))


class Entry(BaseModel):
    """What one license grants and which conditions it attaches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ids: tuple[str, ...]
    version: _Text = ""
    osi_approved: bool | None = None
    grants: Annotated[dict[str, Grant], BeforeValidator(_complete)] = Field(
        default_factory=dict, validate_default=True
    )
    """Each of `GRANTS`."""
    restrictions: Annotated[dict[str, Clause], AfterValidator(_of_vocabulary)]
    """By kind, a choice of the fact `license.restrictions`."""
    source: str
    confidence: Confidence
    reviewed: date | None = None


class Catalog(BaseModel):
    """All entries, by our name for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewed: date
    burden: tuple[str, ...]
    """Kinds of restrictions, the lightest first; chooses among the alternatives of `A OR B`."""
    ambiguous: tuple[str, ...]
    """Names that licenses with different terms go by."""
    shared: list[dict[str, object]]
    """Parts that entries refer to."""
    licenses: dict[str, Entry]


@cache
def catalog() -> Catalog:
    """Read the catalog; shared, so never change it."""
    return Catalog.model_validate(load("license_terms"))
