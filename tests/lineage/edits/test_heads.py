"""What values and output do together stays when heads are turned, and not when they are trained."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.lineage.aligning.alignment import Alignment
from steelyard.lineage.edits.heads import keeps_products
from tests.lineage.derivations import disguises, numbers
from tests.lineage.derivations.truth import Arrays
from tests.lineage.memory import MemoryWeights, random_arrays

BASE = random_arrays(9)
HEADS = disguises.Heads(4, 2)


def kept(child: Arrays, *, heads: int | None = None) -> bool:
    ours = MemoryWeights(child, heads=heads, kv_heads=None if heads is None else 2)
    return keeps_products(ours, MemoryWeights(BASE), Alignment((0, 1, 2, 3)), budget=10**8)


@pytest.mark.parametrize("heads", [None, 4])
@pytest.mark.parametrize("seed", range(3))
def test_turned_heads_do_what_they_did(seed: int, heads: int | None) -> None:
    assert kept(disguises.turn_heads(BASE, HEADS, seed=seed).arrays, heads=heads)


@pytest.mark.parametrize("heads", [None, 4])
def test_heavy_training_does_not(heads: int | None) -> None:
    assert not kept(numbers.finetune(BASE, change=0.7, decay=0.1).arrays, heads=heads)
    assert not kept(random_arrays(10), heads=heads)


def test_nothing_is_said_without_attention() -> None:
    bare = {name: array for name, array in BASE.items() if "self_attn" not in name}
    assert not kept(bare)


def test_numbers_whose_squares_overflow_are_compared() -> None:
    scaled = {
        name: array * np.float32(1e12) if ".v_proj" in name or ".o_proj" in name else array
        for name, array in BASE.items()
    }
    assert kept(scaled)
