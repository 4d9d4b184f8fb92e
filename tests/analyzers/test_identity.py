"""The identity as a fact, and all digests as data for a report."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from steelyard.analyzers.identity import identity_facts, measure
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.facts import Basis, Evidence, FactBook
from steelyard.sources.local import open_local


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors: dict[str, NDArray[Any]] = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.ones(3, np.float16),
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "README.md").write_text("# Model\n")
    return read_model(open_local(str(folder)))


def test_the_identity_is_measured_and_the_files_are_its_evidence(
    model: Model, tmp_path: Path
) -> None:
    (fact,) = identity_facts(model, measure(model))
    sha256 = hashlib.sha256((tmp_path / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert fact.name == "model.identity"
    assert fact.basis is Basis.MEASURED
    assert isinstance(fact.value, str)
    assert len(fact.value) == 67
    assert fact.evidence == (Evidence(file="model.safetensors", digest=f"sha256:{sha256}"),)
    FactBook([fact])


def test_without_sha256_the_files_are_only_named(model: Model) -> None:
    (with_sums,) = identity_facts(model, measure(model))
    (fact,) = identity_facts(model, measure(model, sha256=False, workers=1))
    assert fact.value == with_sums.value
    assert fact.evidence == (Evidence(file="model.safetensors"),)


def test_a_model_without_weights_has_no_identity(model: Model) -> None:
    assert list(identity_facts(Model(model.source), None)) == []
    assert measure(Model(model.source)) is None


def test_a_cache_does_not_change_the_answer(model: Model, tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "digests.sqlite", clock=lambda: time.time_ns() + 10**10)
    first = list(identity_facts(model, measure(model, cache=cache)))
    assert cache.info().entries == 2
    assert list(identity_facts(model, measure(model, cache=cache))) == first
