"""One damaged file in one of two models: a comparison comes to a verdict, or says what is wrong.

Nothing but a `SourceError` or a `CheckpointError` may come out of `compare`, whichever of the two
is damaged, and what comes of it can be written in every format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError, SourceError
from steelyard.lineage.comparing import compare
from steelyard.sources import Network, open_source
from tests.containers import (
    as_gguf,
    as_legacy_torch,
    as_npz,
    as_safetensors,
    as_shards,
    as_torch,
    model_folder,
)
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations
from tests.hostile.comparing import write_everywhere
from tests.lineage.memory import random_arrays

ARRAYS = random_arrays(2, layers=2, width=32, feed_forward=64, vocabulary=96)
TOKENS = json.dumps({"model": {"vocab": {f"t{n}": n for n in range(96)}}}).encode()
PLAIN: dict[str, Any] = {
    "card": None,
    "license_text": None,
    "config": {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2},
}
Files = Mapping[str, bytes]


def onnx() -> Files:
    """Write the matrices as an exporter does: numbered, turned."""
    weights = [
        numpy_helper.from_array(np.ascontiguousarray(array.T), f"onnx::MatMul_{n}")
        for n, array in enumerate(ARRAYS.values())
    ]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["onnx::MatMul_0"], ["y"])
    graph = helper.make_graph([node], "g", [], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return {"model.onnx": bytes(model.SerializeToString())}


def adapter() -> Files:
    """Write a LoRA for one matrix of each layer."""
    tensors = {}
    for layer in range(2):
        start = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{start}.lora_A.weight"] = np.ones((4, 32), np.float32)
        tensors[f"{start}.lora_B.weight"] = np.ones((32, 4), np.float32)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "a/b"}
    return {
        "adapter_model.safetensors": safetensors.numpy.save(tensors),
        "adapter_config.json": json.dumps(settings).encode(),
    }


def tokenizer() -> Files:
    """Write a model beside the tokenizer that is damaged; rows are moved, so that it is read."""
    order = np.random.default_rng(0).permutation(96)
    moved = {name: array[order] if len(array) == 96 else array for name, array in ARRAYS.items()}
    names = {f"t{old}": new for new, old in enumerate(order.tolist())}
    vocabulary = json.dumps({"model": {"vocab": names}, "added_tokens": []}).encode()
    return {**as_safetensors(moved), "tokenizer.json": vocabulary}


CASES: Mapping[str, tuple[str, Callable[[], Files]]] = {
    "safetensors": ("model.safetensors", lambda: as_safetensors(ARRAYS)),
    "shard": ("model-00001-of-00003.safetensors", lambda: as_shards(ARRAYS)),
    "gguf": ("model.gguf", as_gguf),
    "torch zip": ("pytorch_model.bin", lambda: as_torch(ARRAYS)),
    "torch legacy": ("pytorch_model.bin", lambda: as_legacy_torch(ARRAYS)),
    "npz": ("model.npz", lambda: as_npz(ARRAYS)),
    "onnx": ("model.onnx", onnx),
    "adapter": ("adapter_model.safetensors", adapter),
    "adapter settings": ("adapter_config.json", adapter),
    "tokenizer": ("tokenizer.json", tokenizer),
    "configuration": ("config.json", lambda: as_safetensors(ARRAYS)),
}
"""Kind of file to its name and the files that come with it."""


def attempt(base: Path, child: Path) -> bool:
    """Compare what may be anything, and write what comes of it; tell whether something came."""
    with ExitStack() as stack:
        try:
            models = []
            for place in (base, child):
                source = open_source(str(place), network=Network(offline=True))
                stack.callback(source.close)
                models.append(read_model(source))
            said = compare(models[0], models[1])
        except (SourceError, CheckpointError):
            return False
    write_everywhere(said)
    return True


@pytest.mark.parametrize("kind", CASES)
def test_one_damaged_file(kind: str, tmp_path: Path) -> None:
    name, write = CASES[kind]
    beside = {**as_safetensors(ARRAYS), "tokenizer.json": TOKENS}
    sound = model_folder(tmp_path / "sound", weights=beside, **PLAIN)
    folder = model_folder(tmp_path / "model", weights=write(), **PLAIN)
    assert attempt(sound, folder)
    valid = (folder / name).read_bytes()
    for number, damaged in enumerate(mutations(valid, seed=len(kind), count=fuzz_count(24, 10))):
        (folder / name).write_bytes(damaged)
        try:
            attempt(sound, folder)
            attempt(folder, sound)
        except BaseException as error:
            error.add_note(f"{kind}: mutation {number} of seed {len(kind)}")
            raise
