"""Signatures and locks that no key and no model stands behind."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from steelyard.sealing.lock_document import (
    LockDocument,
    LockedCard,
    LockedFile,
    LockedTensor,
    LockedTokenizer,
    LockedWeights,
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def statement(contents: Mapping[str, str]) -> dict[str, Any]:
    """Say that these contents were signed, as version 1.0 does."""
    resources = [
        {"name": name, "algorithm": "sha256", "digest": sha256(text)}
        for name, text in sorted(contents.items())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": ["model.sig", ".git"],
            },
            "resources": resources,
        },
    }


def bundle(said: Mapping[str, Any] | bytes, method: str = "publicKey") -> bytes:
    """Put a statement into a bundle, with a signature that nobody made."""
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {method: {"hint": "0" * 64}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": "AAAA", "keyid": ""}],
            },
        }
    ).encode()


def lock() -> LockDocument:
    """Return a small lock with something in every field."""
    tensor = LockedTensor("BF16", "plain", (4, 2), f"b3:{'0' * 64}")
    return LockDocument(
        steelyard="0.1.0",
        source="hf://org/name",
        revision="0" * 40,
        files={
            "a.json": LockedFile(size=1, sha256=sha256("a")),
            "b.bin": LockedFile(size=2, sha256=sha256("b"), basis="declared"),
        },
        weights=LockedWeights(
            identity=f"b3:{'1' * 64}",
            scheme="1",
            format="safetensors",
            parameters=8,
            tensors={"embedding.weight": str(tensor), "x": "F32 plain []"},
        ),
        templates={"chat_template.jinja": f"sha256:{sha256('t')}"},
        tokenizer=LockedTokenizer(tokens=4, digest=f"sha256:{sha256('v')}", special={"bos": "<s>"}),
        license={"effective": "MIT", "restrictions": ["attribution"]},
        card=LockedCard(path="README.md", fields={"license": "mit", "tags": ["x"]}, sections={}),
        lineage={"base": "org/base"},
    )
