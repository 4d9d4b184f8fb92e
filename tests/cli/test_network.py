"""What the command line tells the library about the network, and hub repositories end to end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.cli.context import network
from tests.cli.running import Run
from tests.containers import PARAMETERS, model_folder
from tests.sources.hub_server import HubServer


def stored() -> str | None:
    """Return the token that would be sent to the hub."""
    return network(offline=False).token


def test_nothing_is_set() -> None:
    found = network(offline=False)
    assert (found.offline, found.endpoint, found.token) == (False, None, None)
    assert found.cache_dir == Path(os.environ["XDG_CACHE_HOME"]) / "huggingface" / "hub"


@pytest.mark.parametrize(
    ("text", "offline"), [("1", True), ("YES", True), ("on", True), ("0", False), ("", False)]
)
def test_the_hub_clients_offline_mode(
    text: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", text)
    assert network(offline=False).offline is offline
    assert network(offline=True).offline


def test_the_hub_clients_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    assert network(offline=False).cache_dir == folder / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    assert network(offline=False).cache_dir == folder / "cache"


def test_a_token_that_the_hub_client_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(folder))
    (folder / "token").write_text("hf_stored\n")
    assert stored() == "hf_stored"
    monkeypatch.setenv("HF_TOKEN_PATH", str(folder / "other"))
    assert stored() is None
    (folder / "other").write_bytes(b"\xff")
    assert stored() is None
    monkeypatch.setenv("HF_TOKEN", "hf_stated")
    assert stored() == "hf_stated"


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestHub:
    @pytest.fixture(autouse=True)
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
        model = model_folder(tmp_path / "model")
        with HubServer({"org/open": model, "org/gated": model}, gated=["org/gated"]) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
            yield hub

    def test_a_repository(self, hub: HubServer, run: Run) -> None:
        outcome = run("audit", "hf://org/open", "-f", "json")
        assert (outcome.code, outcome.err) == (0, "")
        report = json.loads(outcome.out)
        facts = {fact["name"]: fact["value"] for fact in report["facts"]}
        assert facts["model.parameters.total"] == PARAMETERS
        assert report["source"]["kind"] == "hub"
        assert report["source"]["revision"] == hub.sha("org/open")

    def test_a_gated_one_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        outcome = run("audit", "hf://org/gated")
        assert (outcome.code, outcome.out) == (3, "")
        assert "HF_TOKEN" in outcome.err or "hf auth login" in outcome.err
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        assert run("audit", "hf://org/gated").code == 0

    def test_the_token_is_in_no_output(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_wrongtoken")
        outcome = run("--debug", "audit", "hf://org/gated")
        assert outcome.code == 3
        assert "hf_wrongtoken" not in outcome.out + outcome.err

    def test_one_that_is_not_there(self, run: Run) -> None:
        outcome = run("audit", "hf://org/missing")
        assert (outcome.code, outcome.out) == (3, "")
        assert "\n  fix: " in outcome.err

    def test_a_hub_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr("time.sleep", lambda _: None)
        outcome = run("audit", "hf://org/open")
        assert (outcome.code, outcome.out) == (3, "")
        assert "\n  fix: " in outcome.err
