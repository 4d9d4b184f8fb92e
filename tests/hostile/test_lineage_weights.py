"""Weights that are broken, odd or of another kind, compared: an answer, and soon."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from steelyard.lineage.relation import Comparison, EditKind, Related
from tests.containers import as_gguf, model_folder
from tests.hostile.comparing import BASE, EMBEDDING, UP, Arrays, compared, folder
from tests.lineage.memory import random_arrays


def both_ways(tmp_path: Path, odd: Arrays) -> Iterator[Comparison]:
    """Compare an odd model with a sound one and with itself, in both directions."""
    sound, strange = folder(tmp_path / "sound", BASE), folder(tmp_path / "odd", odd)
    yield compared(sound, strange)
    yield compared(strange, sound)
    yield compared(strange, strange)


def filled(value: float, *words: str) -> Arrays:
    """Fill the weights whose names hold one of the words (all if none is given)."""
    return {
        name: np.full_like(array, value) if not words or any(w in name for w in words) else array
        for name, array in BASE.items()
    }


FILLED: Mapping[str, Callable[[], Arrays]] = {
    "all NaN": lambda: filled(np.nan),
    "all infinite": lambda: filled(np.inf),
    "all minus infinite": lambda: filled(-np.inf),
    "all zero": lambda: filled(0.0),
    "all one": lambda: filled(1.0),
    "all the largest": lambda: filled(float(np.finfo(np.float32).max)),
    "all the smallest": lambda: filled(float(np.finfo(np.float32).smallest_subnormal)),
    "embedding NaN": lambda: filled(np.nan, "embed"),
    "embedding infinite": lambda: filled(np.inf, "embed"),
    "embedding zero": lambda: filled(0.0, "embed"),
    "embedding the largest": lambda: filled(float(np.finfo(np.float32).max), "embed"),
    "norms infinite": lambda: filled(np.inf, "norm"),
    "norms the largest": lambda: filled(float(np.finfo(np.float32).max), "norm"),
    "norms zero": lambda: filled(0.0, "norm"),
    "attention infinite": lambda: filled(-np.inf, "self_attn"),
    "up projections NaN": lambda: filled(np.nan, "up_proj"),
    "writing matrices zero": lambda: filled(0.0, "o_proj", "down_proj"),
    "one layer NaN": lambda: filled(np.nan, "layers.2."),
}


@pytest.mark.parametrize("kind", FILLED)
def test_numbers_that_are_none(kind: str, tmp_path: Path) -> None:
    answers = list(both_ways(tmp_path, FILLED[kind]()))
    if kind.startswith("all"):
        verdicts = {said.related.verdict for said in answers}
        assert verdicts <= {Related.NOT_FOUND, Related.CANNOT_TELL}


def test_what_is_damaged_does_not_hide_the_rest(tmp_path: Path) -> None:
    said, *_ = both_ways(tmp_path, filled(np.nan, "layers.2."))
    assert said.related.verdict is Related.RELATED
    matched = [part.name for part in said.related.components if part.base is not None]
    assert {"embedding", "layers.0", "layers.1", "layers.3"} <= set(matched)


def bert(seed: int = 3, *, layers: int = 2, width: int = 48) -> Arrays:
    """Make a BERT of random weights."""
    chance = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray[Any, Any]:
        return chance.standard_normal(shape, np.float32)

    made = {
        "bert.embeddings.word_embeddings.weight": drawn(400, width),
        "bert.embeddings.position_embeddings.weight": drawn(64, width),
        "bert.embeddings.LayerNorm.weight": drawn(width),
        "bert.embeddings.LayerNorm.bias": drawn(width),
    }
    for layer in range(layers):
        start = f"bert.encoder.layer.{layer}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense"):  # fmt: skip
            made[f"{start}.{name}.weight"] = drawn(width, width)
            made[f"{start}.{name}.bias"] = drawn(width)
        made[f"{start}.intermediate.dense.weight"] = drawn(4 * width, width)
        made[f"{start}.output.dense.weight"] = drawn(width, 4 * width)
    return made


def images() -> Arrays:
    """Make a network for images: convolutions, no embedding, no layers."""
    chance = np.random.default_rng(4)
    return {
        f"features.{n}.conv.weight": chance.standard_normal((32, 3 if n == 0 else 32, 3, 3), "f4")
        for n in range(4)
    }


@pytest.mark.parametrize("other", [bert, images], ids=["a BERT", "a network for images"])
def test_models_of_other_kinds(other: Callable[[], Arrays], tmp_path: Path) -> None:
    answers = list(both_ways(tmp_path, other()))
    for said in answers[:2]:
        assert said.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
        assert said.edits == ()
    assert [edit.kind for edit in answers[2].edits] == [EditKind.IDENTICAL]


def part(*words: str) -> Arrays:
    """Keep the weights whose names hold one of the words."""
    return {name: array for name, array in BASE.items() if any(word in name for word in words)}


def shaped(name: str, *shape: int) -> Arrays:
    """Replace one weight by ones of another shape."""
    return {**BASE, name: np.ones(shape, np.float32)}


def renumbered(number: int) -> Arrays:
    return {name.replace("layers.3.", f"layers.{number}."): a for name, a in BASE.items()}


SHAPES: Mapping[str, Callable[[], Arrays]] = {
    "no layers": lambda: part("embed", "norm.weight", "lm_head"),
    "an embedding alone": lambda: part("embed"),
    "one layer": lambda: part("embed", "layers.0."),
    "one layer and nothing else": lambda: part("layers.0."),
    "norms alone": lambda: part("norm"),
    "an embedding without rows": lambda: shaped(EMBEDDING, 0, 64),
    "an embedding without columns": lambda: shaped(EMBEDDING, 512, 0),
    "an embedding of one token": lambda: shaped(EMBEDDING, 1, 64),
    "an embedding of one number": lambda: shaped(EMBEDDING, 1, 1),
    "an embedding that is a vector": lambda: shaped(EMBEDDING, 512),
    "an embedding that is a scalar": lambda: shaped(EMBEDDING),
    "an embedding of three dimensions": lambda: shaped(EMBEDDING, 8, 64, 64),
    "an embedding of another width": lambda: shaped(EMBEDDING, 512, 48),
    "a matrix without rows": lambda: shaped(UP, 0, 64),
    "a matrix without columns": lambda: shaped(UP, 160, 0),
    "a matrix that is a scalar": lambda: shaped(UP),
    "a matrix that is a vector": lambda: shaped(UP, 160),
    "a matrix of one number": lambda: shaped(UP, 1, 1),
    "a matrix of another width": lambda: shaped(UP, 160, 32),
    "a matrix of another height": lambda: shaped(UP, 7, 64),
    "a norm that is a scalar": lambda: shaped("model.layers.0.input_layernorm.weight"),
    "a norm that is a matrix": lambda: shaped("model.layers.0.input_layernorm.weight", 64, 64),
    "a norm of another width": lambda: shaped("model.layers.0.input_layernorm.weight", 63),
    "a norm without numbers": lambda: shaped("model.layers.0.input_layernorm.weight", 0),
    "a layer of a huge number": lambda: renumbered(999_999),
    "a layer of a number too long": lambda: renumbered(10**30),
    "names that say nothing": lambda: {f"x{n}": a for n, a in enumerate(BASE.values())},
    "a name of many words": lambda: {
        **part("embed"),
        "a." * 400 + "weight": np.ones((64, 64), "f4"),
    },
    "one scalar": lambda: {"x": np.ones((), np.float32)},
    "one number": lambda: {"x": np.ones(1, np.float32)},
    "whole numbers": lambda: {name: a.astype(np.int64) for name, a in BASE.items()},
    "bytes": lambda: {name: np.zeros(a.shape, np.uint8) for name, a in BASE.items()},
    "truth values": lambda: {name: a > 0 for name, a in BASE.items()},
    "doubles": lambda: {name: a.astype(np.float64) * 1e300 for name, a in BASE.items()},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_that_no_model_has(kind: str, tmp_path: Path) -> None:
    assert len(list(both_ways(tmp_path, SHAPES[kind]()))) == 3


def test_two_names_for_one_role(tmp_path: Path) -> None:
    twice = {**BASE, "transformer.wte.weight": BASE[EMBEDDING] * 2, "embeddings.weight": BASE[UP]}
    assert len(list(both_ways(tmp_path, twice))) == 3


def test_a_candidate_that_is_of_no_use(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", BASE)
    moved = {
        name: array + np.float32(0.01) * random_arrays(9)[name] for name, array in BASE.items()
    }
    child = folder(tmp_path / "child", moved)
    useless = [
        folder(tmp_path / "nan", filled(np.nan)),
        folder(tmp_path / "zero", filled(0.0)),
        folder(tmp_path / "bert", bert()),
        folder(tmp_path / "narrow", random_arrays(5, width=32)),
        folder(tmp_path / "again", BASE),
    ]
    said = compared(base, child, *useless)
    assert [edit.kind for edit in said.edits] == [EditKind.FINETUNE]
    assert "nearest" not in said.edits[0].details


def test_the_same_model_twice(tmp_path: Path) -> None:
    place = folder(tmp_path / "one", BASE)
    said = compared(place, place, place)
    assert [edit.kind for edit in said.edits] == [EditKind.IDENTICAL]
    assert said.related.verdict is Related.RELATED


def test_gguf_against_what_it_is_not(tmp_path: Path) -> None:
    gguf = model_folder(tmp_path / "gguf", weights=as_gguf())
    for other in (bert(), images(), random_arrays(8)):
        said = compared(folder(tmp_path / f"other{len(other)}", other), gguf)
        assert said.edits == ()


def test_no_warning_is_left_over(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild = {name: (a * np.float32(1e38)).astype("f4") for name, a in BASE.items()}
        assert len(list(both_ways(tmp_path, wild))) == 3


def test_an_adapter_with_factors_that_do_not_multiply(tmp_path: Path) -> None:
    start = "base_model.model.model.layers.0.self_attn.q_proj"
    ones = np.ones((8, 64), np.float32)
    for number, (down, up) in enumerate(
        [
            (ones, ones), (ones[:0], ones.T[:, :0]), (ones, ones.T * np.nan), (ones, ones.T * 0),
            (ones * 3e38, ones.T * 3e38), (ones[0], ones[0]), (ones, np.ones((64, 8, 1, 1), "f4")),
        ]
    ):  # fmt: skip
        tensors = {f"{start}.lora_A.weight": down, f"{start}.lora_B.weight": up}
        data = {"adapter_model.safetensors": safetensors.numpy.save(tensors)}
        adapter = model_folder(tmp_path / f"adapter{number}", weights=data)
        said = compared(folder(tmp_path / f"sound{number}", BASE), adapter)
        assert said.related.verdict is Related.CANNOT_TELL


def test_many_small_matrices_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.lineage.relating.anonymous._MOST_PAIRS", 2_000)
    chance = np.random.default_rng(6)
    many = {f"x{n}": chance.standard_normal((16, 16), np.float32) for n in range(600)}
    other = {name: array[::-1].copy() for name, array in many.items()}
    said = compared(folder(tmp_path / "one", many), folder(tmp_path / "two", other))
    assert said.related.verdict is Related.NOT_FOUND
