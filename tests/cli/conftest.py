"""Tests of the command line start in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.cli.main import main
from tests.cli.running import Outcome, Run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, which has no settings."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        written = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Outcome(code, written.out, written.err)

    return call
