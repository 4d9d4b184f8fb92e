"""One file at an https address, read in ranges and never downloaded whole.

The address is asked once for the file's length, with HEAD, or where that is refused with a range
request for the first byte. From then on every read is a range request to the place where the
redirects ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import httpx

from steelyard.errors import SourceError
from steelyard.sources.base import SkippedFile, SourceFile
from steelyard.sources.network import Network, Tally
from steelyard.sources.paths import no_such_file, path_trouble
from steelyard.sources.ranged import (
    WHOLE,
    Blocks,
    Place,
    RangedReader,
    RemoteFile,
    Version,
    check_plain,
    content_range,
    no_ranges,
)
from steelyard.sources.web import Web, checked_url, refusal, shown

_NAMELESS = "download"
_LONGEST = 2**63 - 1


class UrlSource:
    """One file on a web server, as a `Source`.

    Args:
        spec: The address.
        network: How to reach it.

    Raises:
        SourceError: If the address cannot be used, or the server does not give the file.
    """

    kind = "url"
    revision: str | None = None

    def __init__(self, spec: str, network: Network) -> None:
        self.spec = spec
        url = checked_url(spec)
        self._tally = Tally()
        self._web = Web(network, self._tally)
        self._blocks = Blocks()
        name = file_name(url)
        try:
            self._remote = RemoteFile(self._web, name, url, find(self._web, url))
        except SourceError:
            self._web.close()
            raise
        self._files = (SourceFile(name, self._remote.size),)

    @property
    def files(self) -> Sequence[SourceFile]:
        """The one file."""
        return self._files

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """Nothing."""
        return ()

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far, repeated and surplus ones included."""
        return self._tally.bytes

    @property
    def requests(self) -> int:
        """Requests sent so far, redirects and retries included."""
        return self._tally.requests

    def open(self, path: str) -> RangedReader:
        """Open the file for ranged reads.

        Raises:
            SourceNotFound: If `path` is not its name.
        """
        if path != self._remote.name:
            raise no_such_file(self.spec, path)
        return RangedReader(self._remote, self._blocks)

    def local_path(self, path: str) -> Path | None:  # noqa: ARG002  the protocol's signature
        """Return None: the bytes are remote."""
        return None

    def close(self) -> None:
        """Close the connections."""
        self._web.close()


def find(web: Web, url: httpx.URL) -> Place:
    """Find out where a file's bytes are and how many.

    Raises:
        AccessDenied: If the server wants credentials.
        SourceNotFound: If there is no such file.
        SourceError: If its length cannot be found out.
    """
    response, _ = web.ask("HEAD", url, {}, lambda _: 0)
    size = _length(response)
    if response.status_code == 200 and size is not None:
        return Place(response.url, size, Version.of(response))
    if response.status_code in {404, 410}:
        raise refusal(response)
    return _probe(web, url)


def file_name(url: httpx.URL) -> str:
    """Return the last part of an address's path as a file name that is safe to show."""
    name = unquote(url.raw_path.decode("ascii", "replace").split("?")[0].rsplit("/", 1)[-1])
    return _NAMELESS if path_trouble(name) or "/" in name else name


def _probe(web: Web, url: httpx.URL) -> Place:
    """Ask for the first byte, which says the length of the whole (RFC 9110 section 14.4)."""

    def room(response: httpx.Response) -> int:
        if response.status_code == 206:
            return 1
        whole = response.status_code == 200 and _length(response) is None
        return WHOLE + 1 if whole else 0

    response, body = web.ask("GET", url, {"Range": "bytes=0-0"}, room)
    status = response.status_code
    if status == 416 and response.headers.get("Content-Range", "").strip() == "bytes */0":
        return Place(response.url, 0, Version.of(response))
    if status not in {200, 206}:
        raise refusal(response)
    check_plain(response, shown(url))
    size = _length(response) if status == 200 else content_range(response)[2]
    if size is None and status == 200 and len(body) <= WHOLE:
        size = len(body)
    if size is None:
        raise no_ranges(shown(url), None)
    return Place(response.url, size, Version.of(response))


def _length(response: httpx.Response) -> int | None:
    """Return the stated length of a whole plain body; None when it is not stated."""
    text = response.headers.get("Content-Length", "")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity" or not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return min(int(text), _LONGEST)
