"""From what a user writes to a source, or to an error that helps."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import steelyard.sources
from steelyard.errors import SourceError, SourceNotFound, SourceOffline
from steelyard.sources.hub.source import HubSource
from steelyard.sources.network import Network
from steelyard.sources.opening import open_source
from tests.sources.hub_server import HubServer

COMMIT = "a" * 40


@pytest.fixture
def offline(network: Network, tmp_path: Path) -> Network:
    return replace(network, offline=True, cache_dir=tmp_path / "hub")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of `org/name` in the cache that `offline` knows."""
    repository = tmp_path / "hub" / "models--org--name"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / ("c" * 40)).write_bytes(b"{}")
    (folder / "config.json").symlink_to(f"../../blobs/{'c' * 40}")
    (folder / "README.md").write_bytes(b"read me")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return folder


class TestLocal:
    def test_folder_and_file(self, tmp_path: Path, network: Network) -> None:
        (tmp_path / "config.json").write_bytes(b"{}")
        assert open_source(str(tmp_path), network=network).kind == "folder"
        source = open_source(str(tmp_path / "config.json"), network=network)
        assert (source.kind, source.spec) == ("file", str(tmp_path / "config.json"))

    def test_relative_paths(
        self, tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "org" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        for spec in (".", "org/name", "org/name/", "./org"):
            assert open_source(spec, network=network).kind == "folder"

    @pytest.mark.parametrize("spec", ["org/name", "org/name@v1", "meta-llama/Llama-3.1-8B"])
    def test_hub_names_are_recognized(
        self, spec: str, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SourceNotFound) as caught:
            open_source(spec, network=network)
        assert caught.value.fix == f"did you mean hf://{spec}?"

    def test_misspelled_paths_are_not_taken_for_hub_names(
        self, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "models").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SourceNotFound) as caught:
            open_source("models/nmae", network=network)
        assert "check the path" in caught.value.fix

    @pytest.mark.parametrize(
        "spec", ["", "  ", "a\0b", "nothing", "s3://bucket/x", "x" * 10_000, "\udcff", "/\x1b[2J"]
    )
    def test_nothing_there(self, spec: str, network: Network) -> None:
        with pytest.raises(SourceNotFound) as caught:
            open_source(spec, network=network)
        assert caught.value.fix
        assert "\x1b" not in str(caught.value)

    def test_file_addresses(self, network: Network) -> None:
        with pytest.raises(SourceNotFound) as caught:
            open_source("file:///tmp/x", network=network)
        assert "without file://" in caught.value.fix

    @given(st.sampled_from(["hf://", "https://", "x://", "no-such-"]), st.text(max_size=60))
    def test_whatever_is_there_or_not_is_a_source_error(self, start: str, rest: str) -> None:
        with pytest.raises(SourceError) as caught:
            open_source(start + rest, network=Network(offline=True))
        assert caught.value.what
        assert caught.value.fix
        str(caught.value).encode()


class TestOffline:
    @pytest.mark.parametrize("spec", ["https://example.org/model.gguf", "http://127.0.0.1:1/x"])
    def test_addresses_are_not_fetched(self, spec: str, offline: Network) -> None:
        with pytest.raises(SourceOffline) as caught:
            open_source(spec, network=offline)
        assert "--offline" in caught.value.why
        assert "HF_HUB_OFFLINE" in caught.value.why

    def test_the_cache_is_read(self, snapshot: Path, offline: Network) -> None:
        for spec in ("hf://org/name", "hf://org/name@main", f"hf://org/name@{COMMIT}"):
            source = open_source(spec, network=offline)
            assert (source.kind, source.revision, source.spec) == ("hf-cache", COMMIT, spec)
            assert [file.path for file in source.files] == ["README.md", "config.json"]
            with source.open("config.json") as reader:
                assert reader.read(0, 2) == b"{}"

    def test_one_file_of_the_cache(self, snapshot: Path, offline: Network) -> None:
        source = open_source("hf://org/name/config.json", network=offline)
        assert [file.path for file in source.files] == ["config.json"]
        with pytest.raises(SourceNotFound, match="cache does not hold"):
            open_source("hf://org/name/model.gguf", network=offline)

    @pytest.mark.parametrize("spec", ["hf://org/other", "hf://org/name@v9"])
    def test_what_the_cache_does_not_hold(
        self, spec: str, snapshot: Path, offline: Network
    ) -> None:
        with pytest.raises(SourceOffline) as caught:
            open_source(spec, network=offline)
        assert "--offline" in caught.value.why
        assert "hf download org/" in caught.value.fix

    def test_no_cache_known(self, offline: Network) -> None:
        with pytest.raises(SourceOffline) as caught:
            open_source("hf://org/name", network=replace(offline, cache_dir=None))
        assert "HF_HUB_CACHE" in caught.value.fix


class TestHub:
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[HubServer]:
        (tmp_path / "config.json").write_bytes(b"{}")
        with HubServer({"org/name": tmp_path}) as hub:
            yield hub

    @pytest.mark.local_server
    @pytest.mark.allow_hosts(["127.0.0.1"])
    def test_repositories_and_addresses(self, hub: HubServer, network: Network) -> None:
        known = replace(network, endpoint=hub.endpoint)
        repository = open_source("hf://org/name", network=known)
        assert isinstance(repository, HubSource)
        address = f"{hub.endpoint}/org/name/resolve/main/config.json"
        file = open_source(address, network=known)
        assert (file.kind, file.files[0].path) == ("url", "config.json")
        with file.open("config.json") as reader:
            assert reader.read(0, 2) == b"{}"
        repository.close()
        file.close()

    @pytest.mark.parametrize(
        ("page", "spec"),
        [
            ("https://huggingface.co/org/name", "hf://org/name"),
            ("https://huggingface.co/org/name/", "hf://org/name"),
            ("https://huggingface.co/org/name/tree/main", "hf://org/name"),
            ("https://huggingface.co/org/name/tree/v1?x=y", "hf://org/name@v1"),
            ("https://huggingface.co/org/name/blob/main/a/b.gguf", "hf://org/name/a/b.gguf"),
            ("https://hub.example.org/org/name", "hf://org/name"),
        ],
    )
    def test_pages_are_not_files(self, page: str, spec: str, network: Network) -> None:
        known = replace(network, endpoint="https://hub.example.org/")
        with pytest.raises(SourceNotFound) as caught:
            open_source(page, network=known)
        assert caught.value.fix == f"did you mean {spec}?"

    def test_malformed(self, network: Network) -> None:
        with pytest.raises(SourceNotFound, match="not a hub repository"):
            open_source("hf://gpt2", network=network)

    def test_without_the_extra(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        def without(name: str, *args: Any) -> object:
            if name == "huggingface_hub" or name.startswith("huggingface_hub."):
                raise ModuleNotFoundError("none", name=name)
            return real(name, *args)

        real = builtins.__import__
        for name in ("hub.source", "hub.errors", "hub.listing"):
            monkeypatch.delitem(sys.modules, f"steelyard.sources.{name}")
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(SourceError, match="huggingface_hub") as caught:
            open_source("hf://org/name", network=network)
        assert caught.value.fix == "pip install 'steelyard[hub]'"


class TestPackage:
    def test_exports_are_sorted_and_there(self) -> None:
        exported = steelyard.sources.__all__
        assert exported == sorted(exported)
        assert all(hasattr(steelyard.sources, name) for name in exported)

    def test_local_sources_need_no_network_library(self) -> None:
        program = (
            "import sys, steelyard.sources as s; s.open_source('.', network=s.Network());"
            "sys.exit(any(m.split('.')[0] in {'httpx', 'huggingface_hub'} for m in sys.modules))"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
