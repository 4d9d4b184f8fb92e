"""Keys and certificates for tests, made anew each time."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey
_NOW = datetime.now(UTC)


def write_key(
    folder: Path, name: str = "key", *, curve: ec.EllipticCurve | None = None, password: str = ""
) -> tuple[Path, Path]:
    """Write a private key and its public half as PEM; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return _store(folder, name, key, password)


def _store(folder: Path, name: str, key: Key, password: str) -> tuple[Path, Path]:
    cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        cipher = serialization.BestAvailableEncryption(password.encode())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def _certificate(
    name: str, key: Key, issuer: str, issuer_key: Key, *, authority: bool
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(days=1))
        .not_valid_after(_NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


class Authority:
    """A root, an intermediate and a signer; paths of what each keeps."""

    def __init__(self, folder: Path, *, password: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        root, middle, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.root = folder / "root.crt"
        self.chain = folder / "middle.crt"
        self.certificate = folder / "signer.crt"
        self.key, _ = _store(folder, "signer", signer, password)
        for path, made in (
            (self.root, _certificate("root", root, "root", root, authority=True)),
            (self.chain, _certificate("middle", middle, "root", root, authority=True)),
            (self.certificate, _certificate("signer", signer, "middle", middle, authority=False)),
        ):
            path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def oms(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line of OpenSSF model signing as a process of its own."""
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
