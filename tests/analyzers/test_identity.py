"""The identity as a fact, and all digests as data for a report."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from steelyard.analyzers.identity import digest_report, identity_analyzer, measure
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
    (fact,) = identity_analyzer()(model)
    sha256 = hashlib.sha256((tmp_path / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert fact.name == "model.identity"
    assert fact.basis is Basis.MEASURED
    assert isinstance(fact.value, str)
    assert len(fact.value) == 67
    assert fact.evidence == (Evidence(file="model.safetensors", digest=f"sha256:{sha256}"),)
    FactBook([fact])


def test_without_sha256_the_files_are_only_named(model: Model) -> None:
    (with_sums,) = identity_analyzer()(model)
    (fact,) = identity_analyzer(sha256=False, workers=1)(model)
    assert fact.value == with_sums.value
    assert fact.evidence == (Evidence(file="model.safetensors"),)


def test_a_model_without_weights_has_no_identity(model: Model) -> None:
    assert list(identity_analyzer()(Model(model.source))) == []
    assert measure(Model(model.source)) is None


def test_a_cache_does_not_change_the_answer(model: Model, tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "digests.sqlite", clock=lambda: time.time_ns() + 10**10)
    first = list(identity_analyzer(cache=cache)(model))
    assert cache.info().entries == 2
    assert list(identity_analyzer(cache=cache)(model)) == first


def test_the_report_holds_every_digest_that_is_asked_for(model: Model) -> None:
    digests = measure(model)
    assert digests is not None
    short = digest_report(model, digests)
    full = digest_report(model, digests, tensors=True)
    assert json.loads(json.dumps(full)) == full
    assert short["identity"] == digests.root
    (file,) = short["files"]
    assert file == {
        "path": "model.safetensors",
        "size": model.source.files[1].size,
        "sha256": digests.files["model.safetensors"].sha256,
        "sha256_basis": "measured",
    }
    assert "tensors" not in short
    assert [each["name"] for each in full["tensors"]] == ["a", "b"]
    assert full["tensors"][0]["dtype"] == "F32"
    assert full["tensors"][1]["shape"] == [2, 3]
    assert full["tensors"][1]["digest"].startswith("b3:")
