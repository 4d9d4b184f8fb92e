"""Files of a repository, as an honest hub lists them and as another does."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from steelyard.errors import SourceError, SourceNotFound
from steelyard.sources.base import SkipReason
from steelyard.sources.hub import listing as hub_listing
from steelyard.sources.hub.listing import list_files
from steelyard.sources.hub.source import HubSource
from steelyard.sources.network import Network
from tests.sources.hub.samples import SHA256, OpenHub, at
from tests.sources.hub_server import HubServer
from tests.sources.serving import Fault

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


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
