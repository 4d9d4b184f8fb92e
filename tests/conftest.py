"""Every test runs as if on a fresh machine: no settings, no caches, no tokens of the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hypothesis import HealthCheck, settings

# How long a machine takes says nothing about the code: a busy one must not fail a test.
settings.register_profile("steelyard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steelyard")

_OURS = ("STEELYARD_", "_STEELYARD_", "HF_", "HUGGING_FACE_", "XDG_")
_KEPT = frozenset({"STEELYARD_ASSETS", "STEELYARD_FUZZ", "STEELYARD_GOLDEN"})
"""Read by the tests and tools themselves, never by Steelyard."""
_SCREEN = frozenset({"CLICOLOR", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TTY_COMPATIBLE"})
_HOME = Path.home()
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", _HOME / ".cache"))
# Before the home folder is put aside: pip and npm, which fetch real models, have settings there.
_PIP = Path(os.environ.get("XDG_CONFIG_HOME", _HOME / ".config")) / "pip" / "pip.conf"
_NPM = _HOME / ".npmrc"


@pytest.fixture(autouse=True)
def _fresh_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Give the test an empty home folder and none of the user's variables."""
    assets = os.environ.get("STEELYARD_ASSETS", str(_CACHE / "steelyard-assets"))
    for name in list(os.environ):
        if name in _SCREEN or (name.startswith(_OURS) and name not in _KEPT):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("STEELYARD_ASSETS", assets)
    for name, path in (("PIP_CONFIG_FILE", _PIP), ("NPM_CONFIG_USERCONFIG", _NPM)):
        if path.is_file() and name not in os.environ:
            monkeypatch.setenv(name, str(path))


@pytest.fixture(scope="module")
def _direct() -> Iterator[None]:
    """Talk to the loopback address directly, whatever proxies this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield
    huggingface_hub.close_session()


@pytest.fixture(autouse=True)
def _local_server(request: pytest.FixtureRequest) -> None:
    """Let tests that start a server on this machine reach it."""
    if request.node.get_closest_marker("local_server") is not None:
        request.getfixturevalue("_direct")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: what is packed when tests are collected may hold the time."""
    return argname if isinstance(val, bytes) else None
