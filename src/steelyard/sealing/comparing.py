"""Compare two snapshots, part by part.

Two models whose files are all the same are the same: what else seems different (a license that a
newer catalog knows, a base that a newer registry knows) comes from Steelyard and is a note. Of a
part that only one of the two tells about, nothing is said but that.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final, TypeVar

from pydantic import JsonValue

from steelyard.checkpoints.signatures import FileChange, Happened, file_changes
from steelyard.errors import SteelyardError
from steelyard.lineage.comparing import BUDGET, compare
from steelyard.lineage.relation import Comparison, EditKind
from steelyard.sealing.differences import Area, Difference, Differences, Kind
from steelyard.sealing.lock_document import LockDocument, LockedTensor, LockedWeights
from steelyard.sealing.snapshots import Snapshot
from steelyard.sealing.tokenizers import TokenizerAtHand

_MOST_LINES: Final = 400
"""Lines of one unified difference; more are counted."""
_LONGEST_LINE: Final = 2000
_LARGEST_TEXT: Final = 4_000
"""Lines of a text that are compared line by line: the comparison is quadratic."""
_LONGEST: Final = 200
Item = TypeVar("Item")
_FILE_KINDS: Final = {
    Happened.ADDED: Kind.ADDED,
    Happened.MISSING: Kind.REMOVED,
    Happened.RENAMED: Kind.RENAMED,
    Happened.CHANGED: Kind.CHANGED,
}


def compare_sealed(old: Snapshot, new: Snapshot, *, budget: int | None = None) -> Differences:
    """Say what changed from one model to another.

    Args:
        old: A model or a lock.
        new: Another.
        budget: Most bytes to read to tell how far weights moved; None for what lineage takes, 0
            not to look.

    Raises:
        SourceError: If bytes cannot be fetched.
    """
    files = tuple(_files(old.lock, new.lock))
    notes = [*old.notes, *new.notes, *_unknown(old.lock, new.lock)]
    seen = (
        *_weights(old.lock.weights, new.lock.weights),
        *_templates(old, new),
        *_tokenizer(old, new),
        *_facts(Area.LICENSE, old.lock.license, new.lock.license),
        *_facts(Area.LINEAGE, old.lock.lineage, new.lock.lineage),
        *_card(old.lock, new.lock),
    )
    if _all_same(old.lock, new.lock):
        notes += [
            f"the files are the same, but {each.subject} is read differently: locked by "
            f"version {old.lock.steelyard}, now {new.lock.steelyard}"
            for each in seen
        ]
        return Differences(old.name, new.name, (), notes=tuple(notes))
    if old.lock.revision != new.lock.revision and old.lock.revision and new.lock.revision:
        notes.append(f"revision {old.lock.revision} became {new.lock.revision}")
    moved: Comparison | None = None
    if budget != 0 and _may_have_moved(old, new, (*seen, *files)):
        moved, note = _moved(old, new, budget)
        notes += note
    found = (*seen, *_steps(moved), *files)
    return Differences(old.name, new.name, tuple(sorted(found, key=_order)), moved, tuple(notes))


def _order(difference: Difference) -> int:
    return list(Area).index(difference.area)


def _all_same(old: LockDocument, new: LockDocument) -> bool:
    """Tell whether both have the same files, every digest of them known."""
    ours = {path: file.sha256 for path, file in old.files.items()}
    theirs = {path: file.sha256 for path, file in new.files.items()}
    return ours == theirs and None not in ours.values()


def _unknown(old: LockDocument, new: LockDocument) -> Iterator[str]:
    """Say which parts only one of the two tells about."""
    if (old.lineage is None) != (new.lineage is None):
        yield "lineage is not compared: only one side looked for it"
    unread = [path for path, file in {**old.files, **new.files}.items() if file.sha256 is None]
    if unread:
        yield f"not compared, as remote files were not read: {', '.join(sorted(unread)[:5])}"
    if old.weights and new.weights and (why := _apart(old.weights, new.weights)):
        yield why


def _weights(old: LockedWeights | None, new: LockedWeights | None) -> Iterator[Difference]:
    if old is None or new is None:
        if old is not new:
            kind = Kind.ADDED if old is None else Kind.REMOVED
            yield Difference(Area.WEIGHTS, kind, "the weights")
        return
    if _apart(old, new) or (old.identity and old.identity == new.identity):
        return
    if old.identity and new.identity:
        yield Difference(Area.WEIGHTS, Kind.CHANGED, "identity", old.identity, new.identity)
    yield from _named(
        Area.WEIGHTS,
        {name: old.tensor(name) for name in old.tensors},
        {name: new.tensor(name) for name in new.tensors},
        _tensor,
    )


def _apart(old: LockedWeights, new: LockedWeights) -> str:
    """Say why two tables of tensors cannot be set beside each other; empty where they can.

    Of weights that were not read, nobody knows which tensors are copies of the embedding.
    """
    if (old.identity is None) != (new.identity is None):
        return "weights are compared by their files alone: only one side's bytes were read"
    if old.scheme != new.scheme:
        return "weights are compared by their files alone: lock again, as the scheme changed"
    return ""


def _tensor(name: str, old: LockedTensor, new: LockedTensor) -> Difference | None:
    """Say how one tensor is different; None where no difference is known."""
    if old.shape != new.shape:
        return Difference(
            Area.WEIGHTS, Kind.RESHAPED, name, str(list(old.shape)), str(list(new.shape))
        )
    if (old.dtype, old.encoding) != (new.dtype, new.encoding):
        return Difference(Area.WEIGHTS, Kind.RETYPED, name, _type(old), _type(new))
    if old.digest and new.digest and old.digest != new.digest:
        return Difference(Area.WEIGHTS, Kind.CHANGED, name)
    return None


def _type(tensor: LockedTensor) -> str:
    return tensor.dtype if tensor.encoding == "plain" else tensor.encoding


def _named(
    area: Area,
    old: Mapping[str, Item],
    new: Mapping[str, Item],
    differ: Callable[[str, Item, Item], Difference | None],
) -> Iterator[Difference]:
    """Say which names came and went, and how those that stayed differ."""
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Difference(area, Kind.REMOVED, name, _text(old[name]))
        elif name not in old:
            yield Difference(area, Kind.ADDED, name, None, _text(new[name]))
        elif old[name] != new[name]:
            found = differ(name, old[name], new[name])
            if found is not None:
                yield found


def _text(value: object) -> str | None:
    """Write a value where a few words will do."""
    if isinstance(value, LockedTensor):
        return f"{_type(value)} {list(value.shape)}"
    if isinstance(value, str) and value.startswith("sha256:"):
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _templates(old: Snapshot, new: Snapshot) -> Iterator[Difference]:
    """Say which templates changed, line by line where both texts are at hand."""
    at_hand = old.templates, new.templates
    for each in _named(
        Area.TEMPLATE, old.lock.templates, new.lock.templates, _changed(Area.TEMPLATE)
    ):
        before = at_hand[0].get(each.subject, "") if at_hand[0] is not None else None
        after = at_hand[1].get(each.subject, "") if at_hand[1] is not None else None
        if before is None or after is None:
            yield each
        else:
            yield replace(each, lines=_unified(before, after))


def _unified(old: str, new: str) -> tuple[str, ...]:
    """Return the difference of two texts line by line, cut where it is long."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > _LARGEST_TEXT:
        return (f"({len(before)} lines became {len(after)}; too many to compare)",)
    lines = difflib.unified_diff(before, after, "old", "new", lineterm="")
    kept = [line[:_LONGEST_LINE] for line in islice(lines, _MOST_LINES)]
    left = sum(1 for _ in lines)
    return (*kept, *((f"({left} more lines)",) if left else ()))


def _tokenizer(old: Snapshot, new: Snapshot) -> Iterator[Difference]:
    ours, theirs = old.lock.tokenizer, new.lock.tokenizer
    if ours is None or theirs is None:
        if ours is not theirs:
            kind = Kind.ADDED if ours is None else Kind.REMOVED
            yield Difference(Area.TOKENIZER, kind, "the tokenizer")
        return
    if ours.digest != theirs.digest:
        if old.tokenizer is not None and new.tokenizer is not None:
            yield from _tokens(old.tokenizer, new.tokenizer)
        else:
            before, after = (
                None if each.tokens is None else f"{each.tokens:,} tokens"
                for each in (ours, theirs)
            )
            yield Difference(Area.TOKENIZER, Kind.CHANGED, "tokens", before, after)
    yield from _named(
        Area.TOKENIZER, dict(ours.special), dict(theirs.special), _changed(Area.TOKENIZER)
    )


def _tokens(old: TokenizerAtHand, new: TokenizerAtHand) -> Iterator[Difference]:
    """Say which tokens came, went, or have another number."""
    before, after = (
        {token: str(number) for number, token in enumerate(each.tokens or ()) if token}
        for each in (old, new)
    )
    yield from _named(Area.TOKENIZER, before, after, _renumbered)


def _renumbered(token: str, old: str, new: str) -> Difference:
    return Difference(Area.TOKENIZER, Kind.MOVED, token, old, new)


def _facts(
    area: Area, old: Mapping[str, JsonValue] | None, new: Mapping[str, JsonValue] | None
) -> Iterator[Difference]:
    """Say which facts are different; of sets, which members came and went."""
    if old is None or new is None:
        return
    for each in _named(area, old, new, _changed(area)):
        before, after = old.get(each.subject, []), new.get(each.subject, [])
        if isinstance(before, list) and isinstance(after, list):
            members = [{str(item) for item in held} for held in (before, after)]
            for item in sorted(members[0] - members[1]):
                yield Difference(area, Kind.REMOVED, each.subject, item)
            for item in sorted(members[1] - members[0]):
                yield Difference(area, Kind.ADDED, each.subject, None, item)
        else:
            yield each


def _changed(area: Area) -> Callable[[str, object, object], Difference]:
    def differ(name: str, old: object, new: object) -> Difference:
        return Difference(area, Kind.CHANGED, name, _text(old), _text(new))

    return differ


def _card(old: LockDocument, new: LockDocument) -> Iterator[Difference]:
    ours, theirs = old.card, new.card
    if ours is None or theirs is None:
        if ours is not theirs:
            kind = Kind.ADDED if ours is None else Kind.REMOVED
            yield Difference(Area.CARD, kind, "the card")
        return
    fields = _named(Area.CARD, ours.fields, theirs.fields, _changed(Area.CARD))
    yield from (replace(each, subject=f"field {each.subject}") for each in fields)
    sections = _named(Area.CARD, ours.sections, theirs.sections, _changed(Area.CARD))
    yield from (replace(each, subject=f"section {each.subject}") for each in sections)


def _files(old: LockDocument, new: LockDocument) -> Iterator[Difference]:
    """Say what became of each file whose digest is known on both sides."""
    unread = {path for lock in (old, new) for path, f in lock.files.items() if f.sha256 is None}
    before, after = (
        {path: file.sha256 or "" for path, file in lock.files.items() if path not in unread}
        for lock in (old, new)
    )
    for change in file_changes(before, after):
        yield _file(change, old, new)
    for path in sorted(unread):
        if path not in old.files or path not in new.files:
            kind = Kind.REMOVED if path in old.files else Kind.ADDED
            yield Difference(Area.FILES, kind, path)
        elif old.files[path].size != new.files[path].size:
            yield Difference(Area.FILES, Kind.CHANGED, path, *_sizes(path, old, new))


def _file(change: FileChange, old: LockDocument, new: LockDocument) -> Difference:
    kind = _FILE_KINDS[change.happened]
    if change.happened is Happened.RENAMED:
        return Difference(Area.FILES, kind, change.path, change.other, change.path)
    if change.happened is Happened.CHANGED:
        return Difference(Area.FILES, kind, change.path, *_sizes(change.path, old, new))
    return Difference(Area.FILES, kind, change.path)


def _sizes(path: str, old: LockDocument, new: LockDocument) -> tuple[str | None, str | None]:
    before, after = old.files[path].size, new.files[path].size
    return (None, None) if before == after else (f"{before:,} bytes", f"{after:,} bytes")


def _may_have_moved(old: Snapshot, new: Snapshot, seen: Iterable[Difference]) -> bool:
    """Tell whether weights are different, or may be: remote ones are known by their files alone."""
    unread = any(
        each.lock.weights is not None and each.lock.weights.identity is None for each in (old, new)
    )
    models = (each.model for each in (old, new) if unread and each.model is not None)
    paths = {path for model in models for part in model.weights for path in part.files}
    return any(
        each.area is Area.WEIGHTS or (each.area is Area.FILES and each.subject in paths)
        for each in seen
    )


def _moved(old: Snapshot, new: Snapshot, budget: int | None) -> tuple[Comparison | None, list[str]]:
    """Tell how far weights moved, where both models are at hand and have any."""
    ours, theirs = old.model, new.model
    if ours is None or theirs is None or not ours.weights or not theirs.weights:
        return None, []
    most = BUDGET if budget is None else budget
    try:
        found = compare(ours, theirs, names=(old.name, new.name), budget=most)
    except SteelyardError as error:
        return None, [f"how far the weights moved is not known: {error}"]
    return found, []


def _steps(moved: Comparison | None) -> Iterator[Difference]:
    """Say in words what was done to the weights."""
    for edit in moved.edits if moved is not None else ():
        if edit.kind is not EditKind.IDENTICAL:
            yield Difference(Area.WEIGHTS, Kind.MOVED, edit.kind.value, None, edit.summary)
