"""What we sign, OpenSSF's own command line verifies, and the other way round."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from steelyard.sealing.openssf import CertificateSigner, CertificateTrust, KeySigner, KeyTrust
from steelyard.sealing.signing import sign
from steelyard.sealing.verifying import verify
from tests.models import folder
from tests.sealing.authority import Authority, oms, write_key
from tests.sealing.samples import bundle, statement


@pytest.fixture
def model(tmp_path: Path) -> Path:
    files = {
        "vision/preprocessor_config.json": b"{}",
        "a-b/x.txt": b"x",
        "a/z.txt": b"z",
        ".gitattributes": b"*.bin",
        "__pycache__/x.pyc": b"c",
        "empty.txt": b"",
        "ü.txt": b"u",
    }
    return folder(tmp_path / "model", files=files)


def none() -> None:
    """Give no password."""
    return


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_ours_by_key_verifies_there(tmp_path: Path, model: Path, curve: ec.EllipticCurve) -> None:
    private, public = write_key(tmp_path / "keys", curve=curve)
    signed = sign(model, KeySigner(private, none))
    assert (signed.path, signed.files, signed.ignored) == (
        model / "model.sig",
        9,
        (".gitattributes",),
    )
    ran = oms("verify", "key", model, "--signature", signed.path, "--public_key", public)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert verify(model, KeyTrust(public)).verified


def test_theirs_by_key_verifies_here(tmp_path: Path, model: Path) -> None:
    private, public = write_key(tmp_path / "keys")
    ran = oms("sign", "key", model, "--signature", model / "model.sig", "--private_key", private)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = verify(model, KeyTrust(public))
    assert found.verified
    assert (found.files, found.signed.method) == (9, "key")


def test_ours_by_certificate_verifies_there(tmp_path: Path, model: Path) -> None:
    authority = Authority(tmp_path / "ca", password="secret")  # noqa: S106  of a key made here
    signer = CertificateSigner(
        authority.key, lambda: b"secret", authority.certificate, (authority.chain,)
    )
    sign(model, signer)
    ran = oms(
        "verify", "certificate", model, "--signature", model / "model.sig",
        "--certificate_chain", authority.root,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert verify(model, CertificateTrust((authority.root,))).verified


def test_theirs_by_certificate_verifies_here(tmp_path: Path, model: Path) -> None:
    authority = Authority(tmp_path / "ca")
    ran = oms(
        "sign", "certificate", model, "--signature", model / "model.sig",
        "--private_key", authority.key, "--signing_certificate", authority.certificate,
        "--certificate_chain", authority.chain,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = verify(model, CertificateTrust((authority.root,)))
    assert found.verified
    assert found.signed.method == "certificate"
    stranger = Authority(tmp_path / "stranger")
    refused = verify(model, CertificateTrust((stranger.root,)))
    assert not refused.verified
    assert refused.refused == "certificate signature failure"


def test_one_file_both_ways(tmp_path: Path, model: Path) -> None:
    private, public = write_key(tmp_path / "keys")
    weights = model / "model.safetensors"
    signed = sign(weights, KeySigner(private, none))
    assert signed.path == model / "model.safetensors.sig"
    ran = oms("verify", "key", weights, "--signature", signed.path, "--public_key", public)
    assert ran.returncode == 0, ran.stderr
    theirs = tmp_path / "theirs.sig"
    ran = oms("sign", "key", weights, "--signature", theirs, "--private_key", private)
    assert ran.returncode == 0, ran.stderr
    assert verify(weights, KeyTrust(public), signature=theirs).verified
    weights.write_bytes(weights.read_bytes() + b"x")
    found = verify(weights, KeyTrust(public), signature=theirs)
    assert [(each.path, each.happened) for each in found.changes] == [(".", "changed")]


@pytest.mark.parametrize("algorithm", ["sha256", "blake2", "blake3"])
@pytest.mark.parametrize("shards", [False, True])
def test_other_ways_to_hash_are_understood(
    tmp_path: Path, model: Path, algorithm: str, shards: bool
) -> None:
    from model_signing import hashing, signing

    private, public = write_key(tmp_path / "keys")
    configured = hashing.Config()
    if shards:
        configured.use_shard_serialization(hashing_algorithm=algorithm, shard_size=100)  # type: ignore[arg-type]  # a parameter of the test
    else:
        configured.use_file_serialization(hashing_algorithm=algorithm)  # type: ignore[arg-type]  # as above
    made = signing.Config().use_elliptic_key_signer(private_key=private)
    made.set_hashing_config(configured.set_ignored_paths(paths=["model.sig"]))
    made.sign(model, model / "model.sig")
    assert verify(model, KeyTrust(public)).verified
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    found = verify(model, KeyTrust(public))
    (change,) = found.changes
    assert change.path.startswith("model.safetensors")
    assert change.happened == "changed"


@pytest.mark.parametrize("missing", ["allow_symlinks", "hash_type", "method", None])
def test_a_signed_statement_that_does_not_say_how_is_refused(
    tmp_path: Path, model: Path, missing: str | None
) -> None:
    _, public = write_key(tmp_path / "keys")
    said = statement({"a": "x"})
    if missing is None:
        said["predicate"]["serialization"] = {"method": "shards", "hash_type": 1}
    else:
        del said["predicate"]["serialization"][missing]
    (model / "model.sig").write_bytes(bundle(said))
    assert "does not say how" in (verify(model, KeyTrust(public)).refused or "")


def test_a_signature_of_the_version_before_verifies(tmp_path: Path) -> None:
    private, public = write_key(tmp_path / "keys")
    made = folder(tmp_path / "m")
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": p.name, "digest": {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()}}
            for p in sorted(made.iterdir())
        ],
        "predicateType": "https://model_signing/Digests/v0.1",
        "predicate": {},
    }
    whole = json.loads(bundle(said))
    payload = base64.b64decode(whole["dsseEnvelope"]["payload"])
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made_by_hand = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    whole["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made_by_hand).decode()
    hint = hashlib.sha256(public.read_bytes()).hexdigest()
    whole["verificationMaterial"]["publicKey"]["hint"] = hint
    (made / "model.sig").write_text(json.dumps(whole))
    assert verify(made, KeyTrust(public)).verified
    (made / "config.json").write_text("{}")
    assert [change.path for change in verify(made, KeyTrust(public)).changes] == ["config.json"]
