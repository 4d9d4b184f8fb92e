"""Repositories of the hub from end to end: in place, and from the cache of its own client."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from steelyard.errors import AccessDenied, SourceError, SourceOffline
from steelyard.rules import Severity
from steelyard.sources import Network
from tests.auditing import weigh
from tests.containers import PARAMETERS, as_safetensors, model_folder
from tests.sources.hub_server import HubServer


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestHub:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        # Large enough that fetching it whole could not pass for fetching a header.
        padded = as_safetensors()["model.safetensors"]
        return model_folder(
            tmp_path / "tiny",
            weights={"model.safetensors": padded},
            extra={"data.bin.txt": bytes(1_000_000)},
        )

    def test_only_headers_are_fetched(self, folder: Path) -> None:
        with HubServer({"org/tiny": folder}) as hub:
            report = weigh("hf://org/tiny", network=Network(endpoint=hub.endpoint, timeout=5.0))
            requests, revision = hub.requests, hub.sha("org/tiny")
        local = weigh(folder)
        assert (report.source.kind, report.source.revision) == ("hub", revision)
        same = ("model.parameters.total", "model.layers", "license.effective", "model.architecture")
        for name in same:
            assert report.book.value(name) == local.book.value(name), name
        assert sum(request.sent for request in requests) < 200_000
        assert not any("data.bin.txt" in request.path for request in requests[1:])
        (weights,) = [file for file in report.files if file.role == "weights"]
        content = (folder / "model.safetensors").read_bytes()
        assert weights.sha256 == hashlib.sha256(content).hexdigest()
        assert weights.sha256_basis == "declared"
        assert report.book.value("model.identity") is None

    def test_code_that_rides_along_is_fetched(self, folder: Path) -> None:
        (folder / "handler.py").write_text("import os\nos.system('true')\n")
        (folder / "chat_template.jinja").write_text("{{ ''.__class__ }}")
        (folder / "tokenizer.json").write_bytes(b"{" * 100_000)
        with HubServer({"org/tiny": folder}) as hub:
            network = Network(endpoint=hub.endpoint, timeout=5.0)
            report = weigh("hf://org/tiny", network=network, lineage=False)
            requests = hub.requests
        failing = {found.rule for found in report.findings if found.failing}
        assert failing >= {"COD001", "COD010"}
        assert not any("tokenizer.json" in request.path for request in requests[1:])

    def test_a_gated_repository(self, folder: Path) -> None:
        with HubServer({"org/tiny": folder}, gated=["org/tiny"]) as hub:
            network = Network(endpoint=hub.endpoint, timeout=5.0)
            with pytest.raises(AccessDenied) as refused:
                weigh("hf://org/tiny", network=network)
            opened = Network(endpoint=hub.endpoint, timeout=5.0, token="hf_test")  # noqa: S106  the stand-in's own
            assert weigh("hf://org/tiny", network=opened).book.value("weights.present")
        assert refused.value.fix

    def test_a_repository_that_is_not_there(self, folder: Path) -> None:
        with (
            HubServer({"org/tiny": folder}) as hub,
            pytest.raises(SourceError) as refused,
        ):
            weigh("hf://org/other", network=Network(endpoint=hub.endpoint, timeout=5.0))
        assert refused.value.fix

    def test_offline(self) -> None:
        with pytest.raises(SourceOffline) as refused:
            weigh("hf://org/tiny")
        assert "hf download" in refused.value.fix or "offline" in refused.value.fix


class TestHubCache:
    SHA = "0123456789abcdef0123456789abcdef01234567"

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        """Lay down a repository as the hub's own client caches it."""
        repository = tmp_path / "hub" / "models--org--tiny"
        snapshot = model_folder(repository / "snapshots" / self.SHA)
        (repository / "blobs").mkdir()
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(self.SHA)
        for number, path in enumerate(sorted(snapshot.iterdir())):
            path.rename(repository / "blobs" / f"{number:040}")
            path.symlink_to(f"../../blobs/{number:040}")
        return tmp_path / "hub"

    def test_by_the_name_of_the_repository(self, cache: Path) -> None:
        report = weigh("hf://org/tiny", network=Network(offline=True, cache_dir=cache))
        assert (report.source.kind, report.source.revision) == ("hf-cache", self.SHA)
        assert report.book.value("model.parameters.total") == PARAMETERS
        assert report.book.value("files.escaping") == frozenset()

    @pytest.mark.parametrize("below", ["", "snapshots/" + SHA])
    def test_by_its_folder(self, cache: Path, below: str) -> None:
        report = weigh(cache / "models--org--tiny" / below)
        assert report.source.kind == "hf-cache"
        assert report.source.revision == self.SHA
        assert not report.fails(Severity.WARNING)
