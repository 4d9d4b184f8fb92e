"""Every error that Steelyard raises on purpose.

```
SteelyardError
├── SourceError          a source cannot be opened, listed or read
│   ├── SourceNotFound   there is nothing of that name
│   ├── AccessDenied     it exists, but may not be read (permission, token, gate)
│   └── SourceOffline    it needs a network that is not there or not allowed
├── CheckpointError      bytes are not what they claim to be
│   ├── Truncated        a file ends before its contents do
│   ├── LimitExceeded    a file asks for more than a stated limit
│   └── Unsupported      a format or feature that Steelyard does not read
├── FactError            a fact's name or value does not fit the vocabulary
├── PackError            a rule pack or an expression in it is wrong
└── ConfigError          settings, options or ignores are wrong
```

Each says what happened, why, and what to do. The library raises; only the command line prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SteelyardError(Exception):
    """Say what went wrong, why, and what to do about it.

    Args:
        what: One line: what could not be done.
        why: The cause, as far as it is known.
        fix: What the reader can do next.
        file: The file concerned, as named within its source.
        offset: The byte offset in that file.
        line: The line in that file, counted from 1.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        file: str | None = None,
        offset: int | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.file = file
        self.offset = offset
        self.line = line

    @property
    def location(self) -> str:
        """Name the place: `file`, `file:line` or `file at byte N`; empty when unknown."""
        if self.file is None:
            return ""
        if self.line is not None:
            return f"{self.file}:{self.line}"
        if self.offset is not None:
            return f"{self.file} at byte {self.offset}"
        return self.file

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        why = f" ({self.why})" if self.why else ""
        return f"{place}{self.what}{why}"


class SourceError(SteelyardError):
    """A source cannot be opened, listed or read."""


class SourceNotFound(SourceError):  # noqa: N818  named for what happened, as the tree above
    """There is nothing of that name."""


class AccessDenied(SourceError):  # noqa: N818  as above
    """It exists, but may not be read."""


class SourceOffline(SourceError):  # noqa: N818  as above
    """It needs a network that is not there or not allowed."""


class CheckpointError(SteelyardError):
    """Bytes are not what they claim to be."""


class Truncated(CheckpointError):  # noqa: N818  as above
    """A file ends before its contents do."""


class LimitExceeded(CheckpointError):  # noqa: N818  as above
    """A file asks for more than a stated limit."""


class Unsupported(CheckpointError):  # noqa: N818  as above
    """A format or feature that Steelyard does not read."""


class FactError(SteelyardError):
    """A fact's name or value does not fit the vocabulary."""


class PackError(SteelyardError):
    """A rule pack, or an expression in it, is wrong."""


class ConfigError(SteelyardError):
    """Settings, options or ignores are wrong."""


@contextmanager
def located(file: str) -> Iterator[None]:
    """Name `file` on any `SteelyardError` that passes through without a file of its own."""
    try:
        yield
    except SteelyardError as error:
        if error.file is None:
            error.file = file
        raise
