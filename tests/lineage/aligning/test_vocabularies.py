"""Which rows of two embeddings are the same token, where the rows themselves do not say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from steelyard.checkpoints.opening import read_model
from steelyard.lineage.aligning.vocabularies import match_tokens
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.sources.local import open_local
from tests.models import write

COUNT = 600
WORDS = [f"word{number}" for number in range(COUNT)]


def model(folder: Path, seed: int, words: list[str] | None) -> StoredWeights:
    rows = np.random.default_rng(seed).standard_normal((COUNT, 32)).astype(np.float32)
    files = {"model.safetensors": save({"model.embed_tokens.weight": rows})}
    if words is not None:
        numbers = {word: row for row, word in enumerate(words)}
        files["tokenizer.json"] = json.dumps({"model": {"vocab": numbers}}).encode()
    return StoredWeights(read_model(open_local(str(write(folder, files)))))


@pytest.mark.parametrize(
    ("words", "by", "base"),
    [
        (WORDS, "strings", range(COUNT)),
        (WORDS[::-1], "strings", range(COUNT)[::-1]),
        (WORDS[5:] + WORDS[:5], "strings", [(row + 5) % COUNT for row in range(COUNT)]),
        ([f"other{number}" for number in range(COUNT)], "index", range(COUNT)),
        (None, "index", range(COUNT)),
    ],
)
def test_tokens_are_told_by_string(
    words: list[str] | None, by: str, base: list[int], tmp_path: Path
) -> None:
    ours, theirs = model(tmp_path / "a", 1, words), model(tmp_path / "b", 2, WORDS)
    with ours, theirs:
        found = match_tokens(ours, theirs, budget=0)
    assert found is not None
    assert (found.by, found.base.tolist()) == (by, list(base))
    assert found.child.tolist() == list(range(COUNT))


def test_of_one_tokenizer_every_row_is_its_own(tmp_path: Path) -> None:
    few = WORDS[:100]
    ours, theirs = model(tmp_path / "a", 1, few), model(tmp_path / "b", 2, few)
    with ours, theirs:
        found = match_tokens(ours, theirs, budget=0)
    assert found is not None
    assert (found.by, len(found.child), found.moved) == ("strings", COUNT, 0)
    assert found.child.tolist() == found.base.tolist()
