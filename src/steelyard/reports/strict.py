"""The base of all that is written as JSON; it needs nothing of what the documents are about."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A part of a document: nothing else may be in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
