"""The stand-in hub, as the real client sees it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError

from tests.sources.hub.samples import WEIGHTS, OpenHub
from tests.sources.hub_server import HubServer

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


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
