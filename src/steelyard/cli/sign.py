"""`steelyard sign`: sign every file of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.main import printable
from steelyard.cli.options import NO_CACHE_OPTION, QUIET_OPTION
from steelyard.cli.sealing import FILE, cache_of, path_options, take_turns

if TYPE_CHECKING:
    # Imported when the command runs: `sign --help` need not wait for them.
    from steelyard.sealing.openssf import Signer
    from steelyard.sealing.signing import Signed

PASSWORD_VARIABLE: Final = "STEELYARD_KEY_PASSWORD"  # noqa: S105  the name of a variable
"""Where the password of a private key is looked for before anybody is asked."""


@click.command(name="sign")
@click.argument("source")
@click.option("--key", type=FILE, metavar="KEY.pem", help="Sign with this private key (P-256 ...).")
@click.option(
    "--certificate", type=FILE, metavar="CERT.pem", help="Let this certificate of the key go along."
)
@click.option(
    "--certificate-chain",
    "chain",
    type=FILE,
    multiple=True,
    metavar="CERT.pem",
    help="A certificate between that one and the root; repeat for several.",
)
@click.option(
    "--sigstore", is_flag=True, help="Sign with your identity through Sigstore (uses the network)."
)
@click.option("--staging", is_flag=True, help="Use Sigstore's staging instance.")
@click.option(
    "--signature", type=FILE, metavar="FILE", help="Write here.  [default: SOURCE/model.sig]"
)
@click.option("--force", is_flag=True, help="Replace a signature that is there.")
@path_options
@NO_CACHE_OPTION
@QUIET_OPTION
def command(source: str, **given: Any) -> None:
    """Sign a model: a signature over every file, in the format of OpenSSF model signing.

    The signature lies beside the files as model.sig; steelyard verify and the OpenSSF's own
    model_signing check it. Left out are the signature itself, .git, .gitattributes, .github and
    .gitignore. The password of an encrypted key comes from STEELYARD_KEY_PASSWORD, or you are
    asked for it. Exit codes: 0 signed, 2 wrong usage, 3 unreadable.

    \b
    steelyard sign ./my-model --key key.pem
    steelyard sign ./my-model --key key.pem --certificate me.pem --certificate-chain ca.pem
    steelyard sign ./my-model --sigstore
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.context import resolve
    from steelyard.cli.progress import TerminalProgress
    from steelyard.sealing.signing import sign

    take_turns()
    settings = resolve({}).settings
    signer = _signer(given, offline=settings.offline)
    with TerminalProgress(quiet=given["quiet"]) as progress:
        signed = sign(
            source,
            signer,
            signature=given["signature"],
            ignore=given["ignored"],
            allow_symlinks=given["allow_symlinks"],
            replace=given["force"],
            cache=None if given["no_cache"] else cache_of(settings),
            progress=progress,
        )
    _tell(signed, quiet=given["quiet"])


def _signer(given: dict[str, Any], *, offline: bool) -> Signer:
    """Return what the options name, one of three.

    Raises:
        ConfigError: If they name none or more than one.
    """
    from steelyard.errors import ConfigError
    from steelyard.sealing.openssf import CertificateSigner, KeySigner, SigstoreSigner

    key, certificate = given["key"], given["certificate"]
    if given["sigstore"]:
        if key or certificate or given["chain"]:
            raise ConfigError("--sigstore needs neither a key nor a certificate")
        if offline:
            raise ConfigError("--sigstore needs the network", why="offline mode is on")
        return SigstoreSigner(staging=given["staging"])
    if key is None:
        raise ConfigError(
            "nothing to sign with",
            fix="--key KEY.pem, --key KEY.pem --certificate CERT.pem, or --sigstore",
        )
    if given["staging"]:
        raise ConfigError("--staging goes with --sigstore")
    if certificate is None:
        if given["chain"]:
            raise ConfigError("--certificate-chain goes with --certificate")
        return KeySigner(key, _password(key))
    return CertificateSigner(key, _password(key), certificate, tuple(given["chain"]))


def _password(key: Path) -> Any:
    """Return what finds the password of a key when it is needed."""
    import sys

    from steelyard.cli.settings import environment

    def ask() -> bytes | None:
        found = environment().get(PASSWORD_VARIABLE)
        if found is None and sys.stdin is not None and sys.stdin.isatty():
            found = click.prompt(f"Password of {printable(str(key))}", hide_input=True, err=True)
        return found.encode("utf-8", "surrogateescape") if found else None

    return ask


def _tell(signed: Signed, *, quiet: bool) -> None:
    from steelyard.reports.text import counted, size

    click.echo(
        f"signed {counted(signed.files, 'file')}, {size(signed.size)}: "
        f"{printable(str(signed.path))}"
    )
    if signed.identity:
        click.echo(f"  identity   {signed.identity}")
    if signed.ignored:
        click.echo(f"  left out   {', '.join(map(printable, signed.ignored))}")
    for note in () if quiet else signed.notes:
        click.echo(f"note: {printable(note)}", err=True)
