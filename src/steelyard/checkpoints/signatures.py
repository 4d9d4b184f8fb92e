"""Read what an OpenSSF model signature says was signed, without a key.

A signature is a Sigstore bundle: a DSSE envelope around an in-toto statement whose predicate
lists every file with its digest. All of that can be read by anybody; only whether it is true
needs a key. So this module says which files a signature covers and how they differ from those
that lie there; whether the signature itself holds is asked in `steelyard.sealing`.

Sources: OpenSSF Model Signing, specification 1.0; in-toto Statement v1; DSSE 1.0; Sigstore
bundle 0.3. The predicate `Digests/v0.1`, which came before, is read as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.base import ByteReader
from steelyard.sources.paths import path_trouble, printable

SIGNATURE_NAME: Final = "model.sig"
"""What a signature is called unless somebody calls it otherwise."""
GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What no signature covers unless it is asked to: paths at the root of the folder."""
PREDICATE: Final = "https://model_signing/signature/v1.0"
_PREDICATE_BEFORE: Final = "https://model_signing/Digests/v0.1"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PAYLOAD: Final = "application/vnd.in-toto+json"
LARGEST: Final = 64_000_000
"""Bytes of the largest signature that is read; one of a hundred thousand files takes 25 MB."""
_LIMITS: Final = replace(DEFAULT_LIMITS, document_bytes=LARGEST, string_bytes=LARGEST)
_LENGTHS: Final = {"sha256": 64, "blake3": 64, "blake2b": 128}
"""Hex digits of the digest of each algorithm; of parts of files `-sharded-SIZE` follows."""
_HEX: Final = re.compile(r"[0-9a-f]+")
_SHARD: Final = re.compile(r":\d{1,20}:\d{1,20}")


class Method(StrEnum):
    """How a signature was made."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


@dataclass(frozen=True, slots=True)
class Resource:
    """One file, or a part of one, and its digest when it was signed."""

    name: str
    """Path within the model; `.` where the model is a single file; `path:start:end` for a part."""
    algorithm: str
    digest: str
    """Lowercase hex digits."""


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """What a signature says was signed. It is what somebody claims until the signature holds."""

    method: Method
    model: str
    """Name of the folder or file that was signed; informative."""
    resources: tuple[Resource, ...]
    """In the order in which they were signed."""
    root: str
    """SHA-256 over all digests, in hex; it names the signed model as a whole."""
    serialization: Mapping[str, JsonValue]
    """How digests were taken: `method`, `hash_type`, `allow_symlinks`, `ignore_paths`."""
    key_hint: str | None = None
    """SHA-256 of the public key, where the signature was made with one."""
    bundle: bytes = field(default=b"", repr=False)
    """The signature with nothing in it but what was read here, for whoever checks it: so nobody
    checks another envelope than this one, however it is spelled."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Return the digest of each name."""
        return {item.name: item.digest for item in self.resources}

    @property
    def ignored(self) -> tuple[str, ...]:
        """Return the paths that the signer left out, and all below them."""
        found = self.serialization.get("ignore_paths")
        return tuple(item for item in _list(found) if isinstance(item, str))

    @property
    def by_file(self) -> bool:
        """Tell whether every resource is a whole file with its SHA-256, as is usual."""
        kinds = self.serialization.get("method"), self.serialization.get("hash_type")
        return kinds == ("files", "sha256") and all(r.algorithm == "sha256" for r in self.resources)


class Happened(StrEnum):
    """What became of a file since it was signed or locked."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that is not as it was."""

    path: str
    """As it is called now; as it was called, for one that is missing."""
    happened: Happened
    other: str | None = None
    """The former name of a renamed file; for a changed one, the file whose content it has now."""


def covers(ignored: tuple[str, ...], path: str) -> bool:
    """Tell whether a path is none of those that are left out, nor below one of them."""
    return not any(path == each or path.startswith(f"{each}/") for each in ignored)


def file_changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[FileChange, ...]:
    """Tell what became of each file, by the digests before and now; sorted by path.

    A file that is gone, and whose content lies under a name that was not there, is renamed.
    """
    arrived: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(now.keys() - before.keys(), reverse=True):
        arrived[now[path]].append(path)
    owners = {digest: path for path, digest in sorted(before.items(), reverse=True)}
    found = []
    for path, digest in sorted(before.items()):
        if path not in now:
            names = arrived[digest]
            found.append(
                FileChange(names.pop(), Happened.RENAMED, path)
                if names
                else FileChange(path, Happened.MISSING)
            )
        elif now[path] != digest:
            found.append(FileChange(path, Happened.CHANGED, owners.get(now[path])))
    added = (path for paths in arrived.values() for path in paths)
    found += [FileChange(path, Happened.ADDED) for path in added]
    return tuple(sorted(found, key=lambda change: change.path))


def read_signature(reader: ByteReader) -> SignedManifest:
    """Read what a signature file says was signed; see `parse_signature`.

    Raises:
        CheckpointError: If it is no signature of a model, or contradicts itself.
    """
    if reader.size > LARGEST:
        raise LimitExceeded(f"a signature of more than {LARGEST} bytes", file=reader.name)
    return parse_signature(reader.read(0, reader.size), reader.name)


def parse_signature(data: bytes, file: str = SIGNATURE_NAME) -> SignedManifest:
    """Read what a signature says was signed.

    Args:
        data: The signature: a Sigstore bundle.
        file: Its name, for errors.

    Raises:
        CheckpointError: If it is no signature of a model, or contradicts itself.
    """
    bundle = _object(parse_json(data, file, _LIMITS), "the bundle", file)
    envelope = _object(bundle.get("dsseEnvelope"), "`dsseEnvelope`", file)
    material = _object(bundle.get("verificationMaterial"), "`verificationMaterial`", file)
    if envelope.get("payloadType") != _PAYLOAD:
        raise _wrong(f"its payload is not {_PAYLOAD}", file)
    try:
        payload = base64.b64decode(_text(envelope.get("payload"), "`payload`", file), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("its payload is not base64", file) from None
    statement = _object(parse_json(payload, file, _LIMITS), "the statement", file)
    if statement.get("_type") != _STATEMENT:
        raise _wrong("its payload is no in-toto statement", file)
    method, hint = _method(material, file)
    match statement.get("predicateType"):
        case kind if kind == PREDICATE:
            read = _current(statement, file)
        case kind if kind == _PREDICATE_BEFORE:
            read = _former(statement, file)
        case _:
            raise _wrong("its statement is not about a model", file)
    clean = {
        "mediaType": bundle.get("mediaType"),
        "verificationMaterial": material,
        "dsseEnvelope": {
            key: envelope.get(key) for key in ("payload", "payloadType", "signatures")
        },
    }
    return replace(read, method=method, key_hint=hint, bundle=json.dumps(clean).encode())


def _method(material: Mapping[str, JsonValue], file: str) -> tuple[Method, str | None]:
    if "publicKey" in material:
        hint = _object(material["publicKey"], "`publicKey`", file).get("hint")
        return Method.KEY, hint if isinstance(hint, str) else None
    if "x509CertificateChain" in material:
        return Method.CERTIFICATE, None
    if "certificate" in material:
        return Method.SIGSTORE, None
    raise _wrong("it holds neither a key nor a certificate", file)


def _current(statement: Mapping[str, JsonValue], file: str) -> SignedManifest:
    """Read a statement of version 1.0, and make sure that its root is that of its resources."""
    subjects = _list(statement.get("subject"))
    if len(subjects) != 1:
        raise _wrong("it has not one subject", file)
    subject = _object(subjects[0], "the subject", file)
    root = _text(_object(subject.get("digest"), "`digest`", file).get("sha256"), "`sha256`", file)
    predicate = _object(statement.get("predicate"), "`predicate`", file)
    serialization = _object(predicate.get("serialization"), "`serialization`", file)
    found = []
    for item in _list(predicate.get("resources")):
        entry = _object(item, "a resource", file)
        name, algorithm, digest = (
            _text(entry.get(key), f"`{key}`", file) for key in ("name", "algorithm", "digest")
        )
        found.append(_resource(name, algorithm, digest, file))
    total = hashlib.sha256(b"".join(bytes.fromhex(item.digest) for item in found)).hexdigest()
    if total != root:
        raise _wrong(f"its root is {root[:64]}, but its resources hash to {total}", file)
    model = subject.get("name")
    return _manifest(model if isinstance(model, str) else "", found, root, serialization, file)


def _former(statement: Mapping[str, JsonValue], file: str) -> SignedManifest:
    """Read a statement of version 0.1, whose subjects are the files."""
    found = []
    for item in _list(statement.get("subject")):
        entry = _object(item, "a subject", file)
        digest = _object(entry.get("digest"), "`digest`", file).get("sha256")
        name = _text(entry.get("name"), "`name`", file)
        found.append(_resource(name, "sha256", _text(digest, "`sha256`", file), file))
    root = hashlib.sha256(b"".join(bytes.fromhex(item.digest) for item in found)).hexdigest()
    serialization: dict[str, JsonValue] = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
    }
    return _manifest("", found, root, serialization, file)


def _manifest(
    model: str,
    found: list[Resource],
    root: str,
    serialization: Mapping[str, JsonValue],
    file: str,
) -> SignedManifest:
    if len({item.name for item in found}) != len(found):
        raise _wrong("it names one file twice", file)
    return SignedManifest(Method.KEY, printable(model), tuple(found), root, serialization)


def _resource(name: str, algorithm: str, digest: str, file: str) -> Resource:
    cut = _SHARD.search(name)
    path = name[: cut.start()] if cut is not None and cut.end() == len(name) else name
    if name != "." and (trouble := path_trouble(path)):
        raise _wrong(f"it names {printable(name)[:200]}: {trouble}", file)
    length = _LENGTHS.get(algorithm.partition("-")[0])
    if len(digest) != length or not _HEX.fullmatch(digest):
        raise _wrong(f"the digest of {printable(name)[:200]} is none of a known algorithm", file)
    return Resource(name, algorithm, digest)


def _object(value: JsonValue, what: str, file: str) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise _wrong(f"{what} is not an object", file)
    return value


def _text(value: JsonValue, what: str, file: str) -> str:
    if not isinstance(value, str):
        raise _wrong(f"{what} is not a text", file)
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _wrong(why: str, file: str) -> CheckpointError:
    return CheckpointError(
        "is no signature of a model that Steelyard can read",
        why=why,
        fix="ask the publisher for the signature again; steelyard sign makes one",
        file=file,
    )
