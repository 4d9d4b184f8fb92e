"""The layout in which Hugging Face's tools keep what they download.

```
models--org--name/
├── blobs/<etag>                     the bytes; 64 hex digits are a SHA-256, 40 a git blob id
├── refs/<branch or tag>             one line: the commit
└── snapshots/<commit>/config.json   a link to ../../blobs/<etag>
```

A snapshot's links lead out of its folder by design, so they are followed into that one
repository's `blobs` and nowhere else. Nothing here needs `huggingface_hub`.
Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import SourceNotFound
from steelyard.sources.paths import path_trouble, printable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_REF_BYTES = 256
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of one repository in the cache."""

    folder: Path
    """`…/models--org--name/snapshots/<commit>`."""
    revision: str
    """The snapshot's name: the commit."""

    @property
    def blobs(self) -> Path:
        """The folder that the snapshot's links lead into."""
        return self.folder.parent.parent / "blobs"


def repository_folder(cache_dir: Path, repo: str) -> Path:
    """Name the cache folder of the repository `org/name`."""
    return cache_dir / ("models--" + repo.replace("/", "--"))


def is_repository(folder: Path) -> bool:
    """Tell whether `folder` is a repository of the cache."""
    return folder.name.startswith("models--") and (folder / "snapshots").is_dir()


def enclosing_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot that `path` is, or lies in; None outside of a cache."""
    for folder in (path, *path.parents):
        repository = folder.parent.parent
        if folder.parent.name == "snapshots" and is_repository(repository):
            return Snapshot(folder, folder.name)
    return None


def find_snapshot(repository: Path, revision: str | None) -> Snapshot:
    """Find a snapshot in a repository of the cache.

    Args:
        repository: `…/models--org--name`.
        revision: A commit, branch or tag; None is `main`, or the only snapshot there is.

    Raises:
        SourceNotFound: If the cache does not hold it.
    """
    snapshots = repository / "snapshots"
    commit = _read_ref(repository, revision or "main")
    if commit is None and revision is not None and _COMMIT.fullmatch(revision):
        commit = revision
    if commit is not None and (snapshots / commit).is_dir():
        return Snapshot(snapshots / commit, commit)
    held = _names(snapshots)
    if revision is None and len(held) == 1:
        return Snapshot(snapshots / held[0], held[0])
    listed = ", ".join(held[:_MAX_NAMED]) + (", …" if len(held) > _MAX_NAMED else "")
    raise SourceNotFound(
        f"the cache holds no snapshot of {revision or 'main'}",
        why=f"it holds: {printable(listed)}" if held else "it holds no snapshot at all",
        fix="name one of its snapshots, or download the revision with `hf download`",
        file=printable(str(repository)),
    )


def blob_sha256(real: Path) -> str | None:
    """Return the SHA-256 that a blob's name states; None when it states none."""
    in_blobs = real.parent.name == "blobs" and real.parent.parent.name.startswith("models--")
    return real.name if in_blobs and _SHA256.fullmatch(real.name) else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_dir())
    except OSError:
        return []


def _read_ref(repository: Path, revision: str) -> str | None:
    """Return the commit that a branch or tag names; None when there is no such ref."""
    if path_trouble(revision):
        return None
    try:
        with (repository / "refs" / revision).open("rb") as file:
            commit = file.read(_MAX_REF_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None
