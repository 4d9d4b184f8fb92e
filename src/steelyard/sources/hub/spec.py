"""How a hub repository is written: `hf://org/name[@revision][/file]`.

The same form that `huggingface_hub` uses. A revision with a slash in it is written with `%2F`,
except for the hub's own `refs/pr/1` and `refs/convert/parquet`, which may stand as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from steelyard.errors import SourceNotFound
from steelyard.sources.paths import path_trouble, printable

PREFIX = "hf://"
_PART = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_SPECIAL = re.compile(r"refs/(?:pr|convert)/[^/]+")
_MAX_SPEC = 8192


@dataclass(frozen=True, slots=True)
class HubSpec:
    """A hub repository, perhaps one revision or one file of it.

    Law: `HubSpec.parse(str(spec)) == spec`.
    """

    repo: str
    """`org/name`."""
    revision: str | None = None
    """A branch, tag or commit; None is the default branch."""
    file: str | None = None
    """The only file that is wanted, or None for all."""

    def __str__(self) -> str:
        revision = "" if self.revision is None else "@" + quote(self.revision, safe="")
        file = "" if self.file is None else "/" + quote(self.file, safe="/")
        return f"{PREFIX}{self.repo}{revision}{file}"

    @classmethod
    def parse(cls, text: str) -> HubSpec:
        """Read `hf://org/name[@revision][/file]`.

        Raises:
            SourceNotFound: If `text` is not of that form.
        """
        body = text.removeprefix(PREFIX).removeprefix("models/")
        if body == text or len(text) > _MAX_SPEC:
            raise _malformed(text, "it does not begin with hf://, or is too long")
        org, _, rest = body.partition("/")
        if org in {"datasets", "spaces", "buckets", "kernels"}:
            raise _malformed(text, f"{org} are not models")
        head, slash, tail = rest.partition("/")
        name, at, revision = head.partition("@")
        if at and (special := _SPECIAL.match(f"{revision}/{tail}")):
            revision, slash, tail = special[0], "/", f"{revision}/{tail}"[special.end() + 1 :]
        revision, file = unquote(revision), unquote(tail)
        if not (_PART.fullmatch(org) and _PART.fullmatch(name)):
            raise _malformed(text, "a repository has an owner and a name, in plain characters")
        if at and path_trouble(revision):
            raise _malformed(text, "the revision after @ is not one")
        if slash and file and path_trouble(file):
            raise _malformed(text, "the path after the repository is not one")
        return cls(f"{org}/{name}", revision if at else None, file or None)


def _malformed(text: str, why: str) -> SourceNotFound:
    return SourceNotFound(
        "is not a hub repository",
        why=why,
        fix="write hf://org/name, hf://org/name@revision or hf://org/name/file",
        file=printable(text),
    )
