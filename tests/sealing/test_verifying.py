"""Whatever happened to a file is said, with its name."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from steelyard.checkpoints.signatures import FileChange
from steelyard.errors import ConfigError, SourceError, SteelyardError
from steelyard.progress import NoProgress
from steelyard.sealing import openssf
from steelyard.sealing.openssf import KeySigner, KeyTrust
from steelyard.sealing.signing import sign
from steelyard.sealing.verifying import verify
from tests.models import folder
from tests.sealing.authority import Authority, write_key


@pytest.fixture
def keys(tmp_path: Path) -> tuple[KeySigner, KeyTrust]:
    private, public = write_key(tmp_path / "keys")
    return KeySigner(private, lambda: None), KeyTrust(public)


@pytest.fixture
def model(tmp_path: Path, keys: tuple[KeySigner, KeyTrust]) -> Path:
    files = {"sub/a.bin": b"aaaa", "sub/b.bin": b"bbbb", ".git/config": b"[core]"}
    made = folder(tmp_path / "model", files=files)
    sign(made, keys[0])
    return made


def tamper(model: Path) -> None:
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def rename(model: Path) -> None:
    (model / "sub/a.bin").rename(model / "sub/z.bin")


def swap(model: Path) -> None:
    (model / "sub/a.bin").write_bytes(b"bbbb")
    (model / "sub/b.bin").write_bytes(b"aaaa")


def compiled(model: Path) -> None:
    (model / "__pycache__").mkdir()
    (model / "__pycache__/x.pyc").write_bytes(b"")


CASES: list[tuple[Callable[[Path], object], list[tuple[str, str, str | None]]]] = [
    (tamper, [("model.safetensors", "changed", None)]),
    (truncate, [("model.safetensors", "changed", None)]),
    (rename, [("sub/z.bin", "renamed", "sub/a.bin")]),
    (
        swap,
        [("sub/a.bin", "changed", "sub/b.bin"), ("sub/b.bin", "changed", "sub/a.bin")],
    ),
    (lambda m: (m / "x.py").write_bytes(b"x"), [("x.py", "added", None)]),
    (lambda m: (m / "__pycache__").mkdir(), []),
    (
        compiled,
        [("__pycache__/x.pyc", "added", None)],
    ),
    (lambda m: (m / "config.json").unlink(), [("config.json", "missing", None)]),
    (lambda m: (m / "config.json").write_bytes(b""), [("config.json", "changed", None)]),
    (lambda m: (m / ".git/config").write_bytes(b"x"), []),
    (lambda m: (m / ".gitignore").write_bytes(b"x"), []),
    (lambda m: (m / "sub/.gitignore").write_bytes(b"x"), [("sub/.gitignore", "added", None)]),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
def test_each_change_is_named(
    model: Path,
    keys: tuple[KeySigner, KeyTrust],
    change: Callable[[Path], object],
    expected: list[tuple[str, str, str | None]],
) -> None:
    change(model)
    found = verify(model, keys[1])
    assert [(c.path, c.happened.value, c.other) for c in found.changes] == expected
    assert found.verified == (not expected)
    assert found.refused is None


def test_what_readers_say_of_a_changed_file_is_said(
    model: Path, keys: tuple[KeySigner, KeyTrust]
) -> None:
    truncate(model)
    (model / "sub/a.bin").write_bytes(b"")
    why = verify(model, keys[1]).why or {}
    assert why["sub/a.bin"] == "it is empty"
    assert "ends" in why["model.safetensors"]


def test_another_key_does_not_verify(tmp_path: Path, model: Path) -> None:
    _, other = write_key(tmp_path / "other")
    found = verify(model, KeyTrust(other))
    assert not found.verified
    assert "Key mismatch" in (found.refused or "")


def test_a_changed_statement_does_not_verify(model: Path, keys: tuple[KeySigner, KeyTrust]) -> None:
    path = model / "model.sig"
    bundle = json.loads(path.read_text())
    signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature[:20] + "AAAA" + signature[24:]
    path.write_text(json.dumps(bundle))
    found = verify(model, keys[1])
    assert found.refused == "it was made with another key, or changed since"


def test_links_are_refused_unless_allowed(tmp_path: Path, keys: tuple[KeySigner, KeyTrust]) -> None:
    made = folder(tmp_path / "linked")
    (made / "alias.json").symlink_to("config.json")
    with pytest.raises(SourceError, match=r"alias\.json: is a symbolic link"):
        sign(made, keys[0])
    assert not (made / "model.sig").exists()
    sign(made, keys[0], allow_symlinks=True)
    assert verify(made, keys[1]).verified
    (made / "out.json").symlink_to(tmp_path / "keys/key.pem")
    with pytest.raises(SourceError, match=r"out\.json: cannot be sealed"):
        verify(made, keys[1])


def test_a_signature_is_not_replaced_unasked(model: Path, keys: tuple[KeySigner, KeyTrust]) -> None:
    before = (model / "model.sig").read_bytes()
    with pytest.raises(ConfigError, match="there is a signature already"):
        sign(model, keys[0])
    assert (model / "model.sig").read_bytes() == before
    sign(model, keys[0], replace=True)
    assert verify(model, keys[1]).verified


def test_added_files_can_be_ignored(model: Path, keys: tuple[KeySigner, KeyTrust]) -> None:
    (model / "new").mkdir()
    (model / "new/x").write_bytes(b"x")
    assert [c.path for c in verify(model, keys[1]).changes] == ["new/x"]
    assert verify(model, keys[1], ignore=["new/"]).verified
    assert verify(model, keys[1], ignore_unsigned=True).verified
    (model / "config.json").unlink()
    expected = (FileChange("config.json", "missing"),)  # type: ignore[arg-type]  # as written
    assert verify(model, keys[1], ignore_unsigned=True).changes == expected


def test_the_signer_leaves_out_what_is_asked(
    tmp_path: Path, keys: tuple[KeySigner, KeyTrust]
) -> None:
    made = folder(tmp_path / "m", files={"logs/a": b"1", "logs2": b"2"})
    signed = sign(made, keys[0], ignore=["logs"], signature=tmp_path / "out.sig")
    assert signed.ignored == ("logs",)
    (made / "logs/a").write_bytes(b"9")
    found = verify(made, keys[1], signature=tmp_path / "out.sig")
    assert (found.verified, found.ignored) == (True, ("logs",))
    (made / "logs2").write_bytes(b"9")
    assert not verify(made, keys[1], signature=tmp_path / "out.sig").verified


def test_an_encrypted_key_wants_its_password(tmp_path: Path) -> None:
    made = folder(tmp_path / "m")
    private, public = write_key(tmp_path / "keys", password="right")  # noqa: S106  made here
    for password, said in ((None, "is encrypted"), (b"wrong", "cannot be read")):
        with pytest.raises(ConfigError, match=said):
            sign(made, KeySigner(private, lambda given=password: given))  # type: ignore[misc]  # bound early
    sign(made, KeySigner(private, lambda: b"right"))
    assert verify(made, KeyTrust(public)).verified


@pytest.mark.parametrize("text", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\n", b"x" * 100_000])
def test_what_is_no_key_is_a_usage_error(tmp_path: Path, text: bytes) -> None:
    made = folder(tmp_path / "m")
    (tmp_path / "k.pem").write_bytes(text)
    with pytest.raises(ConfigError):
        sign(made, KeySigner(tmp_path / "k.pem", lambda: None))
    private, _ = write_key(tmp_path / "keys")
    sign(made, KeySigner(private, lambda: None))
    with pytest.raises(ConfigError):
        verify(made, KeyTrust(tmp_path / "k.pem"))


def test_a_certificate_of_another_key_is_a_usage_error(tmp_path: Path) -> None:
    made = folder(tmp_path / "m")
    ours, theirs = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    signer = openssf.CertificateSigner(ours.key, lambda: None, theirs.certificate)
    with pytest.raises(ConfigError, match="the certificate cannot be used"):
        sign(made, signer)


def test_remote_models_are_not_signed(keys: tuple[KeySigner, KeyTrust]) -> None:
    with pytest.raises(SourceError, match="only files on this machine"):
        sign("hf://org/name", keys[0])


@pytest.mark.parametrize("missing", ["OpenSSL", "model_signing"])
def test_without_the_extra_it_is_named(
    model: Path, keys: tuple[KeySigner, KeyTrust], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for act in (lambda: sign(model, keys[0]), lambda: verify(model, keys[1])):
        with pytest.raises(SteelyardError) as caught:
            act()
        assert caught.value.fix == "pip install 'steelyard[sign]'"


def test_weights_that_cannot_be_read_are_signed_all_the_same(
    tmp_path: Path, keys: tuple[KeySigner, KeyTrust]
) -> None:
    made = folder(tmp_path / "m")
    (made / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    signed = sign(made, keys[0])
    assert signed.identity is None
    assert "identity unknown" in signed.notes[0]
    assert verify(made, keys[1]).verified


def test_a_snapshot_of_the_hub_cache(tmp_path: Path, keys: tuple[KeySigner, KeyTrust]) -> None:
    published = folder(tmp_path / "published")
    sign(published, keys[0])
    cached = tmp_path / "models--org--name"
    snapshot = cached / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cached / "blobs").mkdir()
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0" * 40)
    for number, path in enumerate(sorted(published.iterdir())):
        (cached / f"blobs/{number}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    with pytest.raises(SourceError, match="is a symbolic link"):
        verify(snapshot, keys[1])
    assert verify(snapshot, keys[1], allow_symlinks=True).verified
    (cached / "blobs/0").write_bytes(b"x")
    found = verify(snapshot, keys[1], allow_symlinks=True)
    assert [change.path for change in found.changes] == ["README.md"]


def test_a_refused_signature_counts_for_more_than_unreadable_files(
    tmp_path: Path, model: Path
) -> None:
    _, other = write_key(tmp_path / "other")
    (model / "link").symlink_to("config.json")
    assert "Key mismatch" in (verify(model, KeyTrust(other)).refused or "")


def test_reading_stops_once_the_signature_is_refused(tmp_path: Path, model: Path) -> None:
    _, other = write_key(tmp_path / "other")
    (model / "more.bin").write_bytes(bytes(40_000_000))
    done: list[int] = []

    class Slow(NoProgress):
        def advance(self, amount: int) -> None:
            time.sleep(0.2)
            done.append(amount)

    assert not verify(model, KeyTrust(other), progress=Slow()).verified
    assert sum(done) < 40_000_000


def test_a_pipe_for_a_signature_does_not_keep_us_waiting(
    model: Path, keys: tuple[KeySigner, KeyTrust]
) -> None:
    (model / "model.sig").unlink()
    os.mkfifo(model / "model.sig")
    with pytest.raises(SourceError, match="there is no signature"):
        verify(model, keys[1])


def test_a_second_envelope_under_another_spelling_counts_for_nothing(
    model: Path, keys: tuple[KeySigner, KeyTrust]
) -> None:
    """Libraries take `dsse_envelope` for `dsseEnvelope`; what they check must be what we read."""
    (model / "evil.py").write_bytes(b"x")
    path = model / "model.sig"
    genuine = json.loads(path.read_text())
    payload = json.loads(base64.b64decode(genuine["dsseEnvelope"]["payload"]))
    payload["predicate"]["serialization"]["ignore_paths"].append("evil.py")
    forged = {
        **genuine["dsseEnvelope"],
        "payload": base64.b64encode(json.dumps(payload).encode()).decode(),
    }
    for one, other in ((forged, genuine["dsseEnvelope"]), (genuine["dsseEnvelope"], forged)):
        for order in (False, True):
            both = {"dsseEnvelope": one, "dsse_envelope": other}
            pairs = list({**genuine, **both}.items())
            path.write_text(json.dumps(dict(reversed(pairs) if order else pairs)))
            assert not verify(model, keys[1]).verified
    signatures = genuine["dsseEnvelope"]["signatures"]
    both = {**genuine["dsseEnvelope"], "signatures": [{"sig": "AAAA", "keyid": ""}, *signatures]}
    path.write_text(json.dumps({**genuine, "dsseEnvelope": both}))
    assert not verify(model, keys[1]).verified
