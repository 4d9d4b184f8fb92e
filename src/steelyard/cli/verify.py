"""`steelyard verify`: is a model what somebody signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from steelyard.cli.main import EXIT_FINDINGS
from steelyard.cli.options import OUTPUT_OPTION, format_option
from steelyard.cli.sealing import FILE, cache_of, path_options, take_turns

if TYPE_CHECKING:
    # Imported when the command runs: `verify --help` need not wait for them.
    from steelyard.sealing.openssf import Trust

FORMATS: Final = {
    "text": "steelyard.sealing.reports.verification_text",
    "json": "steelyard.sealing.reports.verification_json",
}
_BY_SUFFIX: Final = {".txt": "text", ".json": "json"}


@click.command(name="verify")
@click.argument("source")
@click.option("--key", type=FILE, metavar="PUB.pem", help="Believe whoever has this public key.")
@click.option(
    "--certificate-chain",
    "chain",
    type=FILE,
    multiple=True,
    metavar="CERT.pem",
    help="Believe whom this authority certified; repeat for several.",
)
@click.option("--identity", metavar="NAME", help="Believe this Sigstore identity (an address).")
@click.option("--identity-provider", metavar="URL", help="Who must vouch for that identity.")
@click.option("--staging", is_flag=True, help="Use Sigstore's staging instance.")
@click.option(
    "--signature", type=FILE, metavar="FILE", help="Read this one.  [default: SOURCE/model.sig]"
)
@click.option("--ignore-unsigned", is_flag=True, help="Accept files that were added since.")
@path_options
@click.option(
    "--cached", is_flag=True, help="Trust the cache of digests for files that are unchanged."
)
@format_option("text or json.")
@OUTPUT_OPTION
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.pass_context
def command(ctx: click.Context, /, source: str, **given: Any) -> None:
    """Verify a model: does its signature hold, and is every file what was signed.

    Every file that was changed, renamed, added or removed is named. All bytes are read again,
    unless --cached. Exit codes: 0 verified, 1 does not verify, 2 wrong usage, 3 unreadable.

    \b
    steelyard verify ./model --key publisher.pem
    steelyard verify ./model --certificate-chain root.pem
    steelyard verify ./model --identity me@example.com --identity-provider https://accounts.google.com
    """  # noqa: D301  click looks for the backspace character itself
    from steelyard.cli.context import resolve
    from steelyard.cli.outputs import targets, write
    from steelyard.cli.progress import TerminalProgress
    from steelyard.sealing.verifying import verify

    to = targets(given["formats"], given["outputs"], FORMATS, _BY_SUFFIX)
    take_turns()
    settings = resolve({}).settings
    trust = _trust(given, offline=settings.offline)
    with TerminalProgress(quiet=given["quiet"]) as progress:
        said = verify(
            source,
            trust,
            signature=given["signature"],
            ignore=given["ignored"],
            ignore_unsigned=given["ignore_unsigned"],
            allow_symlinks=given["allow_symlinks"],
            cache=cache_of(settings) if given["cached"] else None,
            progress=progress,
        )
    write(said, to, FORMATS)
    ctx.exit(0 if said.verified else EXIT_FINDINGS)


def _trust(given: dict[str, Any], *, offline: bool) -> Trust:
    """Return whom the options tell to trust, one of three.

    Raises:
        ConfigError: If they name none or more than one.
    """
    from steelyard.errors import ConfigError
    from steelyard.sealing.openssf import CertificateTrust, KeyTrust, SigstoreTrust

    sigstore = bool(given["identity"] or given["identity_provider"])
    if sum((given["key"] is not None, bool(given["chain"]), sigstore)) != 1:
        raise ConfigError(
            "say once whose signature is believed",
            why="a signature by nobody in particular shows nothing",
            fix="--key PUB.pem, --certificate-chain ROOT.pem, or --identity NAME "
            "--identity-provider URL",
        )
    if given["staging"] and not sigstore:
        raise ConfigError("--staging goes with --identity")
    if given["key"] is not None:
        return KeyTrust(given["key"])
    if given["chain"]:
        return CertificateTrust(tuple(given["chain"]))
    if not (given["identity"] and given["identity_provider"]):
        raise ConfigError("--identity and --identity-provider go together")
    if offline:
        raise ConfigError("Sigstore needs the network", why="offline mode is on")
    return SigstoreTrust(given["identity"], given["identity_provider"], given["staging"])
