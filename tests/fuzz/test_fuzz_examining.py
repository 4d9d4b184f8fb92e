"""Damaged files of every kind that a pickle hides in: an examination comes to an end, always."""

from __future__ import annotations

import os
import time

import pytest

from steelyard.checkpoints.examining import Budget, examine_file
from steelyard.checkpoints.limits import Limits
from steelyard.sources.memory import BytesReader
from tests.corpus import bad_files, benign_files
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations

COUNT = fuzz_count(800)
LIMITS = Limits(unpacked_bytes=20_000_000, examined_opcodes=200_000)
FILES = [(name, data) for _, name, data in (*bad_files(), *benign_files()) if len(data) < 50_000]
SLOWEST_S = 5


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where anything is run."""

    def refuse(command: str) -> int:
        raise AssertionError(command)

    monkeypatch.setattr(os, "system", refuse)


def test_damaged_files_are_examined_to_an_end() -> None:
    each = -(-COUNT // len(FILES))
    for number, (name, data) in enumerate(FILES):
        for damaged in mutations(data, number, each):
            start = time.monotonic()
            examine_file(BytesReader(name, damaged), Budget(LIMITS))
            assert time.monotonic() - start < SLOWEST_S
