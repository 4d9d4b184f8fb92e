"""The registry: sketches of known bases, found by name, by identity, or by relationship.

A registry never changes; `add`, `remove`, `select` and `merge` return another one, which shares
what they have in common. It may lie in memory or in a file (`archive`): sketches are read when
they are tested, and no sooner.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePath
from types import TracebackType
from typing import Final, Self

from steelyard.errors import CheckpointError, ConfigError
from steelyard.lineage.known import archive
from steelyard.lineage.known.archive import Archive, Item, Selection, Shelf, Stack
from steelyard.lineage.known.entries import Entry, canonical
from steelyard.lineage.known.finding import TESTED, Found, Match, parts_of, search
from steelyard.lineage.known.search import Parts, signature
from steelyard.lineage.matrix import Weights
from steelyard.lineage.relating.sketches import Sketch

__all__ = [
    "SHIPPED",
    "TESTED",
    "Found",
    "Match",
    "Registry",
    "parts_of",
    "search",
    "shipped_registry",
]

SHIPPED: Final = "known_bases.lineage"


class Registry:
    """Known bases. `Registry()` is an empty one; use an opened one in a `with`, or close it."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf: Shelf = Stack() if shelf is None else shelf

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file of a registry.

        Raises:
            SourceError: If it cannot be opened.
            CheckpointError: If it is not a registry, or is damaged.
        """
        return cls(Archive.open(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if there is one."""
        if isinstance(self.shelf, Archive):
            self.shelf.close()

    def __len__(self) -> int:
        return len(self.shelf)

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries, in order of name and revision."""
        return (self.entry(index) for index in range(len(self.shelf)))

    def entry(self, index: int) -> Entry:
        """Return one entry.

        Raises:
            CheckpointError: If its record is damaged.
        """
        return Entry.from_record(self.shelf.record(index))

    def sketch(self, index: int) -> Sketch | None:
        """Return the sketch of an entry; None if it is known by its identity alone.

        Raises:
            CheckpointError: If it is damaged.
        """
        data = self.shelf.sketch(index)
        return Sketch.from_bytes(data) if data else None

    def find(self, name: str, revision: str | None = None) -> tuple[Entry, ...]:
        """Return the entries of a name: all revisions, or the one that is given."""
        return tuple(
            entry
            for _, entry in self._holding("name", name)
            if revision is None or entry.revision == revision
        )

    def with_identity(self, identity: str) -> tuple[Entry, ...]:
        """Return the entries with exactly these weights."""
        return tuple(entry for _, entry in self._holding("identity", identity))

    def _holding(self, field: str, value: str) -> Iterator[tuple[int, Entry]]:
        # Records are canonical, so that what one holds can be found without reading it.
        for index in self.shelf.containing(canonical({field: value})[1:-1]):
            entry = self.entry(index)
            if getattr(entry, field) == value:
                yield index, entry

    def add(self, entry: Entry, sketch: Sketch | None) -> Registry:
        """Return a registry with one entry more.

        Raises:
            ConfigError: If there is another model of this name and revision.
        """
        data = b"" if sketch is None else sketch.to_bytes()
        bits = signature(Parts() if sketch is None else parts_of(sketch))
        return self.merge(Registry(Stack([Item(entry.record, data, bits)])))

    def remove(self, name: str, revision: str | None = None) -> Registry:
        """Return a registry without a name: all its revisions, or the one that is given.

        Raises:
            ConfigError: If there is none.
        """
        gone = {entry.key for entry in self.find(name, revision)}
        if not gone:
            raise ConfigError(
                f"the registry holds no {Entry(name, revision).title}",
                fix="see: steelyard lineage list",
            )
        return self._kept(lambda entry: entry.key not in gone)

    def select(self, names: Sequence[str]) -> Registry:
        """Return a registry of these names only.

        Raises:
            ConfigError: If there is none of a name.
        """
        for name in names:
            if not self.find(name):
                fix = "see: steelyard lineage list"
                raise ConfigError(f"the registry holds no {name}", fix=fix)
        return self._kept(lambda entry: entry.name in names)

    def without_paths(self) -> Registry:
        """Return the same registry, in which local sources have their last name only.

        Where models lie on one machine is nobody's business elsewhere.
        """
        chosen: list[tuple[Shelf, int]] = []
        for index, entry in enumerate(self):
            shown = PurePath(entry.source or "")
            chosen.append((self.shelf, index))
            if shown.is_absolute():
                changed = replace(entry, source=shown.name or None)
                chosen[-1] = _Renamed(self.shelf, index, changed.record), 0
        return Registry(Selection(chosen))

    def _kept(self, wanted: Callable[[Entry], bool]) -> Registry:
        chosen = [(self.shelf, index) for index, entry in enumerate(self) if wanted(entry)]
        return Registry(Selection(chosen))

    def merge(self, other: Registry, *, keep_both: bool = False) -> Registry:
        """Return a registry with the entries of both; of equal ones, ours stays.

        Args:
            other: The registry to add.
            keep_both: Give an entry of theirs that has the name and revision of another model a
                revision of its own: the first digits of its identity.

        Raises:
            ConfigError: If two models have the same name and revision, unless both are kept.
            CheckpointError: If a record is damaged.
        """
        chosen = {entry.key: (self.shelf, index) for index, entry in enumerate(self)}
        for index, entry in enumerate(other):
            if entry.key not in chosen:
                chosen[entry.key] = (other.shelf, index)
                continue
            ours = chosen[entry.key]
            if _is_same(ours, (other.shelf, index)):
                continue
            if not keep_both:
                raise _conflict(entry)
            renamed = replace(entry, revision=_own_revision(entry, other.shelf.digest(index)))
            if renamed.key not in chosen:
                chosen[renamed.key] = (_Renamed(other.shelf, index, renamed.record), 0)
        return Registry(Selection([chosen[key] for key in sorted(chosen)]))

    def search(
        self, sketch: Sketch, *, child: Weights | None = None, tested: int = TESTED
    ) -> Found:
        """Find the relatives of a model; see `search`."""
        return search(sketch, [self], child=child, tested=tested)

    def check(self) -> str:
        """Read every entry and sketch; return the digest of the file that would be written.

        Raises:
            CheckpointError: If any is damaged, or they are not in order.
        """
        before: tuple[str, str] | None = None
        for index, entry in enumerate(self):
            if before is not None and entry.key <= before:
                why = f"{entry.title} is not in order, or there twice"
                raise CheckpointError("the registry is damaged", why=why)
            before = entry.key
            sketch = self.sketch(index)
            bits = signature(Parts() if sketch is None else parts_of(sketch))
            if (bits != self.shelf.signatures[:, index]).any():
                why = f"the signature of {entry.title} is not that of its sketch"
                raise CheckpointError("the registry is damaged", why=why)
        return archive.write(self.shelf, _Nowhere())

    def save(self, path: Path) -> str:
        """Write it to a file, whole or not at all; return its digest.

        Raises:
            SourceError: If it cannot be written.
        """
        return archive.save(self.shelf, path)


@cache
def shipped_registry() -> Registry:
    """Return the registry that ships with Steelyard, read once."""
    data = (resources.files("steelyard.knowledge") / SHIPPED).read_bytes()
    return Registry(Archive(io.BytesIO(data), SHIPPED))


def _is_same(ours: tuple[Shelf, int], theirs: tuple[Shelf, int]) -> bool:
    """Tell whether two entries are of the same weights."""
    a, b = (Entry.from_record(shelf.record(index)) for shelf, index in (ours, theirs))
    if a.identity is not None and b.identity is not None:
        return a.identity == b.identity
    return ours[0].digest(ours[1]) == theirs[0].digest(theirs[1])


def _own_revision(entry: Entry, digest: bytes) -> str:
    start = entry.identity[:15] if entry.identity else f"sketch:{digest.hex()[:12]}"
    return f"{entry.revision}+{start}" if entry.revision else start


def _conflict(entry: Entry) -> ConfigError:
    return ConfigError(
        f"the registry holds another model named {entry.title}",
        why="name and revision are the same, the weights are not",
        fix=f"say which revision it is (--revision), or: steelyard lineage remove {entry.name}",
    )


class _Renamed(Selection):
    """One entry of another shelf, with a record of its own."""

    def __init__(self, shelf: Shelf, index: int, record: bytes) -> None:
        super().__init__([(shelf, index)])
        self._record = record

    def record(self, index: int) -> bytes:  # noqa: ARG002  there is but one
        return self._record


class _Nowhere:
    """Takes bytes and keeps none."""

    def write(self, data: bytes, /) -> None:
        """Forget them."""
