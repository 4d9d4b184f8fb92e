"""The lock file: everything that tells one model from another, in a form that diffs well.

One tensor, one file and one field a line; no clock, no path of a machine; keys sorted. The same
model gives the same bytes, whoever locks it. Whatever changes the meaning of a field raises
`schema_version`; the major number when old readers would be wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from steelyard.checkpoints.documents import parse_json
from steelyard.checkpoints.limits import Limits
from steelyard.errors import CheckpointError

LOCK_NAME: Final = "steelyard.lock"
LARGEST: Final = 256_000_000
"""Bytes of the largest lock that is read: a quarter of a million tensors take 40 MB."""
_LIMITS: Final = Limits(document_bytes=LARGEST, json_memory=2_000_000_000)
_HEX: Final = r"[0-9a-f]{64}"
_TENSOR: Final = re.compile(
    rf"([A-Z0-9_]+) ([a-z0-9_.-]+) \[((?:\d+(?:, \d+)*)?)\](?: (b3:{_HEX}))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class LockedTensor:
    """One tensor. Law: `LockedTensor.parse(str(tensor)) == tensor`."""

    dtype: str
    """Element type, as it counts for the identity."""
    encoding: str
    shape: tuple[int, ...]
    digest: str | None = None
    """`b3:` and 64 hex digits; None where the bytes were not read."""

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"{self.dtype} {self.encoding} [{sizes}]" + (
            f" {self.digest}" if self.digest else ""
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ValueError: If it is none.
        """
        found = _TENSOR.fullmatch(text)
        if found is None:
            raise ValueError("is no tensor: TYPE ENCODING [SIZES] b3:DIGEST")
        shape = tuple(int(size) for size in found[3].split(", ") if size)
        return cls(found[1], found[2], shape, found[4])


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockedFile(_Part):
    """One file."""

    size: int = Field(ge=0, description="Bytes.")
    sha256: str | None = Field(
        pattern=f"^{_HEX}$", description="Null where a remote file was not read."
    )
    basis: Literal["measured", "declared"] = Field(
        default="measured", description="`declared` where the hub states the digest."
    )


class LockedWeights(_Part):
    """The weights set that is the model."""

    identity: str | None = Field(
        pattern=f"^b3:{_HEX}$",
        description="The same in every container; null where the bytes were not read.",
    )
    scheme: str = Field(description="Version of the rules by which the identity was computed.")
    format: str
    parameters: int = Field(ge=0, description="Elements of all tensors, as stored.")
    tensors: dict[str, str] = Field(
        description="Canonical name to `TYPE ENCODING [SIZES] b3:DIGEST`; copies of the input "
        "embedding are left out."
    )

    @field_validator("tensors")
    @classmethod
    def _check_tensors(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            LockedTensor.parse(text)
        return value

    def tensor(self, name: str) -> LockedTensor:
        """Return a tensor of that name."""
        return LockedTensor.parse(self.tensors[name])


class LockedTokenizer(_Part):
    """What turns text into numbers."""

    tokens: int | None = Field(description="Rows that have a token.")
    digest: str | None = Field(description="`sha256:` over the list of tokens.")
    special: dict[str, str] = Field(description="Special tokens by what they are for.")


class LockedCard(_Part):
    """The model card."""

    path: str
    fields: dict[str, JsonValue] = Field(description="The front matter.")
    sections: dict[str, str] = Field(description="Title of each section to `sha256:` of its text.")


class LockDocument(_Part):
    """A lock."""

    schema_version: Literal["1.0"] = "1.0"
    steelyard: str = Field(description="Version that wrote the lock; not compared.")
    source: str | None = Field(description="Where a remote model came from; null for local ones.")
    revision: str | None = Field(description="The commit, where the source has one.")
    files: dict[str, LockedFile]
    weights: LockedWeights | None
    templates: dict[str, str] = Field(
        description="Where a chat template stands to `sha256:` of its text."
    )
    tokenizer: LockedTokenizer | None
    license: dict[str, JsonValue] = Field(description="Facts `license.*` by the rest of the name.")
    card: LockedCard | None
    lineage: dict[str, JsonValue] | None = Field(
        description="Facts `lineage.*` by the rest of the name; null where nobody looked."
    )


def write_lock(lock: LockDocument) -> bytes:
    """Return the bytes of a lock file: sorted keys, two-space indent, ASCII, one newline."""
    data = lock.model_dump(mode="json")
    return (json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def read_lock(data: bytes, file: str = LOCK_NAME) -> LockDocument:
    """Read a lock file. Law: `read_lock(write_lock(lock)) == lock`.

    Raises:
        CheckpointError: If it is none, or of a version that is not understood.
    """
    value = parse_json(data, file, _LIMITS)
    if not isinstance(value, dict):
        raise _wrong("it holds no object", file)
    version = value.get("schema_version")
    if version != "1.0":
        raise _wrong(f"its version is {str(version)[:20]!r}, and 1.0 is read", file)
    try:
        return LockDocument.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:200]
        raise _wrong(f"{place}: {first['msg']}", file) from error


def is_lock(head: bytes) -> bool:
    """Tell by its first bytes whether a file may be a lock, as `write_lock` writes it."""
    return head.startswith(b'{\n  "card":')


def schema() -> dict[str, Any]:
    """Generate the JSON Schema of a lock (draft 2020-12)."""
    generated = LockDocument.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def shipped_schema() -> str:
    """Return the schema as it ships, which a test keeps equal to `schema()`."""
    return (resources.files(__package__) / "lock.schema.json").read_text(encoding="utf-8")


def tensor_texts(tensors: Mapping[str, LockedTensor]) -> dict[str, str]:
    """Write tensors as they stand in a lock."""
    return {name: str(tensor) for name, tensor in tensors.items()}


def _wrong(why: str, file: str) -> CheckpointError:
    return CheckpointError(
        "is no lock that Steelyard can read",
        why=why,
        fix="write it again: steelyard lock SOURCE",
        file=file,
    )
