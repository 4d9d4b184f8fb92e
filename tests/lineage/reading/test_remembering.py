"""What was read once is not read again, and is what the model gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from steelyard.lineage.reading.remembering import Remembering
from steelyard.lineage.reading.stored import view_of
from steelyard.lineage.reading.views import turned
from tests.lineage.laying import normal, stored
from tests.lineage.memory import MemoryWeights, random_arrays

UP = "model.layers.0.mlp.up_proj.weight"


def test_rows_and_columns_are_fetched_once(tmp_path: Path) -> None:
    arrays = {UP: normal(200, 300), "a vector": normal(40)}
    with stored(tmp_path, arrays) as weights:
        kept = Remembering(weights)
        matrix = kept.matrix("mlp.up", 0)
        assert matrix is not None
        columns = view_of(matrix).columns
        assert columns is not None
        for _ in range(2):
            assert np.array_equal(matrix.rows(10, 20), arrays[UP][10:30])
            assert np.array_equal(columns(30, 8), arrays[UP][:, 30:38])
            assert np.array_equal(columns(32, 4), arrays[UP][:, 32:36])
        assert weights.bytes_read == 4 * (20 * 300 + 200 * 8)
        (vector,) = kept.vectors()
        assert np.array_equal(vector.whole(), arrays["a vector"])


def test_few_rows_of_a_turned_matrix_take_few_bytes(tmp_path: Path) -> None:
    arrays = {UP: normal(200, 300)}
    with stored(tmp_path, arrays) as weights:
        matrix = weights.matrix("mlp.up", 0)
        assert matrix is not None
        view = turned(view_of(matrix))
        assert np.array_equal(view.read(5, 4), arrays[UP].T[5:9])
        assert weights.bytes_read == 4 * 200 * 4


def test_models_without_columns_and_vectors_give_none() -> None:
    kept = Remembering(MemoryWeights(random_arrays(0)))
    assert kept.vectors() == ()
    matrix = kept.matrix("mlp.up", 0)
    assert matrix is not None
    assert view_of(matrix).columns is None


def test_what_does_not_fit_is_read_again(tmp_path: Path) -> None:
    arrays = {UP: normal(200, 300)}
    with stored(tmp_path, arrays) as weights:
        matrix = Remembering(weights, room=100).matrix("mlp.up", 0)
        assert matrix is not None
        for _ in range(2):
            assert np.array_equal(matrix.rows(0, 2), arrays[UP][:2])
        assert weights.bytes_read == 2 * 2 * 300 * 4
