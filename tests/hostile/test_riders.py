"""What rides with a model, through the whole audit: all that is bad told, nothing else accused."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import pytest

from steelyard import Network, Options, Severity, audit
from steelyard.rules import load_packs
from tests import models
from tests.corpus import bad_riders, benign_riders

BAD = dict(bad_riders())
BENIGN = dict(benign_riders())
AS_OF = date(2026, 11, 26)


@cache
def options() -> Options:
    wanted = ("practice.code", "practice.integrity")
    packs = [pack for pack in load_packs() if pack.id in wanted]
    return Options(network=Network(offline=True), digest=False, lineage=False, packs=packs)


def told(folder: Path, files: dict[str, bytes]) -> list[str]:
    report = audit(models.folder(folder, files=files), as_of=AS_OF, options=options())
    return [finding.rule for finding in report.failing if finding.at_least(Severity.WARNING)]


@pytest.mark.parametrize("title", BAD)
def test_what_is_bad_is_told(tmp_path: Path, title: str) -> None:
    assert any(rule.startswith("COD") for rule in told(tmp_path / "m", BAD[title]))


@pytest.mark.parametrize("title", BENIGN)
def test_what_is_benign_is_at_most_a_note(tmp_path: Path, title: str) -> None:
    assert told(tmp_path / "m", BENIGN[title]) == []
