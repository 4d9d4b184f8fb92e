"""Hub repositories read in place, through the real hub client and a stand-in hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RemoteEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import AccessDenied, SourceError, SourceNotFound, SourceOffline
from steelyard.sources.base import SkipReason
from steelyard.sources.hub import listing as hub_listing
from steelyard.sources.hub.listing import list_files
from steelyard.sources.hub.source import HubSource
from steelyard.sources.hub.spec import HubSpec
from steelyard.sources.network import Network
from steelyard.sources.ranged import BLOCK
from tests.sources.hub_server import Fault, HubServer

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
OpenHub = Callable[..., HubServer]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    return folder


@pytest.fixture
def open_hub(model: Path) -> Iterator[OpenHub]:
    """Start hubs that hold the model as `org/name`; they stop with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> HubServer:
            return stack.enter_context(HubServer({"org/name": model}, **options))

        yield start


@pytest.fixture
def hub(open_hub: OpenHub) -> HubServer:
    return open_hub()


def at(hub: HubServer, network: Network, **changes: Any) -> Network:
    return replace(network, endpoint=hub.endpoint, **changes)


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


class TestRefusals:
    def test_no_such_repository(self, hub: HubServer, network: Network) -> None:
        """Without a token the hub does not say whether it is private or not there."""
        with pytest.raises(AccessDenied, match="no such repository, or it is private") as caught:
            HubSource("hf://org/absent", at(hub, network))
        assert "HF_TOKEN" in caught.value.fix
        assert f"{hub.endpoint}/org/absent" in caught.value.fix
        with pytest.raises(SourceNotFound, match="no such repository"):
            HubSource("hf://org/absent", at(hub, network, token="hf_test"))  # noqa: S106  as above

    def test_private(self, open_hub: OpenHub, network: Network) -> None:
        hub = open_hub(private=["org/name"])
        with pytest.raises(AccessDenied, match="private"):
            HubSource("hf://org/name", at(hub, network))
        with pytest.raises(AccessDenied):
            HubSource("hf://org/name", at(hub, network, token="hf_wrong"))  # noqa: S106  as above

    def test_gated_repositories_list_but_do_not_open(
        self, open_hub: OpenHub, network: Network
    ) -> None:
        hub = open_hub(gated=["org/name"])
        source = HubSource("hf://org/name", at(hub, network))
        assert len(source.files) == 4
        with pytest.raises(AccessDenied, match="gated") as caught:
            source.open("config.json")
        assert f"ask for access at {hub.endpoint}/org/name" in caught.value.fix
        assert "HF_TOKEN" in caught.value.fix
        source.close()

    def test_no_such_revision(self, hub: HubServer, network: Network) -> None:
        with pytest.raises(SourceNotFound, match="no revision v9") as caught:
            HubSource("hf://org/name@v9", at(hub, network))
        assert f"{hub.endpoint}/org/name/tree/main" in caught.value.fix

    def test_file_gone_since_it_was_listed(self, hub: HubServer, network: Network) -> None:
        source = HubSource("hf://org/name", at(hub, network))
        hub.commits["org/name"] = {"main": replace(hub.commits["org/name"]["main"], files={})}
        with pytest.raises(SourceNotFound, match="no such file"):
            source.open("config.json")
        source.close()

    def test_rate_limit(self, hub: HubServer, network: Network, pauses: list[float]) -> None:
        hub.faults.append(Fault(status=429))
        with pytest.raises(SourceError, match="rate limit") as caught:
            HubSource("hf://org/name", at(hub, network))
        assert "HF_TOKEN" in caught.value.fix
        assert pauses == [0.5, 1.0, 2.0]

    @pytest.mark.parametrize("status", [400, 403, 409, 500, 502])
    def test_other_statuses(self, hub: HubServer, network: Network, status: int) -> None:
        hub.faults.append(Fault(status=status))
        with pytest.raises(SourceError) as caught:
            HubSource("hf://org/name", at(hub, network))
        assert caught.value.fix

    def test_failures_that_pass(
        self, hub: HubServer, network: Network, pauses: list[float]
    ) -> None:
        hub.faults += [Fault("/api/", status=500, times=1), Fault("/resolve/", status=503, times=1)]
        source = HubSource("hf://org/name", at(hub, network))
        with source.open("model.safetensors") as reader:
            assert reader.read(0, 4) == WEIGHTS[:4]
        assert pauses == [0.5, 0.5]
        source.close()

    def test_slow(self, hub: HubServer, network: Network) -> None:
        hub.faults.append(Fault(delay=0.3))
        with pytest.raises(SourceOffline, match="cannot reach"):
            HubSource("hf://org/name", at(hub, network, timeout=0.02, retries=0))

    def test_nobody_there(self, model: Path, network: Network) -> None:
        with HubServer({"org/name": model}) as gone:
            unreachable = at(gone, network)
        with pytest.raises(SourceOffline, match="cannot reach the hub") as caught:
            HubSource("hf://org/name", unreachable)
        assert "--offline" in caught.value.fix

    def test_client_in_offline_mode(
        self, hub: HubServer, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(SourceOffline, match="offline mode"):
            HubSource("hf://org/name", at(hub, network))
        assert hub.requests == []

    @pytest.mark.parametrize("endpoint", ["not an address", "http://example.org", "ftp://h", ""])
    def test_bad_endpoints(self, network: Network, endpoint: str) -> None:
        with pytest.raises(SourceError):
            HubSource("hf://org/name", replace(network, endpoint=endpoint or "https://"))


class TestHostileHub:
    @pytest.mark.parametrize(
        "path",
        ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "", "x\x1b[2J", "a//b"],
    )
    @pytest.mark.parametrize("state_sizes", [True, False])
    def test_paths_that_escape(
        self, open_hub: OpenHub, network: Network, path: str, state_sizes: bool
    ) -> None:
        def edit(kind: str, document: Any) -> Any:
            entries = document["siblings"] if kind == "info" else document
            entries[0]["rfilename" if kind == "info" else "path"] = path
            return document

        hub = open_hub(edit=edit, state_sizes=state_sizes)
        source = HubSource("hf://org/name", at(hub, network))
        assert [each.reason for each in source.skipped] == [SkipReason.ESCAPES]
        assert len(source.files) == 3
        with pytest.raises(SourceNotFound):
            source.open(path)
        source.close()

    @pytest.mark.parametrize(
        "answer",
        [
            [],
            {},
            "text",
            None,
            {"id": "org/name"},
            {"id": "org/name", "sha": "main", "siblings": []},
            {"id": "org/name", "sha": 7, "siblings": []},
            {"id": "org/name", "sha": "../..", "siblings": []},
            {"id": "org/name", "sha": "a" * 40, "siblings": [{}]},
            {"id": "org/name", "sha": "a" * 40, "siblings": 5},
            {"id": "org/name", "sha": "a" * 40, "siblings": [{"rfilename": "x", "lfs": 1}]},
        ],
    )
    def test_model_information_that_is_none(
        self, open_hub: OpenHub, network: Network, answer: object
    ) -> None:
        hub = open_hub(edit=lambda kind, document: answer)
        with pytest.raises(SourceError):
            HubSource("hf://org/name", at(hub, network))

    @pytest.mark.parametrize("answer", [{}, "text", None, [[]], [5]])
    def test_trees_that_are_none(self, open_hub: OpenHub, network: Network, answer: object) -> None:
        hub = open_hub(
            state_sizes=False, edit=lambda kind, document: document if kind == "info" else answer
        )
        with pytest.raises(SourceError, match="list of files is not understood"):
            HubSource("hf://org/name", at(hub, network))

    def test_not_a_hub(self, hub: HubServer, network: Network) -> None:
        hub.faults.append(Fault(status=200))
        with pytest.raises(SourceError, match="not understood") as caught:
            HubSource("hf://org/name", at(hub, network))
        assert "HF_ENDPOINT" in caught.value.fix

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

    def test_sizes_and_digests_are_checked(self) -> None:
        stated: list[tuple[object, object, object]] = [
            ("good", 1, "a" * 64),
            ("negative", -1, None),
            ("huge", 2**70, None),
            ("text", "5", None),
            (None, 5, None),
            ("good", 2, None),
            ("digest", 1, "A" * 64),
            ("digest2", 1, 5),
            ("a/.git/config", 1, None),
        ]
        files, skipped = list_files(stated)
        assert {path: file.sha256 for path, file in files.items()} == {
            "good": "a" * 64,
            "digest": None,
            "digest2": None,
        }
        assert files["good"].size == 1
        assert [each.reason for each in skipped] == [SkipReason.UNREADABLE] * 5

    def test_too_many_files(self) -> None:
        files, skipped = list_files(((f"{number}", 1, None) for number in range(100)), 10)
        assert len(files) == 10
        assert [each.reason for each in skipped] == [SkipReason.TOO_MANY]


class TestTree:
    """Hubs whose model information leaves the lengths out are listed page by page."""

    def test_pages(self, open_hub: OpenHub, network: Network) -> None:
        hub = open_hub(state_sizes=False, page_size=2)
        source = HubSource("hf://org/name", at(hub, network))
        assert [(file.path, file.sha256) for file in source.files] == [
            ("README.md", None),
            ("config.json", None),
            ("model.safetensors", SHA256),
            ("onnx/model.onnx", hashlib.sha256(b"onnx").hexdigest()),
        ]
        assert len([each for each in hub.requests if "/tree/" in each.path]) == 3
        source.close()

    def test_very_large_repositories(
        self, hub: HubServer, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_listing, "SIBLINGS_CUT", 4)
        source = HubSource("hf://org/name", at(hub, network))
        assert len(source.files) == 4
        assert any("/tree/" in each.path for each in hub.requests)
        source.close()

    def test_pages_without_end(
        self, open_hub: OpenHub, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_listing, "MAX_PAGES", 10)
        hub = open_hub(state_sizes=False)
        hub.faults.append(
            Fault("/tree/", headers={"Link": '</api/models/org/name/tree/main>; rel="next"'})
        )
        with pytest.raises(SourceError, match="list of files") as caught:
            HubSource("hf://org/name", at(hub, network))
        assert "more than 10 pages" in caught.value.why

    def test_pages_elsewhere(self, open_hub: OpenHub, network: Network) -> None:
        hub = open_hub(state_sizes=False)
        link = f'<{hub.files.endpoint}/tree>; rel="next"'
        hub.faults.append(Fault("/tree/", headers={"Link": link}))
        with pytest.raises(SourceError, match="list of files"):
            HubSource("hf://org/name", at(hub, network, token="hf_test"))  # noqa: S106  as above
        assert hub.files.requests == []

    def test_pages_too_long(
        self, open_hub: OpenHub, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_listing, "PAGE_BYTES", 100)
        hub = open_hub(state_sizes=False)
        with pytest.raises(SourceError, match="list of files"):
            HubSource("hf://org/name", at(hub, network))


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "spec"),
        [
            ("hf://org/name", HubSpec("org/name")),
            ("hf://org/name/", HubSpec("org/name")),
            ("hf://models/org/name", HubSpec("org/name")),
            ("hf://org/name@v1", HubSpec("org/name", "v1")),
            ("hf://org/name@v1/a/b.gguf", HubSpec("org/name", "v1", "a/b.gguf")),
            ("hf://org/name/b.gguf", HubSpec("org/name", None, "b.gguf")),
            ("hf://org/name@refs/pr/1/b.gguf", HubSpec("org/name", "refs/pr/1", "b.gguf")),
            ("hf://org/name@refs%2Fpr%2F1", HubSpec("org/name", "refs/pr/1")),
            ("hf://org/name@refs/pr/1", HubSpec("org/name", "refs/pr/1")),
            ("hf://org/name@feature%2Fx/y", HubSpec("org/name", "feature/x", "y")),
        ],
    )
    def test_read(self, text: str, spec: HubSpec) -> None:
        assert HubSpec.parse(text) == spec
        assert HubSpec.parse(str(spec)) == spec

    @pytest.mark.parametrize(
        "text",
        [
            "hf://",
            "hf://gpt2",
            "hf://org/",
            "hf:///name",
            "hf://../name",
            "hf://org/..",
            "hf://org/na--me",
            "hf://org/name@",
            "hf://org/name@../../x",
            "hf://org/name/../x",
            "hf://org/name/%2e%2e/x",
            "hf://org/name/a%00b",
            "hf://datasets/org/name",
            "hf://org/na me",
            "hf://org/" + "x" * 9000,
            "org/name",
        ],
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(SourceNotFound) as caught:
            HubSpec.parse(text)
        assert "hf://org/name" in caught.value.fix

    @given(st.text(max_size=40))
    def test_anything_is_read_or_refused(self, tail: str) -> None:
        try:
            spec = HubSpec.parse("hf://org/name" + tail)
        except SourceNotFound:
            return
        assert HubSpec.parse(str(spec)) == spec


class TestStandIn:
    """The stand-in hub speaks to the real client."""

    @pytest.mark.parametrize("recursive", [True, False])
    def test_trees(self, open_hub: OpenHub, recursive: bool) -> None:
        api = HfApi(endpoint=open_hub(page_size=2).endpoint, token=False)
        tree = list(api.list_repo_tree("org/name", recursive=recursive))
        below = ["onnx/model.onnx"] if recursive else []
        assert sorted(each.path for each in tree) == [
            "README.md",
            "config.json",
            "model.safetensors",
            "onnx",
            *below,
        ]
        inner = list(api.list_repo_tree("org/name", "onnx"))
        assert [each.path for each in inner] == ["onnx/model.onnx"]
        with pytest.raises(RemoteEntryNotFoundError):
            list(api.list_repo_tree("org/name", "absent"))

    def test_downloads(self, hub: HubServer, tmp_path: Path, model: Path) -> None:
        api = HfApi(endpoint=hub.endpoint, token=False)
        for name in ("model.safetensors", "config.json"):
            path = api.hf_hub_download("org/name", name, cache_dir=tmp_path / "cache")
            assert Path(path).read_bytes() == (model / name).read_bytes()

    def test_ranges(self, hub: HubServer) -> None:
        url = f"{hub.endpoint}/org/name/resolve/main/model.safetensors"
        with httpx.Client(follow_redirects=True) as client:
            part = client.get(url, headers={"Range": "bytes=1-3"})
            beyond = client.get(url, headers={"Range": "bytes=99999999-"})
        assert (part.status_code, part.content) == (206, WEIGHTS[1:4])
        assert (beyond.status_code, beyond.content) == (416, b"")
