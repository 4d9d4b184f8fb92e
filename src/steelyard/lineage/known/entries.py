"""What a registry says of a known base: its names, its terms, and where that is from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from steelyard.errors import CheckpointError, ConfigError
from steelyard.lineage.matrix import Sizes

NO_SIZES: Final = Sizes(hidden=None, layers=0, feed_forward=None, vocabulary=None)
"""Of a model whose sizes nobody stated."""
_LONGEST: Final = 1000
_LARGEST: Final = 10**12
_IDENTITY: Final = re.compile(r"b3:[0-9a-f]{64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SIZES: Final = tuple(field.name for field in fields(Sizes))


@dataclass(frozen=True, slots=True)
class Entry:
    """A known base. Two entries of one registry differ in name or revision.

    Law: `Entry.from_record(entry.record) == entry`, and the record is the only one that reads so.

    Raises:
        ConfigError: If a text is empty where it may not be, too long, or not printable.
    """

    name: str
    """The hub's id, or the package that carries it: `google/gemma-3-270m`, `pypi:silero-vad`."""
    revision: str | None = None
    """Commit, tag or version."""
    identity: str | None = None
    """Digest of its weights in any container, `b3:` and 64 hex digits; None if not computed."""
    license: str | None = None
    """SPDX expression, or a `LicenseRef-`."""
    base: str | None = None
    """What it is made from, by its own documents."""
    sizes: Sizes = field(default=NO_SIZES)
    source: str | None = None
    """Where the bytes were that the sketch was made of."""
    added: str | None = None
    """Day, `2026-11-24`."""
    note: str | None = None
    """How the name is known, and what else a reader should know."""

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None and not _is_plain(value):
                raise ConfigError(
                    f"the {name} {str(value)[:80]!r} of an entry is not a line of text",
                    fix=f"1 to {_LONGEST} printable characters",
                )
        if not isinstance(self.name, str):
            raise ConfigError("an entry has no name")
        if self.identity is not None and not _IDENTITY.fullmatch(self.identity):
            raise ConfigError(f"{self.identity!r} is no identity", fix="b3: and 64 hex digits")
        if self.added is not None and not _DAY.fullmatch(self.added):
            raise ConfigError(f"{self.added!r} is no day", fix="write it as 2026-11-24")

    @property
    def key(self) -> tuple[str, str]:
        """Return what makes it one of its kind: name and revision."""
        return self.name, self.revision or ""

    @property
    def title(self) -> str:
        """Return name and revision as one text: `org/model@revision`."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def record(self) -> bytes:
        """Return it as canonical JSON: keys in order, no spaces, nothing that is unknown."""
        said: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        if self.sizes != NO_SIZES:
            said["sizes"] = _known({name: getattr(self.sizes, name) for name in _SIZES})
        return canonical(_known(said))

    @classmethod
    def from_record(cls, record: bytes) -> Self:
        """Read a record; it comes from whoever made the registry.

        Raises:
            CheckpointError: If it is not a record.
        """
        try:
            said = json.loads(record)
            sizes = NO_SIZES
            if "sizes" in said:
                sizes = Sizes(**{name: said["sizes"].get(name) for name in _SIZES})
            entry = cls(sizes=sizes, **{name: said.get(name) for name in _TEXTS})
            if _fits(sizes) and entry.record == record:
                return entry
        except (ValueError, TypeError, AttributeError, RecursionError, ConfigError):
            pass
        shown = record[:80].decode("utf-8", "replace")
        raise CheckpointError("an entry of the registry cannot be read", why=f"it says {shown!r}")


_TEXTS: Final = tuple(field.name for field in fields(Entry) if field.name != "sizes")


def canonical(value: object) -> bytes:
    """Write JSON in the one way in which records are written."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _known(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def _fits(sizes: Sizes) -> bool:
    """Tell whether sizes are numbers that a model may have, and words that are text."""
    for name in _SIZES:
        value = getattr(sizes, name)
        number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
        if value is None and name != "layers":
            continue
        if not (_is_plain(value) if name == "norm" else number):
            return False
    return True
