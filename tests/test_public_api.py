"""The public names are the ones that are listed, and importing the package loads nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import steelyard
from tests import models


def test_the_list_is_sorted_and_complete() -> None:
    assert steelyard.__all__ == sorted(steelyard.__all__)
    assert set(steelyard.__all__) == set(steelyard._PUBLIC)
    assert set(steelyard.__all__) <= set(dir(steelyard))


@pytest.mark.parametrize("name", steelyard.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(steelyard, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'weigh'"):
        _ = steelyard.weigh


def test_audit_is_a_function_whoever_imported_what_before(tmp_path: Path) -> None:
    import steelyard.auditing
    import steelyard.cli.audit

    assert steelyard.auditing is not None
    report = steelyard.audit(models.folder(tmp_path), as_of=date(2026, 11, 23))
    assert report.book.value("weights.present") is True


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys, steelyard; print([m for m in sys.modules if m.startswith('steelyard.')])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
