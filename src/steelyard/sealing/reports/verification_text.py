"""A verification for a terminal: the verdict first, then every file that differs."""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.checkpoints.signatures import Method, SignedManifest
from steelyard.reports.text import counted, plain
from steelyard.sealing.reports.changes import change_lines, left_by_the_hub
from steelyard.sealing.verifying import Verification

_METHODS = {
    Method.KEY: "a key",
    Method.CERTIFICATE: "a certificate",
    Method.SIGSTORE: "a Sigstore identity",
}


def render(said: Verification, *, width: int = 80, color: bool = False) -> str:
    """Return the verification as text; `width` and `color` change nothing, as it is a list."""
    del width, color
    return "\n".join(_lines(said)) + "\n"


def _lines(said: Verification) -> Iterator[str]:
    if said.refused is not None:
        yield f"does not verify: the signature does not hold: {plain(said.refused, 300)}"
        yield f"  signature  {plain(str(said.signature), 300)}"
        yield "  No file was looked at: what the signature lists is anybody's word."
        return
    if said.verified:
        yield f"verified: {counted(said.files, _part(said.signed))} as they were signed"
    else:
        count = len(said.changes)
        yield f"does not verify: {counted(count, _part(said.signed))} not as they were signed"
        for what, name in change_lines(said.changes, said.why):
            yield f"  {what:<9}  {name}"
    yield f"  signed     with {_METHODS[said.signed.method]}, root sha256:{said.signed.root}"
    if said.ignored:
        names = plain(", ".join(said.ignored), 500)
        yield f"  not looked at  {names}"
    if not said.verified:
        if left_by_the_hub(said.changes):
            yield "  .cache/huggingface is left by hf download: --ignore .cache passes it over"
        yield "  fix: download the files again; if they differ still, do not load them"


def _part(signed: SignedManifest) -> str:
    return "part" if signed.serialization.get("method") == "shards" else "file"
