"""Hub repositories read in place, through the real hub client and a stand-in hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from steelyard.errors import AccessDenied, SourceError, SourceNotFound
from steelyard.sources.hub.source import HubSource
from steelyard.sources.network import Network
from steelyard.sources.ranged import BLOCK
from tests.sources.hub.samples import SHA256, WEIGHTS, OpenHub, at
from tests.sources.hub_server import HubServer
from tests.sources.serving import Fault

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


class TestReading:
    def test_lists_with_sizes_and_digests(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        assert [(file.path, file.size) for file in source.files] == [
            ("README.md", 21),
            ("config.json", 2),
            ("model.safetensors", len(WEIGHTS)),
            ("onnx/model.onnx", 4),
        ]
        assert source.files[2].sha256 == SHA256
        assert source.files[1].sha256 is None
        assert (source.kind, source.revision) == ("hub", hub.sha("org/name"))
        assert (source.skipped, source.local_path("config.json")) == ((), None)
        assert (source.requests, source.bytes_read) == (1, 0)
        source.close()

    def test_fetches_headers_only(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        with source.open("model.safetensors") as reader:
            assert reader.read(0, 8) == WEIGHTS[:8]
            assert reader.read(len(WEIGHTS) - 8, 8) == WEIGHTS[-8:]
        assert source.bytes_read == 2 * BLOCK
        assert sum(each.sent for each in hub.files.requests) == 2 * BLOCK
        source.close()

    def test_small_files_come_from_the_hub_itself(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        with source.open("config.json") as reader:
            assert reader.read(0, 2) == b"{}"
        with source.open("onnx/model.onnx") as reader:
            assert bytes(reader.view(1, 2)) == b"nn"
        source.close()

    def test_all_reads_are_of_the_pinned_commit(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name@main", at(hub, network))
        with source.open("config.json") as reader:
            reader.read(0, 2)
        resolved = [each.path for each in hub.requests if "/resolve/" in each.path]
        assert resolved
        assert all(hub.sha("org/name") in path for path in resolved)
        source.close()

    def test_resolves_each_file_once(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        for _ in range(3):
            with source.open("model.safetensors") as reader:
                reader.read(0, 8)
        assert len(hub.files.requests) == 1
        assert len([each for each in hub.requests if "/resolve/" in each.path]) == 1
        source.close()

    def test_only_of_the_first_file_the_hub_is_asked_before(
        self, hub: HubServer, network: Network
    ) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        with source.open("config.json") as reader:
            assert reader.read(0, 2) == b"{}"
        with source.open("model.safetensors") as reader:
            assert reader.read(5, 5) == WEIGHTS[5:10]
            assert reader.read(len(WEIGHTS) - 8, 8) == WEIGHTS[-8:]
        asked = [
            (each.method, each.path.rpartition("/")[2])
            for each in hub.requests
            if "/resolve/" in each.path
        ]
        assert asked == [
            ("HEAD", "config.json"),
            ("GET", "config.json"),
            ("GET", "model.safetensors"),
        ]
        assert len(hub.files.requests) == 2
        source.close()

    def test_a_file_that_may_not_be_read_after_all(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        source.open("config.json").close()
        hub.faults.append(Fault("/resolve/", status=403))
        with (
            source.open("model.safetensors") as reader,
            pytest.raises(AccessDenied, match="403"),
        ):
            reader.read(0, 8)
        source.close()

    def test_further_revisions(self, model: Path, tmp_path: Path, network: Network) -> None:
        old = tmp_path / "old"
        old.mkdir()
        (old / "config.json").write_text("{ }")
        repos = {"org/name": model, "org/name@v1": old, "org/name@refs/pr/1": old}
        with HubServer(repos) as hub:
            for spec in ("@v1", "@refs/pr/1", "@" + hub.sha("org/name", "v1")):
                source = HubSource("hf://org/name" + spec, at(hub, network))
                assert source.revision == hub.sha("org/name", "v1")
                assert [file.path for file in source.files] == ["config.json"]
                source.close()

    def test_one_file(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name/onnx/model.onnx", at(hub, network))
        assert [file.path for file in source.files] == ["onnx/model.onnx"]
        with pytest.raises(SourceNotFound):
            source.open("config.json")
        source.close()
        for file in ("onnx", "absent.gguf"):
            with pytest.raises(SourceNotFound) as caught:
                HubSource(f"hf://org/name/{file}", at(hub, network))
            assert f"{hub.endpoint}/org/name/tree/main" in caught.value.fix

    def test_expired_addresses_are_resolved_again(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        hub.files.faults.append(Fault(status=403, times=1))
        with source.open("model.safetensors") as reader:
            assert reader.read(5, 5) == WEIGHTS[5:10]
        source.close()


class TestToken:
    TOKEN = "hf_test"  # noqa: S105  not a secret

    def test_goes_to_the_hub_and_not_to_its_storage(
        self, open_hub: OpenHub, network: Network
    ) -> None:
        hub = open_hub(private=["org/name"], gated=["org/name"])
        source = HubSource("hf://org/name", at(hub, network, token=self.TOKEN))
        with source.open("model.safetensors") as reader:
            reader.read(0, 8)
        hub.files.faults.append(Fault(status=403, times=1))
        with source.open("model.safetensors") as reader:
            reader.read(500_000, 8)
        source.close()
        storage = hub.files.requests
        assert len(storage) == 3
        assert all("authorization" not in each.headers for each in storage)
        asked = [each for each in hub.requests if each.server == "hub"]
        assert {each.headers["authorization"] for each in asked} == {f"Bearer {self.TOKEN}"}

    def test_none_of_this_machine_is_used(
        self, hub: HubServer, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = tmp_path / "token"
        stored.write_text("hf_stored")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(stored))
        monkeypatch.setenv("HF_TOKEN", "hf_environment")
        source = HubSource("hf://org/name", at(hub, network))
        source.open("model.safetensors").close()
        source.close()
        assert all("authorization" not in each.headers for each in hub.requests)

    @pytest.mark.parametrize("token", ["", "hf_x\n", "two words", "hf_\u00fc", "x" * 5000])
    def test_nonsense_is_refused(self, hub: HubServer, network: Network, token: str) -> None:
        with pytest.raises(AccessDenied, match="token") as caught:
            HubSource("hf://org/name", at(hub, network, token=token))
        assert not token or token not in str(caught.value)
        assert hub.requests == []


class TestHostileHub:
    def test_contradicts_its_listing(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        hub.faults.append(Fault("/resolve/", times=1, headers={"X-Linked-Size": "5"}))
        with pytest.raises(SourceError, match="contradicts"):
            source.open("model.safetensors")
        hub.faults.append(Fault("/resolve/", times=1, headers={"X-Repo-Commit": "f" * 40}))
        with pytest.raises(SourceError, match="another commit"):
            source.open("model.safetensors")
        source.close()

    def test_stored_bytes_of_another_length(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        hub.files.faults.append(Fault(content=b"something else"))
        with (
            source.open("model.safetensors") as reader,
            pytest.raises(SourceError, match="changed on the server"),
        ):
            reader.read(0, 8)
        source.close()

    @pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/passwd", "http://["])
    def test_redirects_elsewhere(self, hub: HubServer, network: Network, target: str) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        hub.faults.append(Fault("/resolve/", location=target))
        with pytest.raises(SourceError):
            source.open("model.safetensors")
        source.close()
