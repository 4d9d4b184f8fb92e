"""Weights that were set to zero, and zeros that rounding made."""

from __future__ import annotations

import pytest

from steelyard.lineage.aligning.alignment import Alignment, sample
from steelyard.lineage.aligning.pairs import Sample
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.sparsity import Sparsity, judge_sparsity
from tests.lineage.derivations import numbers
from tests.lineage.derivations.packed import in_memory, quantized
from tests.lineage.derivations.truth import Derived
from tests.lineage.memory import MemoryWeights, random_arrays

BASE = random_arrays(8)


def taken(child: Derived) -> Sample:
    return sample(in_memory(child), MemoryWeights(BASE), Alignment((0, 1, 2, 3)))


def judged(child: Derived) -> Sparsity | None:
    return judge_sparsity(taken(child), Grids())


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_share_of_zeros(share: float) -> None:
    found = judged(numbers.sparsify(BASE, share=share))
    assert found is not None
    assert found.edit.details["zeros"] == pytest.approx(share, abs=0.02)
    assert found.edit.details["pattern"] == "unstructured"
    assert all(pair.change == 0 for pair in found.rest.pairs)


def test_two_of_four() -> None:
    found = judged(numbers.sparsify(BASE, of_four=True))
    assert found is not None
    assert found.edit.details["pattern"] == "2:4"


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0", "Q4_0"])
def test_zeros_that_rounding_made_are_none(kind: str) -> None:
    assert judged(quantized(BASE, kind)) is None


def test_training_makes_none() -> None:
    assert judged(numbers.finetune(BASE, change=0.1)) is None
    assert judge_sparsity(Sample(()), Grids()) is None
