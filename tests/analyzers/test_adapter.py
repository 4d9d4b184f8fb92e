"""The rank of an adapter, as declared and as its tensors show it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from steelyard.analyzers import adapter
from steelyard.facts import Basis, Interval
from tests import models
from tests.analyzers.facts_of import facts_of


def lora(*ranks: int) -> bytes:
    return save(
        {
            f"base_model.model.layers.{layer}.q_proj.lora_{side}.weight": np.zeros(
                (rank, 16) if side == "A" else (16, rank), np.float32
            )
            for layer, rank in enumerate(ranks)
            for side in "AB"
        }
    )


def files(weights: bytes, **settings: object) -> dict[str, bytes]:
    return {
        "adapter_model.safetensors": weights,
        "adapter_config.json": json.dumps({"peft_type": "LORA", **settings}).encode(),
    }


def test_declared_and_measured_agree(tmp_path: Path) -> None:
    book = facts_of(adapter.analyze, models.read(models.write(tmp_path, files(lora(4, 4), r=4))))
    assert [(f.basis, f.value) for f in book.claims("adapter.rank")] == [
        (Basis.MEASURED, 4),
        (Basis.DECLARED, 4),
    ]
    assert not book.contradictions()


def test_a_wrong_rank_is_a_contradiction(tmp_path: Path) -> None:
    book = facts_of(adapter.analyze, models.read(models.write(tmp_path, files(lora(4), r=8))))
    assert [found.name for found in book.contradictions()] == ["adapter.rank"]


def test_ranks_that_differ_are_a_range(tmp_path: Path) -> None:
    settings = {"r": 2, "rank_pattern": {"1.q_proj": 8}}
    data = files(lora(2, 8), **settings)
    book = facts_of(adapter.analyze, models.read(models.write(tmp_path, data)))
    assert [f.value for f in book.claims("adapter.rank")] == [Interval(2, 8)]


@pytest.mark.parametrize("rank", [-1, "4", 2.5, [4]])
def test_settings_of_a_wrong_type_are_named(tmp_path: Path, rank: object) -> None:
    model = models.read(models.write(tmp_path, files(lora(4), r=rank)))
    book = facts_of(adapter.analyze, model)
    assert book.value("integrity.documents.damaged")
    assert adapter.settings_of(model) is None


def test_no_adapter(tmp_path: Path) -> None:
    assert not list(adapter.analyze(models.read(models.folder(tmp_path))))
