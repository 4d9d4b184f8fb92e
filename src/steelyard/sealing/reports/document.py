"""The parts that several documents of this room share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.checkpoints.signatures import FileChange


class ChangeDocument(BaseModel):
    """What became of one file."""

    model_config = ConfigDict(extra="forbid")

    path: str
    happened: Literal["changed", "missing", "added", "renamed"]
    other: str | None = Field(
        default=None,
        description="The former name of a renamed file; for a changed one, whose content it has.",
    )
    why: str | None = Field(default=None, description="What a reader of the file says of it.")


def change_documents(
    changes: Iterable[FileChange], why: Mapping[str, str] | None = None
) -> list[ChangeDocument]:
    """Turn changes into the shape that is written."""
    told = why or {}
    return [
        ChangeDocument(
            path=each.path,
            happened=each.happened.value,
            other=each.other,
            why=told.get(each.path),
        )
        for each in changes
    ]
