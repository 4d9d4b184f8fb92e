"""A file on a web server: found, measured, read in parts."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import SourceError, SourceNotFound, Truncated
from steelyard.sources import ranged
from steelyard.sources.http import UrlSource, file_name
from steelyard.sources.network import Network
from steelyard.sources.ranged import BLOCK, DIRECT
from tests.sources.file_server import FileServer
from tests.sources.remote import BIG, SIZE, SMALL, read_all
from tests.sources.serving import Fault, Stored

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


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


class TestAddresses:
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
