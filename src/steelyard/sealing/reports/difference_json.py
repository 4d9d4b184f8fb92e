"""What is different between two models, as JSON: versioned, deterministic, every name whole."""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.sealing.differences import Differences


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DifferenceDocument(_Part):
    """One thing that is different."""

    area: Literal["weights", "template", "tokenizer", "license", "lineage", "card", "files"]
    kind: Literal["added", "removed", "reshaped", "retyped", "renamed", "changed", "moved"]
    subject: str = Field(description="A tensor, a token, a field, a file.")
    old: str | None = None
    new: str | None = None
    lines: list[str] = Field(description="As `diff -u` writes it, where both texts are at hand.")


class MatrixDocument(_Part):
    """How far one matrix moved."""

    component: str
    role: str
    relative: float = Field(description="|new - old| / |old| over the rows that were read.")


class DiffDocument(_Part):
    """A comparison of two models or locks."""

    schema_version: Literal["1.0"] = "1.0"
    same: bool
    old: str
    new: str
    differences: list[DifferenceDocument]
    moved: list[MatrixDocument] = Field(
        description="By matrix; empty where not both models were at hand."
    )
    notes: list[str]


def render(said: Differences) -> str:
    """Return the differences as JSON text, with one newline at the end."""
    return document(said).model_dump_json(indent=2) + "\n"


def document(said: Differences) -> DiffDocument:
    """Turn differences into the shape that is written."""
    return DiffDocument(
        same=said.same,
        old=said.old,
        new=said.new,
        differences=[
            DifferenceDocument(
                area=each.area.value,
                kind=each.kind.value,
                subject=each.subject,
                old=each.old,
                new=each.new,
                lines=list(each.lines),
            )
            for each in said.found
        ],
        moved=[
            MatrixDocument(
                component=change.component,
                role=change.role,
                relative=float(f"{change.relative:.6g}"),
            )
            for change in (said.comparison.changes if said.comparison else ())
        ],
        notes=list(dict.fromkeys(said.notes)),
    )


def schema() -> dict[str, Any]:
    """Generate the JSON Schema of a comparison (draft 2020-12)."""
    generated = DiffDocument.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def shipped_schema() -> str:
    """Return the schema as it ships, which a test keeps equal to `schema()`."""
    return (resources.files(__package__) / "diff.schema.json").read_text(encoding="utf-8")
