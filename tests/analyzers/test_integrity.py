"""What readers noticed becomes facts; NaN and infinity are counted on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steelyard.analyzers import integrity
from steelyard.checkpoints.tensors import ProblemKind
from tests import models
from tests.analyzers.facts_of import facts_of


def test_a_whole_model_has_empty_sets_of_problems(tmp_path: Path) -> None:
    book = facts_of(integrity.analyze, models.read(models.folder(tmp_path)))
    for name in integrity.FACT_OF_PROBLEM.values():
        assert book.value(name) == frozenset()


def test_every_kind_of_problem_has_a_fact() -> None:
    assert set(integrity.FACT_OF_PROBLEM) == set(ProblemKind)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = models.shards(models.weights(), 3)
    del files["model-00002-of-00003.safetensors"]
    book = facts_of(integrity.analyze, models.read(models.write(tmp_path, files)))
    found = book.resolve("integrity.shards.missing")
    assert found is not None
    assert isinstance(found.value, frozenset)
    assert any("model-00002-of-00003.safetensors" in text for text in found.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_are_counted_with_their_tensor(
    tmp_path: Path, dtype: type[np.floating]
) -> None:
    tensor = np.ones((4, 4), dtype)
    tensor[0, 0], tensor[1, 1], tensor[2, 2] = np.nan, np.inf, -np.inf
    tensors = {"bad": tensor, "good": np.ones((4,), dtype), "index": np.arange(4)}
    model = models.read(models.folder(tmp_path, tensors=tensors))
    fact = facts_of(integrity.value_scan(), model).resolve("weights.nonfinite")
    assert fact is not None
    assert fact.value == 3
    assert [evidence.field for evidence in fact.evidence] == ["bad"]
    assert fact.note == "looked at 2 of 3 tensors"


def test_large_but_finite_is_fine(tmp_path: Path) -> None:
    tensors = {"a": np.array([65504.0, -65504.0, 6e-8], np.float16)}
    model = models.read(models.folder(tmp_path, tensors=tensors))
    assert facts_of(integrity.value_scan(), model).value("weights.nonfinite") == 0
