"""Requests: refusals, pauses, redirects, addresses."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from steelyard.errors import (
    AccessDenied,
    SourceError,
    SourceNotFound,
    SourceOffline,
    SteelyardError,
)
from steelyard.sources.http import UrlSource
from steelyard.sources.network import Network, Tally
from steelyard.sources.web import MAX_PAUSE, Web, checked_url, next_hop
from tests.sources.file_server import FileServer
from tests.sources.remote import BIG, SMALL, read_all
from tests.sources.serving import Fault

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, AccessDenied),
            (403, AccessDenied),
            (404, SourceNotFound),
            (410, SourceNotFound),
            (418, SourceError),
            (429, SourceError),
            (500, SourceError),
            (503, SourceError),
        ],
    )
    def test_statuses(
        self, server: FileServer, network: Network, status: int, kind: type[SteelyardError]
    ) -> None:
        server.faults.append(Fault(status=status))
        with pytest.raises(kind) as caught:
            UrlSource(server.url("/big.gguf") + "?signature=secret", network)
        assert str(status) in caught.value.why
        assert caught.value.fix
        assert "secret" not in str(caught.value)

    def test_failures_that_pass(
        self, server: FileServer, network: Network, pauses: list[float]
    ) -> None:
        server.faults += [Fault(status=500, times=1), Fault(status=503, times=1)]
        source = UrlSource(server.url("/dir/small.txt"), network)
        assert read_all(source) == SMALL
        assert pauses == [0.5, 1.0]
        source.close()

    def test_failures_that_stay(
        self, server: FileServer, network: Network, pauses: list[float]
    ) -> None:
        server.faults.append(Fault(status=502))
        with pytest.raises(SourceError):
            UrlSource(server.url("/big.gguf"), network)
        assert len(pauses) == network.retries == len(server.requests) - 1

    def test_pauses_that_the_server_asks_for_are_bounded(
        self, server: FileServer, network: Network, pauses: list[float]
    ) -> None:
        server.faults.append(Fault("empty", status=429, times=1))
        source = UrlSource(server.url("/empty"), network)
        source.close()
        assert pauses == [0.5]
        web = Web(network, Tally())
        for asked, pause in (("7", 7.0), ("99999999", MAX_PAUSE), ("tomorrow", None)):
            response = httpx.Response(
                429, headers={"Retry-After": asked}, request=httpx.Request("GET", "https://h/")
            )
            with pytest.raises(Exception) as caught:  # noqa: PT011  a private signal
                web._check_passing(response)
            assert min(getattr(caught.value, "pause", None) or 0.5, MAX_PAUSE) == (pause or 0.5)
        web.close()

    def test_slow_servers(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(delay=0.3))
        hurried = replace(network, timeout=0.02, retries=1)
        with pytest.raises(SourceError, match="takes too long"):
            UrlSource(server.url("/big.gguf"), hurried)

    def test_servers_that_trickle(self, server: FileServer, network: Network) -> None:
        """Every chunk comes in time, but the whole does not."""
        times = iter(range(0, 10_000, 40))
        impatient = replace(network, timeout=5.0, retries=0, clock=lambda: float(next(times)))
        source = UrlSource(server.url("/big.gguf"), impatient)
        with pytest.raises(SourceError, match="takes too long"):
            read_all(source)
        source.close()

    def test_nobody_there(self, network: Network) -> None:
        with FileServer() as gone:
            url = gone.url("/x")
        with pytest.raises(SourceOffline, match="cannot reach"):
            UrlSource(url, network)


class TestRedirects:
    def test_are_followed_and_remembered(self, server: FileServer, network: Network) -> None:
        with FileServer() as front:
            front.faults.append(Fault(location=server.url("/big.gguf") + "?signature=secret"))
            source = UrlSource(front.url("/pretty/name.gguf"), network)
            assert source.files[0].path == "name.gguf"
            assert read_all(source, 0, 5) == BIG[:5]
            assert len(front.requests) == 1
            source.close()

    def test_expired_targets_are_asked_for_again(
        self, server: FileServer, network: Network
    ) -> None:
        with FileServer() as front:
            front.faults.append(Fault(location=server.url("/big.gguf")))
            source = UrlSource(front.url("/name"), network)
            server.faults.append(Fault(status=403, times=1))
            assert read_all(source, 0, 5) == BIG[:5]
            assert len(front.requests) == 2
            source.close()

    def test_are_bounded(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(location="/round"))
        with pytest.raises(SourceError, match="redirects more than"):
            UrlSource(server.url("/round"), network)
        assert len(server.requests) < 20

    @pytest.mark.parametrize(
        "target",
        ["http://example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/", "http://[", "https://"],
    )
    def test_to_anywhere_else_are_refused(
        self, server: FileServer, network: Network, target: str
    ) -> None:
        server.faults.append(Fault(location=target))
        with pytest.raises(SourceError):
            UrlSource(server.url("/big.gguf"), network)

    @pytest.mark.parametrize(
        ("start", "target"),
        [
            ("https://h.example/", "http://h.example/"),
            ("https://h.example/", "http://127.0.0.1/"),
            ("https://h.example/", "https://localhost/admin"),
            ("https://h.example/", "https://[::1]/"),
            ("https://h.example/", "https://user:password@h.example/"),
            ("https://h.example/", "//127.0.0.1/"),
        ],
    )
    def test_hops(self, start: str, target: str) -> None:
        with pytest.raises(SourceError):
            next_hop(httpx.URL(start), target)
        assert str(next_hop(httpx.URL(start), "/x")) == "https://h.example/x"

    def test_the_token_stays_with_its_host(self, server: FileServer, network: Network) -> None:
        with FileServer({"/own": SMALL}) as hub:
            hub.faults.append(Fault("away", location=server.url("/dir/small.txt")))
            known = replace(network, token="hf_secret")  # noqa: S106  not a secret
            web = Web(known, Tally(), httpx.URL(hub.endpoint))
            for path in ("/own", "/away"):
                web.ask("GET", httpx.URL(hub.url(path)), {}, lambda _: 0)
            web.close()
            assert {each.headers.get("authorization") for each in hub.requests} == {
                "Bearer hf_secret"
            }
            assert {each.headers.get("authorization") for each in server.requests} == {None}
            assert "hf_secret" not in repr(known)


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://example.org/model.gguf",
            "http://127.0.0.1.example.org/x",
            "https://user:password@example.org/x",
            "https:///x",
            "https://",
            "https://[::1",
            "https://host:99999999/",
            "ftp://127.0.0.1/x",
            "https://exa\nmple.org/",
        ],
    )
    def test_refused(self, url: str) -> None:
        with pytest.raises(SourceError) as caught:
            checked_url(url)
        assert "password@" not in str(caught.value)
