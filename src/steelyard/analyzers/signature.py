"""Does the signature that lies beside the model fit the files? Asked without a key.

What a signature lists can be read by anybody, and set beside the digests that an audit computes
anyway. A file that is missing, added or changed shows that the signature is not of these files;
that all fit does not show who signed: for that `steelyard verify` asks for a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers.base import few
from steelyard.analyzers.contents import SIGNATURE_SUFFIXES
from steelyard.checkpoints.digests import Digests
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.signatures import (
    GIT_PATHS,
    SIGNATURE_NAME,
    FileChange,
    Happened,
    SignedManifest,
    covers,
    file_changes,
    read_signature,
)
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact
from steelyard.sources.base import SourceFile
from steelyard.sources.walking import NOISE

_SMALL: Final = 16_000_000
"""Bytes of the largest file that is read here for its digest; weights have theirs already."""
_TOGETHER: Final = 128_000_000
"""Bytes that are read here altogether."""
_MOST_EVIDENCE: Final = 20
_FACTS: Final = {
    Happened.MISSING: "signature.missing",
    Happened.ADDED: "signature.added",
    Happened.RENAMED: "signature.renamed",
    Happened.CHANGED: "signature.changed",
}


def signature_facts(model: Model, digests: Digests | None) -> Iterator[Fact]:
    """Yield what the signature beside the model says, and where the files differ from it.

    Args:
        model: The model.
        digests: What was computed of the weights; None where nothing was.

    Raises:
        SourceError: If a file cannot be read.
    """
    path, signed, trouble = _signature(model)
    if path is None:
        return
    here = (Evidence(file=path),)
    yield Fact("signature.damaged", few([trouble] if trouble else []), Basis.MEASURED, here)
    if signed is None:
        return
    yield Fact("signature.method", signed.method.value, Basis.DECLARED, here)
    folder = PurePosixPath(path).parent
    listed = {
        str(PurePosixPath(file.path).relative_to(folder)): file
        for file in model.source.files
        if PurePosixPath(file.path).is_relative_to(folder)
    }
    own = PurePosixPath(path).name
    expected = _expected(signed, own)
    left_out = (*signed.ignored, own, *((*GIT_PATHS,) if folder == PurePosixPath() else ()))
    if "." in signed.digests:
        # The signature is of one file, and says nothing of those beside it.
        listed = {name: file for name, file in listed.items() if name in expected}
    there = {name: file for name, file in listed.items() if covers(left_out, name)}
    found = _digests(model, digests, there.values(), read=signed.by_file)
    known = {name: found[file.path] for name, file in there.items() if file.path in found}
    unseen = {name for name in expected if name not in there and _passed_over(model, folder, name)}
    unknown = {name for name in expected.keys() & there.keys() if name not in known} | unseen
    # A digest that is not known equals no other.
    now = {name: known.get(name, f"unknown: {name}") for name in there}
    changes = _changes(expected, now, unknown)
    for happened, fact in _FACTS.items():
        alike = [each for each in changes if each.happened is happened]
        yield Fact(fact, few(map(_said, alike)), Basis.MEASURED, (*here, *_places(alike, folder)))
    note = "these were not read, or are hashed in another way" if unknown else ""
    yield Fact("signature.unchecked", few(sorted(unknown)), Basis.MEASURED, here, note)


def _signature(model: Model) -> tuple[str | None, SignedManifest | None, str]:
    """Find the signature that lies highest; return its path, what it says, or what is wrong."""
    named = [file for file in model.source.files if file.path.endswith(SIGNATURE_SUFFIXES)]
    order = sorted(
        named,
        key=lambda file: (
            file.path.count("/"), PurePosixPath(file.path).name != SIGNATURE_NAME, file.path
        ),
    )  # fmt: skip
    for file in order[:_MOST_EVIDENCE]:
        try:
            with model.source.open(file.path) as reader:
                return file.path, read_signature(reader), ""
        except CheckpointError as error:
            if PurePosixPath(file.path).name == SIGNATURE_NAME:
                return file.path, None, f"{error.what}: {error.why}"
            # Another kind of signature, which this says nothing about.
    return None, None, ""


def _expected(signed: SignedManifest, own: str) -> Mapping[str, str]:
    """Return the digest of each file that was signed, by path beside the signature."""
    if "." in signed.digests:
        name = own
        for suffix in SIGNATURE_SUFFIXES:
            name = name.removesuffix(suffix)
        return {name: signed.digests["."]}
    if signed.by_file:
        return signed.digests
    # Parts of files: the name is all that can be set beside what is there.
    cut = signed.serialization.get("method") == "shards"
    return {name.rsplit(":", 2)[0] if cut else name: "" for name in signed.digests}


def _digests(
    model: Model, digests: Digests | None, files: Iterable[SourceFile], *, read: bool
) -> Mapping[str, str]:
    """Return the SHA-256 of each file that has one, or is small and at hand."""
    found: dict[str, str] = {}
    left = _TOGETHER
    # Whoever wants no digests of the weights does not want them here.
    weights = frozenset(path for part in model.weights for path in part.files)
    unwanted = weights if digests is None else frozenset[str]()
    for file in files if read else ():
        known = digests.files.get(file.path) if digests is not None else None
        if known is not None:
            found[file.path] = known.sha256
        elif file.sha256 is not None:
            found[file.path] = file.sha256
        elif (
            file.path not in unwanted
            and model.source.local_path(file.path) is not None
            and file.size <= min(_SMALL, left)
        ):
            left -= file.size
            with model.source.open(file.path) as reader:
                found[file.path] = hashlib.sha256(reader.read(0, file.size)).hexdigest()
    return found


def _passed_over(model: Model, folder: PurePosixPath, name: str) -> bool:
    """Tell whether a file may be there and just was not listed."""
    path = folder / name
    skipped = {each.path for each in model.source.skipped}
    ways = (str(each) for each in (path, *path.parents))
    return not NOISE.isdisjoint(path.parts) or any(way in skipped for way in ways)


def _changes(
    expected: Mapping[str, str], there: Mapping[str, str], unknown: Iterable[str]
) -> tuple[FileChange, ...]:
    """Compare what was signed with what is there, as far as it is known."""
    left = frozenset(unknown)
    before = {name: digest for name, digest in expected.items() if name not in left}
    return file_changes(before, {name: d for name, d in there.items() if name not in left})


def _said(change: FileChange) -> str:
    return f"{change.path} (was {change.other})" if change.other else change.path


def _places(changes: Iterable[FileChange], folder: PurePosixPath) -> Iterator[Evidence]:
    there = [each for each in changes if each.happened is not Happened.MISSING]
    for change in there[:_MOST_EVIDENCE]:
        yield Evidence(file=str(folder / change.path))
