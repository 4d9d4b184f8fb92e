"""Requests to servers that may be slow, broken or hostile.

`Web` wraps one `httpx` client with the manners that every remote source needs: encrypted
connections only (plain http to this very machine excepted), a bounded number of redirects, none
of them from https to http or from elsewhere to this machine, the hub token to the hub's own
origin and to nobody else, a bound on every body before it is read, a deadline on every request,
and retries with growing pauses for what may pass (RFC 9110 sections 15.4 to 15.6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import httpx

from steelyard.errors import AccessDenied, SourceError, SourceNotFound, SourceOffline
from steelyard.sources.network import Network, Tally
from steelyard.sources.paths import printable

MAX_REDIRECTS = 8
"""Most redirects followed for one request."""
MAX_PAUSE = 30.0
"""Longest pause in seconds before a retry, whatever the server asks for."""
_FIRST_PAUSE = 0.5
_DEADLINE_FACTOR = 10
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Passing(Exception):  # noqa: N818  a signal between two functions, not an error
    """A failure that may pass: the error to raise if it does not, and the pause it asks for."""

    def __init__(self, error: SourceError, pause: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.pause = pause


def checked_url(text: str) -> httpx.URL:
    """Return `text` as the address of a server that may be asked.

    Raises:
        SourceError: If it is malformed, carries a password, or is not encrypted.
    """
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:
        raise SourceError(
            "is not a usable address", why=str(error), fix="check it", file=printable(text)
        ) from error
    if url.userinfo:
        raise SourceError(
            "the address carries a user name or password",
            why="it would end up in reports",
            fix="download the file with a tool that keeps credentials, and name the local copy",
            file=shown(url),
        )
    port_is_valid = url.port is None or 0 < url.port < 2**16
    if not host or not port_is_valid:
        raise SourceError(
            "is not a usable address",
            why="it names no host, or a port that cannot be",
            fix="check it",
            file=shown(url),
        )
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url)):
        raise SourceError(
            "only https:// addresses are read",
            why="plain http can be changed on its way; it is allowed to this machine only",
            fix="use https://, or download the file and name the local copy",
            file=shown(url),
        )
    return url


def is_loopback(url: httpx.URL) -> bool:
    """Tell whether an address is on this very machine."""
    if url.host == "localhost":
        return True
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return False


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port: what must be equal for a secret to be shared."""
    return url.scheme, url.host, url.port


def shown(url: httpx.URL) -> str:
    """Return the address for messages, without its query, which may hold a signature."""
    return printable(str(url.copy_with(query=None, fragment=None, userinfo=b"")))


def refusal(response: httpx.Response) -> SourceError:
    """Return the error that a status stands for, when it stands for one."""
    status, where = response.status_code, shown(response.url)
    why = f"the server answers {status} {printable(response.reason_phrase)}".rstrip()
    if status in {401, 403}:
        fix = "check that the address is public and not expired, or download the file yourself"
        return AccessDenied("may not be read", why=why, fix=fix, file=where)
    if status in {404, 410}:
        return SourceNotFound("there is no such file", why=why, fix="check it", file=where)
    if status == 429:
        fix = "wait some minutes and run again; a token (HF_TOKEN) raises a hub's limits"
        return SourceError("the server is asked too often", why=why, fix=fix, file=where)
    fix = "try again later; if it stays so, tell whoever runs the server"
    return SourceError("the server does not give the file", why=why, fix=fix, file=where)


class Web:
    """Ask servers for bytes. Thread-safe, as its client is."""

    def __init__(
        self, network: Network, tally: Tally, token_origin: httpx.URL | None = None
    ) -> None:
        self._network = network
        self._tally = tally
        self._token_origin = None if token_origin is None else origin(token_origin)
        try:
            self._client = httpx.Client(
                follow_redirects=False,
                timeout=network.timeout,
                verify=network.certificates(),
                headers={"User-Agent": "steelyard", "Accept-Encoding": "identity"},
            )
        except (ImportError, ValueError, httpx.InvalidURL, OSError) as error:
            raise SourceOffline(
                "cannot set up a connection",
                why=str(error),
                fix="check the proxy and certificate settings (HTTPS_PROXY, SSL_CERT_FILE)",
            ) from error

    def ask(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        room: Callable[[httpx.Response], int],
    ) -> tuple[httpx.Response, bytes]:
        """Send a request, follow redirects, and read a bounded part of the body.

        Args:
            method: `HEAD` or `GET`.
            url: An address that `checked_url` returned.
            headers: What to send besides the usual; never credentials.
            room: Says from the status and headers how many bytes of the body are wanted; may
                raise a `SourceError` to refuse the answer.

        Returns:
            The response, whose status may be anything that is not a redirect, and the body's
            first bytes, at most as many as `room` said.

        Raises:
            SourceOffline: If the server cannot be reached.
            SourceError: If it fails again and again, or breaks a rule.
        """
        pause = _FIRST_PAUSE
        for left in range(self._network.retries, -1, -1):
            try:
                return self._follow(method, url, headers, room)
            except _Passing as failure:
                if not left:
                    raise failure.error from failure.__cause__
                self._network.sleep(min(failure.pause or pause, MAX_PAUSE))
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _follow(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        room: Callable[[httpx.Response], int],
    ) -> tuple[httpx.Response, bytes]:
        for _ in range(MAX_REDIRECTS + 1):
            with _translated(url), self._send(method, url, headers) as response:
                if response.status_code not in _REDIRECTS:
                    self._check_passing(response)
                    return response, self._body(response, room(response))
                url = next_hop(url, response.headers.get("Location", ""))
        raise SourceError(
            f"redirects more than {MAX_REDIRECTS} times",
            why="the server sends each request elsewhere",
            fix="open the address in a browser and copy where it ends",
            file=shown(url),
        )

    @contextmanager
    def _send(
        self, method: str, url: httpx.URL, headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        sent = dict(headers)
        if self._network.token and origin(url) == self._token_origin:
            sent["Authorization"] = f"Bearer {self._network.token}"
        self._tally.add_request()
        with self._client.stream(method, url, headers=sent) as response:
            yield response

    def _body(self, response: httpx.Response, room: int) -> bytes:
        body = bytearray()
        deadline = self._network.clock() + self._network.timeout * _DEADLINE_FACTOR
        chunks = response.iter_raw() if room else iter(())
        for chunk in chunks:
            self._tally.add_bytes(len(chunk))
            body += chunk
            if len(body) >= room:
                break
            if self._network.clock() > deadline:
                raise _Passing(_too_slow(response.url))
        return bytes(body[:room])

    @staticmethod
    def _check_passing(response: httpx.Response) -> None:
        if response.status_code in _PASSING_STATUS:
            asked = response.headers.get("Retry-After", "")
            pause = float(asked) if asked.isascii() and asked.isdigit() else None
            raise _Passing(refusal(response), pause)


@contextmanager
def _translated(url: httpx.URL) -> Iterator[None]:
    """Turn the client's exceptions into ours, those that may pass into `_Passing`."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        offline = SourceOffline(
            "cannot reach the server",
            why=str(error) or "it does not answer",
            fix="check the network and the proxy settings, or name a local copy",
            file=shown(url),
        )
        raise _Passing(offline) from error
    except httpx.TimeoutException as error:
        raise _Passing(_too_slow(url)) from error
    except httpx.HTTPError as error:
        broken = SourceError(
            "the connection broke",
            why=str(error) or type(error).__name__,
            fix="try again; if it stays so, download the file and name the local copy",
            file=shown(url),
        )
        raise _Passing(broken) from error


def _too_slow(url: httpx.URL) -> SourceError:
    return SourceError(
        "the server takes too long",
        why="it sent nothing, or too little, within the time allowed",
        fix="try again, allow more time (--timeout), or download the file first",
        file=shown(url),
    )


def next_hop(url: httpx.URL, location: str) -> httpx.URL:
    """Return where a redirect from `url` leads.

    Raises:
        SourceError: If it may not be followed.
    """
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise _bad_redirect(url, "its target is malformed") from error
    if url.scheme == "https" and target.scheme != "https":
        raise _bad_redirect(url, f"it leads from https to {printable(target.scheme)}")
    if is_loopback(target) and not is_loopback(url):
        raise _bad_redirect(url, "it leads from another machine to this one")
    if target.userinfo:
        raise _bad_redirect(url, "its target carries a password")
    return checked_url(str(target))


def _bad_redirect(url: httpx.URL, why: str) -> SourceError:
    return SourceError(
        "the server redirects to where a reader may not follow",
        why=why,
        fix="tell whoever runs the server, or download the file from elsewhere",
        file=shown(url),
    )
