"""What the hub refuses, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from steelyard.errors import AccessDenied, SourceError, SourceNotFound, SourceOffline
from steelyard.sources.hub.source import HubSource
from steelyard.sources.network import Network
from tests.sources.hub.samples import WEIGHTS, OpenHub, at
from tests.sources.hub_server import HubServer
from tests.sources.serving import Fault

pytestmark = [pytest.mark.local_server, pytest.mark.allow_hosts(["127.0.0.1"])]


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
