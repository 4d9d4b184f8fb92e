"""The guard of fuzz tests sees what it is there to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from steelyard.writing import whole_file
from tests.fuzz import conftest


def test_what_steelyard_writes_is_seen(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as file:
        file.write(b"x")
    assert any(each.startswith("open") for each in conftest.seen)
    assert any(each.startswith("os.rename") for each in conftest.seen)
    conftest.seen.clear()


def test_what_tests_do_themselves_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    assert conftest.seen == []
