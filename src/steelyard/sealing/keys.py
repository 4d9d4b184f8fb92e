"""Private keys, encrypted or not, handed on without ever lying decrypted on a disk.

`model_signing` takes the path of a key. It reads no encrypted key beside a certificate, and takes
a password as text where its own library wants bytes. So keys are decrypted here, and the path
that it is given is that of a pipe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from steelyard.errors import ConfigError
from steelyard.sources.paths import printable

Password = Callable[[], bytes | None]
"""Asked for the password of a key only when it is encrypted; None where there is none."""
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
"""The elliptic curves with which models are signed."""
_LARGEST: Final = 32_768
"""Bytes of the largest key: what a pipe holds while nobody reads."""


def read_private_key(path: Path, password: Password) -> bytes:
    """Read a private key, and return it as PEM that is not encrypted.

    Raises:
        ConfigError: If it cannot be read or decrypted, or is of another kind than signs models.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    data = read_pem(path)
    encrypted = b"ENCRYPTED" in data
    secret = password() if encrypted else None
    if encrypted and not secret:
        raise ConfigError(
            "the private key is encrypted",
            why="no password was given",
            fix="put it into STEELYARD_KEY_PASSWORD, or run on a terminal and be asked",
            file=printable(str(path)),
        )
    try:
        key = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "the private key cannot be read",
            why="the password is wrong, or the file is damaged" if encrypted else str(error)[:200],
            fix="name a private key in PEM",
            file=printable(str(path)),
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ConfigError(
            "models are signed with keys on the elliptic curves P-256, P-384 and P-521",
            why=f"this one is {getattr(getattr(key, 'curve', None), 'name', type(key).__name__)}",
            fix="make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
            file=printable(str(path)),
        )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def check_certificate(key: bytes, certificate: Path) -> None:
    """Make sure that a certificate is that of a private key.

    Raises:
        ConfigError: If it is another's, or cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    data = read_pem(certificate)
    try:
        theirs = x509.load_pem_x509_certificate(data).public_key()
    except ValueError as error:
        why, fix = str(error)[:200], "name a certificate in PEM"
        name = printable(str(certificate))
        raise ConfigError("is no certificate", why=why, fix=fix, file=name) from error
    if theirs != serialization.load_pem_private_key(key, None).public_key():
        raise ConfigError(
            "the certificate cannot be used",
            why="its public key is not that of the private key",
            fix="name the key and the certificate that belong together",
            file=printable(str(certificate)),
        )


def read_pem(path: Path) -> bytes:
    """Read a small file that the user names: a key, or certificates.

    Raises:
        ConfigError: If it cannot be read, or is too large to be one.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            "cannot be read",
            why=error.strerror or str(error),
            fix="check the path",
            file=printable(str(path)),
        ) from error
    if len(data) > _LARGEST:
        raise ConfigError("is too large to be a key", file=printable(str(path)))
    return data


@contextmanager
def piped(data: bytes) -> Iterator[Path]:
    """Yield a path under which `data` can be read once; nothing is written to a disk."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as stream:
            stream.write(data)
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
