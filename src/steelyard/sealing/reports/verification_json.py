"""A verification as JSON: versioned, deterministic."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.sealing.reports.document import ChangeDocument, change_documents
from steelyard.sealing.verifying import Verification


class SignedDocument(BaseModel):
    """What the signature says of itself."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["key", "certificate", "sigstore"]
    model: str = Field(description="Name of the model as it was signed; informative.")
    root: str = Field(description="`sha256:` and the digest over all digests.")
    files: int = Field(description="How many files, or parts of files, it lists.")
    ignored: list[str] = Field(description="Paths that the signer left out.")


class VerificationDocument(BaseModel):
    """A verification."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["1.0"] = "1.0"
    verified: bool
    source: str
    signature: str
    refused: str | None = Field(description="Why the signature does not hold; null when it does.")
    signed: SignedDocument
    changes: list[ChangeDocument]
    not_looked_at: list[str] = Field(description="What is there and was passed over.")


def render(said: Verification) -> str:
    """Return the verification as JSON text, with one newline at the end."""
    return document(said).model_dump_json(indent=2) + "\n"


def document(said: Verification) -> VerificationDocument:
    """Turn a verification into the shape that is written."""
    signed = said.signed
    return VerificationDocument(
        verified=said.verified,
        source=said.source,
        signature=str(said.signature),
        refused=said.refused,
        signed=SignedDocument(
            method=signed.method.value,
            model=signed.model,
            root=f"sha256:{signed.root}",
            files=len(signed.resources),
            ignored=list(signed.ignored),
        ),
        changes=change_documents(said.changes, said.why),
        not_looked_at=list(said.ignored),
    )
