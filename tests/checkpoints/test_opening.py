"""From files to a model: formats by content, shards joined, the main set chosen, damage named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from steelyard.checkpoints.tensors import ProblemKind
from steelyard.errors import CheckpointError
from tests import models
from tests.checkpoints.gguf_files import Weights as GgufWeights
from tests.checkpoints.gguf_files import gguf_bytes
from tests.checkpoints.torch_files import OS_SYSTEM, torch_zip, weight

ONE = save({"a": np.zeros((2, 3), np.float32)})
GGUF = gguf_bytes({"general.architecture": "llama"}, [GgufWeights("a", 0, (2, 3), bytes(24))])
TORCH = torch_zip({"a": weight("0", 2, 3)})


def test_a_plain_folder(tmp_path: Path) -> None:
    model = models.read(models.folder(tmp_path))
    assert model.main is not None
    assert model.main.format == "safetensors"
    assert set(model.json) == {"config.json"}
    assert set(model.texts) == {"README.md"}
    assert model.config() == ("config.json", models.CONFIG)
    assert not model.problems


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("weights.dat", ONE, "safetensors"),
        ("weights.dat", GGUF, "gguf"),
        ("weights.gguf", ONE, "safetensors"),
        ("weights.safetensors", GGUF, "gguf"),
        ("model.bin", ONE, "safetensors"),
        ("model.bin", TORCH, "pytorch"),
        ("model.safetensors", TORCH, "pytorch"),
    ],
)
def test_bytes_decide_not_names(tmp_path: Path, name: str, data: bytes, form: str) -> None:
    # Small files without a telling name are not looked into, so these are made large enough.
    padded = save({"a": np.zeros((32, 32), np.float32)}) if data is ONE else data
    if data is GGUF:
        padded = gguf_bytes({"general.architecture": "llama"},
                            [GgufWeights("a", 0, (32, 32), bytes(4096))])  # fmt: skip
    model = models.read(models.write(tmp_path, {name: padded}))
    assert [part.format for part in model.weights] == [form]


def test_shards_are_joined_by_their_index(tmp_path: Path) -> None:
    tensors = models.weights()
    model = models.read(models.write(tmp_path, models.shards(tensors, 3)))
    assert [len(part.files) for part in model.weights] == [3]
    assert model.main is not None
    assert {tensor.name for tensor in model.main.tensors} == set(tensors)
    assert not model.main.problems


def test_shards_without_an_index_are_joined_by_their_numbers(tmp_path: Path) -> None:
    files = models.shards(models.weights(), 3)
    del files["model.safetensors.index.json"]
    del files["model-00002-of-00003.safetensors"]
    model = models.read(models.write(tmp_path, files))
    assert model.main is not None
    assert len(model.main.files) == 2
    assert [p.kind for p in model.main.problems] == [ProblemKind.MISSING_SHARD]


def test_the_model_comes_before_its_other_encodings_and_training_state(tmp_path: Path) -> None:
    big = save({"a": np.zeros((8, 8), np.float32)})
    adapter = save({"base_model.model.a.lora_A.weight": np.zeros((2, 64), np.float32)})
    model = models.read(
        models.write(
            tmp_path,
            {
                "a-q4.gguf": GGUF,
                "adapter_model.safetensors": adapter,
                "model.safetensors": ONE,
                "onnx/model.safetensors": big,
                "optimizer.pt": torch_zip({"state": weight("0", 64, 64)}),
                "pytorch_model.bin": TORCH,
            },
        )
    )
    assert [part.files[0] for part in model.weights] == [
        "model.safetensors",
        "pytorch_model.bin",
        "a-q4.gguf",
        "onnx/model.safetensors",
        "adapter_model.safetensors",
        "optimizer.pt",
    ]


def test_a_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    model = models.read(models.write(tmp_path, {"model.safetensors": ONE, "other.gguf": GGUF[:40]}))
    assert [part.files for part in model.weights] == [("model.safetensors",)]
    assert [(p.kind, p.file) for p in model.problems] == [(ProblemKind.UNREADABLE, "other.gguf")]


def test_only_damaged_weights_is_an_error_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        models.read(models.write(tmp_path, {"model.gguf": GGUF[:40]}))
    assert caught.value.file == "model.gguf"
    assert caught.value.offset is not None


def test_what_is_named_like_weights_but_is_none_is_named(tmp_path: Path) -> None:
    model = models.read(
        models.write(
            tmp_path,
            {"model.safetensors": ONE, "strange.bin": b"\x07" * 64, "old.h5": b"\x89HDF\r\n\x1a\n"},
        )
    )
    assert [(p.kind, p.file) for p in model.problems] == [
        (ProblemKind.TENSORS_UNREAD, "old.h5"),
        (ProblemKind.NOT_FULLY_READ, "strange.bin"),
    ]


def test_a_damaged_document_is_a_problem(tmp_path: Path) -> None:
    model = models.read(models.folder(tmp_path, files={"generation_config.json": b'{"a": 1,'}))
    assert [(p.kind, p.file) for p in model.problems] == [
        (ProblemKind.BAD_DOCUMENT, "generation_config.json")
    ]


def test_a_raw_pickle_is_read_never_loaded(tmp_path: Path) -> None:
    data = b"\x80\x02" + OS_SYSTEM + b"."
    model = models.read(models.write(tmp_path, {"pytorch_model.bin": data}))
    assert model.main is not None
    assert [found.name for found in model.main.imports] == ["os.system"]


def test_tokenizer_models_are_no_weights(tmp_path: Path) -> None:
    model = models.read(models.folder(tmp_path, files={"tokenizer.model": b"\x0a\x0e" * 2000}))
    assert not model.problems


def test_an_index_that_names_nothing_there_does_no_harm(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../../etc/passwd", "b": 7}}
    data = json.dumps(index).encode()
    model = models.read(models.folder(tmp_path, files={"model.safetensors.index.json": data}))
    assert len(model.weights) == 1


def test_beside_looks_upward(tmp_path: Path) -> None:
    files = {"a/b/model.safetensors": ONE, "a/config.json": b"{}", "README.md": b"# x"}
    model = models.read(models.write(tmp_path, files))
    assert model.config() == ("a/config.json", {})
    assert model.beside("a/b/model.safetensors", "README.md") == "README.md"
    assert model.beside("a/b/model.safetensors", "none.json") is None
