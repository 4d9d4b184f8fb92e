"""The one place that calls `model_signing`, the OpenSSF's implementation of model signing.

It makes and checks signatures; it is never let hash: digests come from our own pass, through a
hashing configuration of which only `hash` is asked (its issue 568 asks for the same). Besides its
documented interface (`signing.Config`, `verifying.Config`, `manifest.Manifest`) only its class
for a digest is used.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from steelyard.checkpoints.signatures import SIGNATURE_NAME, Resource, SignedManifest
from steelyard.errors import ConfigError, SourceError
from steelyard.sealing.keys import (
    Password,
    check_certificate,
    piped,
    read_pem,
    read_private_key,
)

if TYPE_CHECKING:
    # Imported when a signature is made or checked: it needs an extra, and takes a second.
    from model_signing import hashing, signing, verifying
    from model_signing.manifest import Manifest

_LONGEST: Final = 300
_ALGORITHMS: Final = {"sha256": "sha256", "blake2b": "blake2", "blake3": "blake3"}
"""What a signature calls each algorithm, and what the library's configuration calls it."""


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Sign with a private key."""

    private_key: Path
    password: Password


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """Sign with a private key whose certificate goes with the signature."""

    private_key: Path
    password: Password
    certificate: Path
    chain: tuple[Path, ...] = ()
    """Certificates between the signer's and the one that verifiers trust."""


@dataclass(frozen=True, slots=True)
class SigstoreSigner:
    """Sign with an identity that an OpenID provider vouches for; needs the network."""

    staging: bool = False
    identity_token: str | None = None
    """A token at hand; otherwise that of the workload is taken, else a browser opens."""


@dataclass(frozen=True, slots=True)
class KeyTrust:
    """Trust whoever holds the private half of a key."""

    public_key: Path


@dataclass(frozen=True, slots=True)
class CertificateTrust:
    """Trust whom these authorities have certified; none for those that browsers trust."""

    chain: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class SigstoreTrust:
    """Trust an identity, as an OpenID provider knows it; needs the network."""

    identity: str
    provider: str
    staging: bool = False


Signer = KeySigner | CertificateSigner | SigstoreSigner
Trust = KeyTrust | CertificateTrust | SigstoreTrust


class _Given:
    """Stands for a hashing configuration: knows the manifest already, and reads nothing."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def hash(self, model_path: object, *, files_to_hash: object = None) -> Manifest:  # noqa: ARG002  as its callers call it
        """Return the manifest."""
        return self._manifest

    def add_ignored_paths(self, *, model_path: object, paths: object) -> None:
        """Do nothing: the manifest holds what it holds."""


def require() -> None:
    """Make sure that the libraries for signatures are there, without loading them.

    Raises:
        ConfigError: If they are not; it names the extra that brings them.
    """
    # OpenSSL by name: model-signing 1.1.1 imports it and does not declare it.
    for name in ("model_signing", "OpenSSL", "cryptography"):
        if find_spec(name) is None:
            raise ConfigError(
                "signatures need model-signing",
                why=f"{name} is not installed",
                fix="pip install 'steelyard[sign]'",
            )


def load() -> None:
    """Import what signing needs: half a second that can pass while files are read.

    Only one thread at a time may import these libraries; their modules need each other.
    """
    import_module("model_signing.signing")


def unlocked(signer: Signer) -> bytes | None:
    """Return the private key, decrypted; None where none is needed. Ask before reading files.

    Raises:
        ConfigError: If the key or its certificate does not serve.
    """
    if isinstance(signer, SigstoreSigner):
        return None
    key = read_private_key(signer.private_key, signer.password)
    if isinstance(signer, CertificateSigner):
        check_certificate(key, signer.certificate)
        for path in signer.chain:
            read_pem(path)
    return key


def make_signature(
    digests: Mapping[str, str],
    signer: Signer,
    *,
    key: bytes | None,
    model: str,
    ignored: Iterable[str],
    allow_symlinks: bool,
) -> bytes:
    """Sign digests, and return the signature file.

    Args:
        digests: SHA-256 in hex by path.
        signer: With what.
        key: What `unlocked` returned for it.
        model: Name of the model; informative.
        ignored: Paths that verifiers shall leave out, too.
        allow_symlinks: Whether links were followed.

    Raises:
        ConfigError: If keys or certificates do not serve.
        SourceError: If Sigstore cannot be reached, or refuses.
    """
    resources = tuple(Resource(path, "sha256", value) for path, value in digests.items())
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": allow_symlinks,
        "ignore_paths": sorted(ignored),
    }
    manifest = _manifest(model, resources, serialization)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steelyard-")))
        configured = _signing(signer, key or b"", stack)
        configured.set_hashing_config(cast("hashing.Config", _Given(manifest)))
        written = folder / SIGNATURE_NAME
        with _network(isinstance(signer, SigstoreSigner), "sign"):
            configured.sign(folder, written)
        return written.read_bytes()


def refusal(said: SignedManifest, trust: Trust) -> str | None:
    """Say why a signature does not hold; None when it does.

    That it holds is believed only if `model_signing` ends without complaint and read the same
    manifest as we did, from a bundle that holds what we read and nothing else.

    Args:
        said: What `parse_signature` read from the signature.
        trust: Whom to trust.

    Raises:
        ConfigError: If keys or certificates cannot be read.
        SourceError: If Sigstore cannot be reached.
    """
    try:
        manifest = _manifest(said.model, said.resources, dict(said.serialization))
    except (KeyError, TypeError, ValueError) as error:
        return f"it does not say how it was made: {_why(error)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steelyard-")))
        path = folder / SIGNATURE_NAME
        path.write_bytes(said.bundle)
        configured = _verifying(trust)
        configured.set_hashing_config(cast("hashing.Config", _Given(manifest)))
        # It warns of old formats with `print`.
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            configured.verify(folder, path)
        except Exception as error:
            # The libraries below raise errors of a dozen kinds, without a common one.
            if isinstance(trust, SigstoreTrust) and _is_network(error):
                raise _unreachable("verify", error) from error
            return _why(error)
    return None


def digest_like(said: SignedManifest, path: Path) -> Mapping[str, str]:
    """Take the digests of a model as a signature took them, where not whole files by SHA-256.

    Raises:
        SourceError: If it cannot be read.
    """
    from model_signing import hashing

    args: Mapping[str, Any] = said.serialization
    configured = hashing.Config()
    try:
        kind: Any = _ALGORITHMS[str(args.get("hash_type"))]
        if args.get("method") == "shards":
            # A statement's numbers come back as floating point.
            configured.use_shard_serialization(
                hashing_algorithm=kind, shard_size=int(args["shard_size"])
            )
        else:
            configured.use_file_serialization(hashing_algorithm=kind)
        configured.set_ignored_paths(paths=said.ignored)
        configured.set_allow_symlinks(args.get("allow_symlinks") is True)
        found = configured.hash(path)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise SourceError("cannot be hashed as the signature asks", why=_why(error)) from error
    return {each.identifier: each.digest.digest_hex for each in found.resource_descriptors()}


def _manifest(
    model: str, resources: Iterable[Resource], serialization: Mapping[str, Any]
) -> Manifest:
    from model_signing._hashing.hashing import Digest
    from model_signing.manifest import Manifest, SerializationType

    kind = SerializationType.from_args(dict(serialization))
    items = [
        kind.new_item(item.name, Digest(item.algorithm, bytes.fromhex(item.digest)))
        for item in resources
    ]
    return Manifest(model, items, kind)


def _signing(signer: Signer, key: bytes, stack: ExitStack) -> signing.Config:
    from model_signing import signing

    configured = signing.Config()
    match signer:
        case KeySigner():
            path = stack.enter_context(piped(key))
            return configured.use_elliptic_key_signer(private_key=path)
        case CertificateSigner():
            path = stack.enter_context(piped(key))
            with _readable("the certificate"):
                return configured.use_certificate_signer(
                    private_key=path,
                    signing_certificate=signer.certificate,
                    certificate_chain=signer.chain,
                )
        case SigstoreSigner():
            with _network(True, "sign"):
                return configured.use_sigstore_signer(
                    use_staging=signer.staging,
                    identity_token=signer.identity_token,
                    use_ambient_credentials=signer.identity_token is None,
                )


def _verifying(trust: Trust) -> verifying.Config:
    from model_signing import verifying

    configured = verifying.Config()
    match trust:
        case KeyTrust():
            read_pem(trust.public_key)
            with _readable("the public key"):
                return configured.use_elliptic_key_verifier(public_key=trust.public_key)
        case CertificateTrust():
            for path in trust.chain:
                read_pem(path)
            with _readable("the certificates"):
                return configured.use_certificate_verifier(certificate_chain=trust.chain)
        case SigstoreTrust():
            with _network(True, "verify"):
                return configured.use_sigstore_verifier(
                    identity=trust.identity, oidc_issuer=trust.provider, use_staging=trust.staging
                )


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Say that a key or certificate does not serve."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{what} cannot be used", why=_why(error), fix="name files in PEM that belong together"
        ) from error


@contextmanager
def _network(asked: bool, verb: str) -> Iterator[None]:
    """Say that Sigstore did not answer as hoped."""
    try:
        yield
    except Exception as error:
        if not asked:
            raise
        raise _unreachable(verb, error) from error


def _unreachable(verb: str, error: Exception) -> SourceError:
    return SourceError(
        f"Sigstore did not let us {verb}",
        why=_why(error),
        fix="check the network and the identity, or use a key or a certificate",
    )


def _is_network(error: BaseException) -> bool:
    """Tell whether an error comes from the network, whoever wrapped it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError | TimeoutError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _why(error: BaseException) -> str:
    """Say in a line what an error of another library says, or what its kind means."""
    said = " ".join(str(error).split())[:_LONGEST]
    if type(error).__name__ == "InvalidSignature":
        return "it was made with another key, or changed since"
    return said or type(error).__name__
