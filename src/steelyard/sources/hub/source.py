"""A repository on a hub, read in place: listed by its API, its files read in ranges.

The revision is pinned first: whatever branch or tag was named, all reads are of the one commit
that it stood for. `huggingface_hub` speaks the hub's protocol (what a revision is, where a
file's bytes are); the bytes are then read by `RangedReader`, so nothing is downloaded into a
cache. The token goes to the hub's origin only, never to the storage that it redirects to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

from steelyard.errors import AccessDenied, SourceError, SourceNotFound
from steelyard.sources.base import SkippedFile, SourceFile
from steelyard.sources.hub.errors import may_pass, translate
from steelyard.sources.hub.listing import from_info, from_tree, list_files
from steelyard.sources.hub.spec import HubSpec
from steelyard.sources.network import DEFAULT_ENDPOINT, Network, Tally
from steelyard.sources.paths import no_such_file
from steelyard.sources.ranged import Blocks, Place, RangedReader, RemoteFile, Version
from steelyard.sources.web import Web, checked_url, next_hop

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIRST_PAUSE = 0.5
T = TypeVar("T")


class HubSource:
    """One commit of a hub repository, or one file of it, as a `Source`.

    Args:
        spec: `hf://org/name[@revision][/file]`.
        network: How to reach the hub; its token is the only one used, even if this machine
            has another one stored.

    Raises:
        SourceError: If the repository, revision or file cannot be read; its `fix` names the page
            to visit or the command to run.
    """

    kind = "hub"

    def __init__(self, spec: str, network: Network) -> None:
        self.spec = spec
        self._hub_spec = HubSpec.parse(spec)
        self._network = network
        self._endpoint = checked_url((network.endpoint or DEFAULT_ENDPOINT).rstrip("/"))
        _check_token(network.token)
        self._tally = Tally()
        self._web = Web(network, self._tally, self._endpoint)
        self._blocks = Blocks()
        self._remotes: dict[str, RemoteFile] = {}
        try:
            self.revision: str | None = self._list()
        except SourceError:
            self._web.close()
            raise

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files of the commit, sorted by path; those of Git LFS with their SHA-256."""
        return self._files

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """What the hub lists but no reader should touch, sorted by path."""
        return self._skipped

    @property
    def bytes_read(self) -> int:
        """Bytes of files fetched so far, and of tree pages where the listing needs them."""
        return self._tally.bytes

    @property
    def requests(self) -> int:
        """Requests sent so far, redirects and retries included."""
        return self._tally.requests

    def open(self, path: str) -> RangedReader:
        """Open a listed file for ranged reads.

        Raises:
            SourceNotFound: If `path` is not among `files`.
            AccessDenied: If the repository is gated and the token does not open it (of the first
                file; of others, reading tells).
            SourceError: If the hub does not say where its bytes are.
        """
        listed = self._by_path.get(path)
        if listed is None:
            raise no_such_file(self.spec, path)
        if path not in self._remotes:
            self._remotes[path] = self._remote(listed)
        return RangedReader(self._remotes[path], self._blocks)

    def local_path(self, path: str) -> Path | None:  # noqa: ARG002  the protocol's signature
        """Return None: the bytes are remote."""
        return None

    def close(self) -> None:
        """Close the connections."""
        self._web.close()

    def _list(self) -> str:
        """List the files and return the commit that they are of."""
        wanted = self._hub_spec
        api = HfApi(endpoint=str(self._endpoint), token=self._token, library_name="steelyard")
        info = self._call(
            lambda: api.model_info(
                wanted.repo,
                revision=wanted.revision,
                files_metadata=True,
                timeout=self._network.timeout,
            )
        )
        commit = info.sha
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._strange("it does not say which commit the revision is")
        raw = from_info(info)
        if raw is None:
            raw = list(from_tree(self._web, self._endpoint, wanted, commit))
        self._by_path, skipped = list_files(raw)
        if wanted.file is not None:
            if wanted.file not in self._by_path:
                raise self._no_file(wanted.file)
            self._by_path = {wanted.file: self._by_path[wanted.file]}
            skipped = []
        self._files = tuple(self._by_path[path] for path in sorted(self._by_path))
        self._skipped = tuple(sorted(skipped, key=lambda each: (each.path, each.reason)))
        return commit

    def _remote(self, listed: SourceFile) -> RemoteFile:
        """Return a file of the commit; where its bytes are, the hub says when they are read.

        Of the first one it is asked before: the hub's client knows why the hub refuses a
        repository, and what to do about it.
        """
        home = checked_url(
            hf_hub_url(
                self._hub_spec.repo,
                listed.path,
                revision=self.revision,
                endpoint=str(self._endpoint),
            )
        )
        url = home if self._remotes else self._resolved(listed, home)
        place = Place(url, listed.size, Version())
        return RemoteFile(self._web, listed.path, home, place, pinned=True)

    def _resolved(self, listed: SourceFile, home: httpx.URL) -> httpx.URL:
        """Ask the hub where a file's bytes are."""
        facts = self._call(
            lambda: get_hf_file_metadata(
                str(home),
                token=self._token,
                timeout=self._network.timeout,
                endpoint=str(self._endpoint),
            )
        )
        if facts.commit_hash not in {None, self.revision}:
            raise self._strange(f"{listed.path} is of another commit than was asked for")
        if facts.size not in {None, listed.size}:
            raise self._strange(f"{listed.path} is listed with {listed.size} bytes, but has others")
        return next_hop(home, facts.location)

    def _call(self, action: Callable[[], T]) -> T:
        """Run a call of the hub client, again if its failure may pass, with our errors."""
        pause = _FIRST_PAUSE
        for left in range(self._network.retries, -1, -1):
            self._tally.add_request()
            try:
                return action()
            except Exception as error:  # a foreign client, on hostile answers: any kind
                if not (left and may_pass(error)):
                    has_token = bool(self._network.token)
                    endpoint = str(self._endpoint)
                    raise translate(error, self._hub_spec, endpoint, has_token=has_token) from error
                self._network.sleep(pause)
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    @property
    def _token(self) -> str | bool:
        """The token; False keeps the hub client from looking for one on this machine."""
        return self._network.token or False

    def _strange(self, why: str) -> SourceError:
        return SourceError(
            "the hub contradicts itself",
            why=why,
            fix=f"check that HF_ENDPOINT ({self._endpoint}) is a hub, and try again",
            file=self.spec,
        )

    def _no_file(self, file: str) -> SourceNotFound:
        repo, revision = self._hub_spec.repo, self._hub_spec.revision or "main"
        return SourceNotFound(
            f"the repository has no file {file}",
            why="a folder cannot be named, only a file or the whole repository",
            fix=f"see its files at {self._endpoint}/{repo}/tree/{revision}",
            file=self.spec,
        )


def _check_token(token: str | None) -> None:
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{1,4096}", token):
        raise AccessDenied(
            "the hub token is not one",
            why="it is empty, or holds spaces, line breaks or other characters no token has",
            fix="set HF_TOKEN to the token alone, or unset it",
        )
