"""What stands above the noise of rounding, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.lineage.edits.spectra import singular_values, spectrum


def noise(seed: int, shape: tuple[int, int] = (64, 512)) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    # Blocks of one matrix differ in size by a factor of two or so.
    blocks = np.exp(0.4 * chance.standard_normal((shape[0], shape[1] // 32)))
    steps = np.repeat(blocks, 32, axis=1) * 1e-3
    return chance.uniform(-0.5, 0.5, shape) * steps, steps


@pytest.mark.parametrize("seed", range(20))
def test_rounding_alone_has_no_rank(seed: int) -> None:
    drawn, steps = noise(seed)
    found = spectrum(drawn, steps)
    assert found.rank == 0
    assert 0.9 < found.tail < 1.1
    assert found.excess < 1.15


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_rank_of_an_update_is_counted(rank: int) -> None:
    drawn, steps = noise(1)
    chance = np.random.default_rng(2)
    update = chance.standard_normal((64, rank)) @ chance.standard_normal((rank, 512)) * 0.01
    found = spectrum(drawn + update, steps)
    assert found.rank == rank
    assert 0.8 < found.tail < 1.2
    assert found.wide > 10


def test_one_number_that_is_off_is_not_wide() -> None:
    drawn, steps = noise(3)
    drawn[5, 7] += 1.0
    assert spectrum(drawn, steps).wide < 2


def test_singular_values_are_those_of_numpy() -> None:
    matrix = np.random.default_rng(4).standard_normal((20, 50))
    assert singular_values(matrix) == pytest.approx(np.linalg.svd(matrix, compute_uv=False))
    assert not singular_values(np.zeros((3, 4))).any()
