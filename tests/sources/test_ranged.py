"""Ranges that a server sends, or says that it sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steelyard.errors import SourceError, SourceNotFound
from steelyard.sources.http import UrlSource
from steelyard.sources.network import Network
from steelyard.sources.ranged import WHOLE, Blocks, Version
from tests.sources.file_server import FileServer
from tests.sources.remote import BIG, SIZE, SMALL, read_all
from tests.sources.serving import Fault, Stored

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


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
