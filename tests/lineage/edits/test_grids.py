"""Quantizations that show in numbers, and numbers in which there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steelyard.lineage.aligning.pairs import Stored
from steelyard.lineage.edits.grids import Grids, find_grid
from steelyard.lineage.floats import finite, rounded
from tests.lineage.derivations.packed import quantized
from tests.lineage.memory import MemoryMatrix, MemoryWeights


def stored(values: np.ndarray, scheme: str = "plain") -> Stored:
    owner = MemoryWeights({})
    matrix = MemoryMatrix("mlp.up", "weight", 0, None, values, "up", owner, "F32", scheme)
    return Stored(finite(values), matrix)


def normal(seed: int = 0, width: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((64, width)).astype(np.float32)


def in_steps(values: np.ndarray, size: int, levels: int, *, shifted: bool) -> np.ndarray:
    blocks = values.reshape(-1, size).astype(np.float64)
    low = blocks.min(axis=1, keepdims=True) if shifted else 0.0
    step = (
        (blocks.max(axis=1, keepdims=True) - low)
        if shifted
        else np.abs(blocks).max(axis=1, keepdims=True)
    ) / levels
    made = np.round((blocks - low) / step) * step + low
    return np.asarray(made.reshape(values.shape), np.float32)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize(("levels", "bits"), [(7, 4), (15, 5), (127, 8)])
def test_even_steps_are_found(size: int, levels: int, bits: int) -> None:
    found = find_grid(stored(in_steps(normal(), size, levels, shifted=False)))
    assert found is not None
    where = f"blocks of {size}" if size < 256 else "rows"
    assert found.words == f"{bits} bits in {where}"


@pytest.mark.parametrize("levels", [3, 15])
def test_steps_from_the_smallest_number_are_found(levels: int) -> None:
    found = find_grid(stored(in_steps(normal(), 32, levels, shifted=True)))
    assert found is not None
    assert found.size == 32


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_what_ggml_packs_lies_on_its_grid(kind: str) -> None:
    values = quantized({"a": normal()}, kind).arrays["a"]
    found = find_grid(stored(values))
    assert found is not None
    assert found.size == 32
    # Each number lies within half a step of the one that was meant.
    assert np.abs(values - normal()).max() <= 1.05 * found.steps(values).max()


@given(st.integers(0, 1000))
def test_numbers_that_were_never_quantized_lie_on_none(seed: int) -> None:
    values = normal(seed, 128)
    assert find_grid(stored(values)) is None
    assert find_grid(stored(rounded(values, "BF16"))) is None


@given(arrays.arrays(np.float32, (8, 64), elements=st.floats(width=32)))
def test_any_numbers_are_survived(values: np.ndarray) -> None:
    found = find_grid(stored(values))
    assert found is None or found.steps(finite(values)).shape == values.shape


def test_what_most_layers_show_is_not_looked_for_again() -> None:
    grids = Grids()
    for seed in range(4):
        assert grids.find(stored(normal(seed)), of_base=False) is None
    packed = stored(in_steps(normal(), 32, 7, shifted=False))
    assert grids.find(packed, of_base=False) is None
    assert grids.find(packed, of_base=True) is not None
