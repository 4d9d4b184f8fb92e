"""Every file of the corpus through the whole audit: all bad ones told, no benign one accused."""

from __future__ import annotations

import io
import json
import logging
import os
import struct
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import fickling.analysis
import fickling.fickle
import pytest
from picklescan.scanner import scan_bytes

from steelyard import Network, Options, Severity, audit
from steelyard.reports.report import Report
from steelyard.rules import load_packs
from tests.corpus import bad_files, benign_files

BAD = {title: (name, data) for title, name, data in bad_files()}
BENIGN = {title: (name, data) for title, name, data in benign_files()}
FALSE_ALARMS = (
    "identifiers",  # both: uuid.UUID is on their lists; it only holds a number
    "text like opcodes",  # picklescan: `os is a function.sin is another` can be imported nowhere
    "joblib, objects",  # fickling: takes what follows for a call of joblib's
    "a long list",  # fickling: gives up, and calls what it gave up on malicious
    "a checkpoint within a pickle",  # fickling: what is loaded from bytes is a sound checkpoint
)
"""Benign files that peers call malicious, each with the reason why they are not."""
AS_OF = date(2026, 11, 26)


NOT_READ = ("gzip twenty deep", "zip odd method")
"""Tricks by which a file is not read at all, and said not to be."""
FOUND = [t for t in BAD if t.endswith(": os.system") and not t.startswith(NOT_READ)]


@cache
def options() -> Options:
    packs = [pack for pack in load_packs() if pack.id == "practice.integrity"]
    return Options(network=Network(offline=True), digest=False, lineage=False, packs=packs)


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if anything is run."""
    run: list[str] = []
    monkeypatch.setattr(os, "system", run.append)
    yield
    assert run == []


class Weigher:
    """Audit each file once, whoever asks; beside sound weights, so that no refusal hides it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reports: dict[str, Report] = {}

    def __call__(self, title: str) -> Report:
        if title not in self._reports:
            name, data = (BAD | BENIGN)[title]
            folder = self._folder / str(len(self._reports))
            folder.mkdir()
            header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})
            sound = struct.pack("<Q", len(header)) + header.encode() + b"1"
            (folder / "zz.safetensors").write_bytes(sound)
            (folder / name).write_bytes(data)
            self._reports[title] = audit(folder, as_of=AS_OF, options=options())
        return self._reports[title]


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Weigher:
    return Weigher(tmp_path_factory.mktemp("corpus"))


def told(report: Report) -> list[str]:
    return [finding.rule for finding in report.failing if finding.at_least(Severity.WARNING)]


def test_the_corpus_is_large_enough() -> None:
    assert len(BAD) >= 150
    assert len(BENIGN) >= 80


@pytest.mark.parametrize("title", BAD)
def test_what_would_run_is_told(title: str, weighed: Weigher) -> None:
    report = weighed(title)
    assert told(report)
    assert report.book.value("code.unsafe") is not False


@pytest.mark.parametrize("title", FOUND)
def test_what_is_dangerous_is_found_in_every_hiding_place(title: str, weighed: Weigher) -> None:
    report = weighed(title)
    assert "INT001" in told(report)
    calls = report.book.value("code.calls")
    assert isinstance(calls, frozenset)
    assert any(call.startswith('os.system("true") in ') for call in calls)


@pytest.mark.parametrize("title", BENIGN)
def test_what_runs_nothing_is_at_most_a_note(title: str, weighed: Weigher) -> None:
    report = weighed(title)
    assert told(report) == []
    assert report.book.value("code.unsafe") is False


def by_picklescan(name: str, data: bytes) -> bool:
    logging.disable(logging.CRITICAL)
    try:
        return bool(scan_bytes(io.BytesIO(data), name, Path(name).suffix).issues_count)
    except Exception:  # noqa: BLE001  the peer fails in many ways, none of which says anything
        return False
    finally:
        logging.disable(logging.NOTSET)


def by_fickling(data: bytes) -> bool:
    try:
        pickled = fickling.fickle.Pickled.load(data)
        severity = fickling.analysis.check_safety(pickled).severity
    except Exception:  # noqa: BLE001  as above
        return False
    return bool(severity >= fickling.analysis.Severity.LIKELY_OVERTLY_MALICIOUS)


@pytest.mark.parametrize("peer", ["picklescan", "fickling"])
def test_what_peers_call_malicious_we_do(peer: str, weighed: Weigher) -> None:
    accused = 0
    for title, (name, data) in (BAD | BENIGN).items():
        if not (by_picklescan(name, data) if peer == "picklescan" else by_fickling(data)):
            continue
        if title in BENIGN and title.startswith(FALSE_ALARMS):
            continue
        accused += 1
        assert told(weighed(title)), title
    assert accused > 50
