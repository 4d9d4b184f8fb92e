"""Ranged reads of files on web servers, honest and not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import (
    AccessDenied,
    SourceError,
    SourceNotFound,
    SourceOffline,
    SteelyardError,
    Truncated,
)
from steelyard.sources import ranged
from steelyard.sources.http import UrlSource, file_name
from steelyard.sources.network import Network, Tally
from steelyard.sources.ranged import BLOCK, DIRECT, WHOLE, Blocks, Version
from steelyard.sources.web import MAX_PAUSE, Web, checked_url, next_hop
from tests.sources.hub_server import Fault, FileServer, Stored

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]

SIZE = 9 * 1024 * 1024 + 17
BIG = bytes(range(251)) * (SIZE // 251) + bytes(SIZE % 251)
SMALL = b"small file"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"/big.gguf": BIG, "/dir/small.txt": SMALL, "/empty": b""}) as server:
        yield server


def read_all(source: UrlSource, offset: int = 0, length: int | None = None) -> bytes:
    with source.open(source.files[0].path) as reader:
        return reader.read(offset, reader.size - offset if length is None else length)


class TestHonestServer:
    def test_lists_the_one_file(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/big.gguf"), network)
        assert [(file.path, file.size) for file in source.files] == [("big.gguf", SIZE)]
        assert (source.kind, source.revision, source.skipped) == ("url", None, ())
        assert source.local_path("big.gguf") is None
        assert (source.bytes_read, source.requests) == (0, 1)
        with pytest.raises(SourceNotFound):
            source.open("other")
        source.close()

    def test_reads_only_what_is_asked_for(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/big.gguf"), network)
        with source.open("big.gguf") as reader:
            assert reader.read(0, 8) == BIG[:8]
            assert bytes(reader.view(8, 1000)) == BIG[8:1008]
            assert reader.read(SIZE - 5, 5) == BIG[-5:]
            assert reader.read(3, 0) == b""
        tail = SIZE % BLOCK
        assert source.bytes_read == BLOCK + tail == sum(each.sent for each in server.requests)
        assert source.requests == len(server.requests) == 3
        with source.open("big.gguf") as again:
            assert again.read(100, 100) == BIG[100:200]
        assert source.requests == 3
        source.close()

    def test_sequential_reads_fetch_ahead(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/big.gguf"), network)
        with source.open("big.gguf") as reader:
            for offset in range(0, 4 * 1024 * 1024, 32 * 1024):
                assert reader.read(offset, 32 * 1024) == BIG[offset : offset + 32 * 1024]
        assert source.requests < 12
        source.close()

    def test_long_reads(
        self, server: FileServer, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ranged, "PIECE", 1024 * 1024)
        source = UrlSource(server.url("/big.gguf"), network)
        assert read_all(source, 1, DIRECT + 1) == BIG[1 : DIRECT + 2]
        assert source.requests == 1 + 5
        source.close()

    def test_outside_is_truncated(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/dir/small.txt"), network)
        with source.open("small.txt") as reader:
            for offset, length in ((0, 11), (11, 0), (-1, 1), (2**80, 1)):
                with pytest.raises(Truncated):
                    reader.read(offset, length)
        with pytest.raises(SourceError, match="closed"):
            reader.read(0, 1)
        source.close()

    def test_empty_file(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/empty"), network)
        assert read_all(source) == b""
        source.close()

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        ranges=st.lists(
            st.tuples(st.integers(0, 700_000), st.integers(0, 300_000)), min_size=1, max_size=6
        )
    )
    def test_any_reads_agree_with_slices(
        self, server: FileServer, network: Network, ranges: list[tuple[int, int]]
    ) -> None:
        server.files.setdefault("/some", Stored.of(BIG[:1_000_000]))
        source = UrlSource(server.url("/some"), network)
        with source.open("some") as reader:
            for offset, length in ranges:
                assert reader.read(offset, length) == BIG[offset : offset + length]
        source.close()


class TestFindingTheSize:
    @pytest.mark.parametrize("status", [403, 405, 501])
    def test_head_is_refused(self, server: FileServer, network: Network, status: int) -> None:
        server.faults.append(Fault(method="HEAD", status=status))
        source = UrlSource(server.url("/big.gguf"), network)
        assert source.files[0].size == SIZE
        assert [each.method for each in server.requests] == ["HEAD", "GET"]
        assert server.requests[1].sent == 1
        source.close()

    def test_head_is_refused_for_an_empty_file(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(method="HEAD", status=405))
        source = UrlSource(server.url("/empty"), network)
        assert read_all(source) == b""
        source.close()

    def test_no_length_at_all(self, server: FileServer, network: Network) -> None:
        silent = {"Content-Length": "", "Connection": "close"}
        server.faults.append(Fault(ignore_range=True, headers=silent))
        source = UrlSource(server.url("/dir/small.txt"), network)
        assert read_all(source) == SMALL
        source.close()

    def test_no_length_and_too_long(
        self, server: FileServer, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("steelyard.sources.http.WHOLE", 1000)
        silent = {"Content-Length": "", "Connection": "close"}
        server.faults.append(Fault(ignore_range=True, headers=silent))
        with pytest.raises(SourceError, match="cannot send parts"):
            UrlSource(server.url("/big.gguf"), network)

    def test_compressed_lengths_are_not_believed(
        self, server: FileServer, network: Network
    ) -> None:
        server.faults.append(Fault(headers={"Content-Encoding": "gzip"}))
        with pytest.raises(SourceError, match="compresses"):
            UrlSource(server.url("/big.gguf"), network)

    @pytest.mark.parametrize("length", ["-1", "1e3", "\u00b2", "9" * 30])
    def test_nonsense_lengths(self, server: FileServer, network: Network, length: str) -> None:
        server.faults.append(Fault(method="HEAD", headers={"Content-Length": length}))
        try:
            source = UrlSource(server.url("/big.gguf"), network)
        except SourceError:
            return
        assert source.files[0].size == SIZE
        source.close()


class TestDishonestServer:
    """Whatever a server does, a `SourceError` comes out, or the right bytes."""

    def test_ignores_ranges_of_a_small_file(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(ignore_range=True))
        source = UrlSource(server.url("/dir/small.txt"), network)
        assert read_all(source, 2, 3) == SMALL[2:5]
        assert read_all(source, 0, 10) == SMALL
        assert source.requests == 2
        source.close()

    def test_ignores_ranges_of_a_large_file(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(ignore_range=True, claim_size=WHOLE + 1))
        source = UrlSource(server.url("/big.gguf"), network)
        with pytest.raises(SourceError, match="cannot send parts") as caught:
            read_all(source, 0, 10)
        assert "download" in caught.value.fix
        assert source.bytes_read == 0
        source.close()

    @pytest.mark.parametrize("claimed", [SIZE - 1, SIZE + 1, 2**62, 5])
    def test_lies_about_the_size(self, server: FileServer, network: Network, claimed: int) -> None:
        server.faults.append(Fault(method="HEAD", claim_size=claimed))
        source = UrlSource(server.url("/big.gguf"), network)
        with pytest.raises(SourceError, match="changed on the server"):
            read_all(source, 0, 5)
        source.close()

    def test_lies_about_the_size_all_along(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(claim_size=2**50))
        hurried = replace(network, timeout=0.2, retries=0)
        source = UrlSource(server.url("/dir/small.txt"), hurried)
        with pytest.raises(SourceError):
            read_all(source, 2**40, 5)
        with pytest.raises(SourceError):
            read_all(source, 0, 10)
        source.close()

    @pytest.mark.parametrize("range_", ["bytes 1-10/{}", "bytes 0-8/{}", "bytes 0-99/{}"])
    def test_sends_another_range(self, server: FileServer, network: Network, range_: str) -> None:
        headers = {"Content-Range": range_.format(len(SMALL))}
        server.faults.append(Fault(method="GET", headers=headers))
        source = UrlSource(server.url("/dir/small.txt"), network)
        with pytest.raises(SourceError, match="not the range"):
            read_all(source)
        source.close()

    @pytest.mark.parametrize("range_", ["", "items 0-9/10", "bytes 0-9", "bytes a-b/c"])
    def test_sends_an_unnamed_range(
        self, server: FileServer, network: Network, range_: str
    ) -> None:
        server.faults.append(Fault(method="GET", headers={"Content-Range": range_}))
        source = UrlSource(server.url("/dir/small.txt"), network)
        with pytest.raises(SourceError, match="without saying which"):
            read_all(source)
        source.close()

    def test_sends_fewer_bytes_than_it_says(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(method="GET", headers={"Content-Length": "4"}))
        source = UrlSource(server.url("/dir/small.txt"), network)
        with pytest.raises(SourceError, match="not the range"):
            read_all(source)
        source.close()

    def test_breaks_off(self, server: FileServer, network: Network, pauses: list[float]) -> None:
        server.faults.append(Fault(method="GET", cut=4, times=2))
        source = UrlSource(server.url("/dir/small.txt"), network)
        assert read_all(source) == SMALL
        assert len(pauses) == 2
        server.faults.append(Fault(method="GET", cut=1000))
        source = UrlSource(server.url("/big.gguf"), network)
        with pytest.raises(SourceError, match="connection broke"):
            read_all(source, 0, 2000)
        source.close()

    def test_file_changes_between_reads(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/big.gguf"), network)
        assert read_all(source, 0, 5) == BIG[:5]
        server.files["/big.gguf"] = Stored.of(bytes(SIZE))
        with pytest.raises(SourceError, match="changed on the server"):
            read_all(source, SIZE - 5, 5)
        source.close()

    def test_file_changes_without_an_entity_tag(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(headers={"ETag": ""}))
        source = UrlSource(server.url("/big.gguf"), network)
        assert read_all(source, 0, 5) == BIG[:5]
        server.faults[0].headers = {"ETag": "", "Last-Modified": "Mon, 23 Nov 2026 00:00:00 GMT"}
        with pytest.raises(SourceError, match="changed on the server"):
            read_all(source, SIZE - 5, 5)
        source.close()

    def test_file_grows(self, server: FileServer, network: Network) -> None:
        server.faults.append(Fault(headers={"ETag": "", "Last-Modified": ""}))
        source = UrlSource(server.url("/big.gguf"), network)
        server.files["/big.gguf"] = Stored.of(BIG + b"more")
        with pytest.raises(SourceError, match=f"now has {SIZE + 4}"):
            read_all(source, 0, 5)
        source.close()

    def test_file_goes_away(self, server: FileServer, network: Network) -> None:
        source = UrlSource(server.url("/big.gguf"), network)
        del server.files["/big.gguf"]
        with pytest.raises(SourceNotFound):
            read_all(source, 0, 5)
        source.close()


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

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://h/a/model.gguf?download=true", "model.gguf"),
            ("https://h/a%20b.gguf", "a b.gguf"),
            ("https://h/", "download"),
            ("https://h", "download"),
            ("https://h/..%2F..%2Fetc", "download"),
            ("https://h/%00", "download"),
            ("https://h/%1b%5b2J", "download"),
            ("https://h/%ff", "\ufffd"),
        ],
    )
    def test_file_names(self, url: str, name: str) -> None:
        assert file_name(httpx.URL(url)) == name


class TestPieces:
    def test_blocks_are_bounded(self) -> None:
        blocks = Blocks(memory=100)
        for index in range(10):
            blocks.put("f", index, bytes(30))
        assert [index for index in range(10) if blocks.get("f", index)] == [7, 8, 9]
        blocks.get("f", 7)
        blocks.put("f", 10, bytes(30))
        assert blocks.get("f", 7)
        assert blocks.get("f", 8) is None
        blocks.put("f", 7, bytes(10))
        blocks.put("f", 11, bytes(20))
        assert [index for index in range(12) if blocks.get("f", index)] == [7, 9, 10, 11]

    def test_versions(self) -> None:
        assert not Version('W/"a"', "x").differs(Version('"a"', "y"))
        assert Version('"a"').differs(Version('"b"'))
        assert Version(None, "x").differs(Version('"b"', "y"))
        assert not Version().differs(Version('"b"', "y"))
