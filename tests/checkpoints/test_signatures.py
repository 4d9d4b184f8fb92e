"""What a signature lists is read without a key; what it contradicts is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import signatures
from steelyard.checkpoints.signatures import (
    FileChange,
    Happened,
    Method,
    covers,
    file_changes,
    parse_signature,
    read_signature,
)
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.sources.memory import BytesReader
from tests.sealing.samples import bundle, sha256, statement

CONTENTS = {"a.bin": "x", "sub/b.bin": "y"}


def test_it_lists_what_was_signed() -> None:
    found = read_signature(BytesReader("model.sig", bundle(statement(CONTENTS))))
    assert found.digests == {name: sha256(text) for name, text in CONTENTS.items()}
    assert found.ignored == ("model.sig", ".git")
    assert found.by_file
    assert (found.method, found.key_hint) == (Method.KEY, "0" * 64)


@pytest.mark.parametrize(
    ("material", "method"),
    [("x509CertificateChain", Method.CERTIFICATE), ("certificate", Method.SIGSTORE)],
)
def test_how_it_was_made(material: str, method: Method) -> None:
    assert parse_signature(bundle(statement(CONTENTS), material)).method is method


def test_the_version_before_is_read() -> None:
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": n, "digest": {"sha256": sha256(t)}} for n, t in CONTENTS.items()],
        "predicateType": "https://model_signing/Digests/v0.1",
        "predicate": {},
    }
    found = parse_signature(bundle(said))
    assert found.digests == {name: sha256(text) for name, text in CONTENTS.items()}
    assert found.by_file


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    said = statement(CONTENTS)
    change(said)
    return bundle(said)


def resource(said: dict[str, Any], **changes: str) -> None:
    said["predicate"]["resources"][0].update(changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        bundle(b"[]"),
        bundle(b"\xff"),
        bundle(statement(CONTENTS), "nothing"),
        bundle(statement(CONTENTS)).replace(b"vnd.in-toto+json", b"json"),
        bundle(statement(CONTENTS)).replace(b'"payload": "', b'"payload": "*'),
        edited(lambda said: said.update(_type="x")),
        edited(lambda said: said.update(predicateType="x")),
        edited(lambda said: said.update(subject=[])),
        edited(lambda said: said["predicate"].pop("serialization")),
        edited(lambda said: said["predicate"]["resources"].pop()),
        edited(lambda said: said["predicate"]["resources"].reverse()),
        edited(lambda said: resource(said, digest=sha256("z"))),
        edited(lambda said: resource(said, name="../a.bin")),
        edited(lambda said: resource(said, name="/etc/passwd")),
        edited(lambda said: resource(said, name="a\x1b[31m.bin")),
        edited(lambda said: resource(said, algorithm="md5")),
        edited(lambda said: resource(said, digest="zz")),
        edited(lambda said: resource(said, name="sub/b.bin")),
    ],
)
def test_what_does_not_hold_together_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_signature(data)
    assert caught.value.file == "model.sig"


def test_a_key_given_twice_is_refused_as_readers_disagree_on_it() -> None:
    text = json.dumps(statement(CONTENTS)).replace('"subject"', '"subject": [], "subject"')
    with pytest.raises(CheckpointError, match="stands twice"):
        parse_signature(bundle(text.encode()))


def test_a_huge_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "LARGEST", 10)
    with pytest.raises(LimitExceeded):
        read_signature(BytesReader("model.sig", bytes(11)))


def test_what_is_covered() -> None:
    assert not covers((".git", "logs"), "logs")
    assert not covers((".git", "logs"), "logs/a/b")
    assert covers((".git", "logs"), "logs2")
    assert covers((".git", "logs"), "sub/.git/x")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, []),
        ({"a": "1"}, {"a": "2"}, [("a", "changed", None)]),
        ({"a": "1"}, {}, [("a", "missing", None)]),
        ({}, {"a": "1"}, [("a", "added", None)]),
        ({"a": "1"}, {"b": "1"}, [("b", "renamed", "a")]),
        ({"a": "1"}, {"a": "1", "b": "1"}, [("b", "added", None)]),
        ({"a": "1", "b": "1"}, {"c": "1"}, [("b", "missing", None), ("c", "renamed", "a")]),
        (
            {"a": "1", "b": "2"},
            {"a": "2", "b": "1"},
            [("a", "changed", "b"), ("b", "changed", "a")],
        ),
    ],
)
def test_what_became_of_files(
    before: dict[str, str], now: dict[str, str], expected: list[tuple[str, str, str | None]]
) -> None:
    found = file_changes(before, now)
    assert [(c.path, c.happened.value, c.other) for c in found] == expected


_FILES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


@given(_FILES, _FILES)
def test_every_difference_is_told_once(before: dict[str, str], now: dict[str, str]) -> None:
    found = file_changes(before, now)
    told = {path for change in found for path in _paths(change)}
    differ = {p for p in before.keys() | now.keys() if before.get(p) != now.get(p)}
    assert told == differ
    assert (not found) == (before == now)
    back = file_changes(now, before)
    renames = [c for c in found if c.happened is Happened.RENAMED]
    assert len(renames) == len([c for c in back if c.happened is Happened.RENAMED])
    for change in renames:
        assert now[change.path] == before[change.other or ""]


def _paths(change: FileChange) -> set[str]:
    if change.happened is Happened.RENAMED:
        return {change.path, change.other or ""}
    return {change.path}
