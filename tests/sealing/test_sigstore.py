"""Sigstore is out of reach here: that we ask it rightly is shown with a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_signing import signing, verifying

from steelyard.errors import SourceError
from steelyard.sealing.openssf import KeySigner, SigstoreSigner, SigstoreTrust
from steelyard.sealing.signing import sign
from steelyard.sealing.verifying import verify
from tests.models import folder
from tests.sealing.authority import write_key


def test_the_signer_is_asked_as_the_user_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_key(tmp_path / "keys")
    asked: list[dict[str, Any]] = []

    def signer(self: signing.Config, **given: Any) -> signing.Config:
        asked.append(given)
        return self.use_elliptic_key_signer(private_key=private)

    def verifier(self: verifying.Config, **given: Any) -> verifying.Config:
        asked.append(given)
        return self.use_elliptic_key_verifier(public_key=public)

    monkeypatch.setattr(signing.Config, "use_sigstore_signer", signer)
    monkeypatch.setattr(verifying.Config, "use_sigstore_verifier", verifier)
    model = folder(tmp_path / "model")
    sign(model, SigstoreSigner(identity_token="t"))  # noqa: S106  no token of anybody
    assert verify(model, SigstoreTrust("me@example.com", "https://id.example.com")).verified
    assert asked == [
        {"use_staging": False, "identity_token": "t", "use_ambient_credentials": False},
        {
            "identity": "me@example.com",
            "oidc_issuer": "https://id.example.com",
            "use_staging": False,
        },
    ]


def test_without_a_network_nothing_is_signed(tmp_path: Path) -> None:
    model = folder(tmp_path / "model")
    with pytest.raises(SourceError, match="Sigstore did not let us sign"):
        sign(model, SigstoreSigner())
    assert not (model / "model.sig").exists()
    private, _ = write_key(tmp_path / "keys")
    sign(model, KeySigner(private, lambda: None))
    with pytest.raises(SourceError, match="Sigstore did not let us verify"):
        verify(model, SigstoreTrust("me@example.com", "https://id.example.com"))
