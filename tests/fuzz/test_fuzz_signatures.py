"""Damaged signatures and locks: read, or refused with a reason; nothing else comes out."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path

import pytest

from steelyard.checkpoints.signatures import parse_signature, read_signature
from steelyard.errors import CheckpointError
from steelyard.sealing.lock_document import read_lock, write_lock
from steelyard.sealing.openssf import KeySigner, KeyTrust
from steelyard.sealing.signing import sign
from steelyard.sealing.verifying import verify
from steelyard.sources.memory import BytesReader
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations
from tests.models import folder
from tests.sealing.authority import write_key
from tests.sealing.samples import bundle, lock, statement

COUNT = fuzz_count(400)


@pytest.mark.parametrize("method", ["publicKey", "x509CertificateChain", "certificate"])
def test_damaged_bundles(method: str) -> None:
    for data in mutations(bundle(statement({"a": "x", "b/c": "y"}), method), 21, COUNT):
        with suppress(CheckpointError):
            found = read_signature(BytesReader("model.sig", data))
            assert len({item.name for item in found.resources}) == len(found.resources)


def test_damaged_statements() -> None:
    whole = json.loads(bundle(statement({"a": "x", "b/c": "y"})))
    inner = base64.b64decode(whole["dsseEnvelope"]["payload"])
    for data in mutations(inner, 22, COUNT):
        whole["dsseEnvelope"]["payload"] = base64.b64encode(data).decode()
        with suppress(CheckpointError):
            found = parse_signature(json.dumps(whole).encode())
            for item in found.resources:
                assert not item.name.startswith("/")
                assert ".." not in item.name.split("/")


@pytest.mark.temporary
def test_no_damaged_signature_verifies(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    private, public = write_key(tmp_path / "keys")
    path = sign(model, KeySigner(private, lambda: None)).path
    whole = path.read_bytes()
    meant = json.loads(whole)["dsseEnvelope"]["payload"]
    for data in mutations(whole, 24, COUNT):
        path.write_bytes(data)
        with suppress(CheckpointError):
            if verify(model, KeyTrust(public)).verified:
                # The damage was where nothing that is signed stands.
                assert json.loads(data)["dsseEnvelope"]["payload"] == meant


def test_damaged_locks() -> None:
    for data in mutations(write_lock(lock()), 23, COUNT):
        with suppress(CheckpointError):
            found = read_lock(data)
            assert read_lock(write_lock(found)) == found
