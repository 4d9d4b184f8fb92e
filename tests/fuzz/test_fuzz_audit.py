"""One damaged file in a small model: an audit comes to a report, or says what it cannot read.

Nothing but a `SourceError` or a `CheckpointError` may come out of `audit`, and a report can be
rendered in every format. That holds for each kind of file that is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from steelyard.auditing import Options, audit
from steelyard.errors import CheckpointError, SourceError
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.reports.report import Report
from steelyard.rules import load_packs
from steelyard.sources import Network
from tests.checkpoints.torch_files import OS_SYSTEM, Encoder, Made, Raw
from tests.containers import (
    CARD,
    CONFIG,
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

SMALL = {
    "model.embed_tokens.weight": np.ones((4, 2), np.float32),
    "model.layers.0.self_attn.q_proj.weight": np.ones((2, 2), np.float32),
    "model.norm.weight": np.ones(2, np.float32),
}
OPTIONS = Options(network=Network(offline=True), scan_values=True, packs=load_packs())
AS_OF = date(2026, 11, 23)


def onnx() -> bytes:
    """Build a graph with two weights."""
    weights = [numpy_helper.from_array(np.ones((2, 3), np.float32), name) for name in "ab"]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "a"], ["y"])], "g", [given], [made], weights
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString()
    )


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(12, dtype=np.float32).reshape(3, 4))
    return stream.getvalue()


def raw_pickle() -> bytes:
    """Assemble a pickle that holds no tensors, and would run a command."""
    made = Made("collections.OrderedDict", (), {"state": [1, 2.5, "three", b"4"]})
    return Encoder(4).pickle({"a": made, "b": Raw(OS_SYSTEM), "c": made})


ADAPTER = {
    "base_model_name_or_path": "org/base",
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["q_proj", "v_proj"],
}
FRONT_MATTER = """\
---
license: other
license_name: ours
license_link: LICENSE
language: [en, "de"]
base_model: org/base
base_model_relation: finetune
datasets: [a/b, c/d]
model-index:
- name: tiny
  results:
  - task: {type: text-generation}
    dataset: {type: x, name: X, revision: 0123456}
    metrics: [{type: accuracy, value: 0.5}]
---
"""

Files = Mapping[str, bytes]
CASES: Mapping[str, tuple[str, Callable[[], Files]]] = {
    "safetensors": ("model.safetensors", lambda: as_safetensors(SMALL)),
    "gguf": ("model.gguf", lambda: {"model.gguf": as_gguf()["model.gguf"]}),
    "torch zip": ("pytorch_model.bin", lambda: as_torch(SMALL)),
    "torch legacy": ("pytorch_model.bin", lambda: as_legacy_torch(SMALL)),
    "raw pickle": ("data.pkl", lambda: {"data.pkl": raw_pickle()}),
    "onnx": ("model.onnx", lambda: {"model.onnx": onnx()}),
    "npy": ("embeddings.npy", lambda: {"embeddings.npy": npy()}),
    "npz": ("model.npz", lambda: as_npz(SMALL)),
    "config.json": ("config.json", dict),
    "card": ("README.md", dict),
    "adapter": (
        "adapter_config.json",
        lambda: {"adapter_config.json": json.dumps(ADAPTER).encode()},
    ),
    "shard index": ("model.safetensors.index.json", lambda: as_shards(SMALL)),
    "license": ("LICENSE", dict),
    "own file": ("steelyard.toml", lambda: {"steelyard.toml": b"[facts]\ntraining.tokens = 1e9\n"}),
}
"""Kind of file to its name and the files that come with it."""


def attempt(folder: Path) -> Report | None:
    """Audit what may be anything, and render what comes of it."""
    try:
        report = audit(folder, as_of=AS_OF, options=OPTIONS)
    except (SourceError, CheckpointError):
        return None
    assert json.loads(json_report.render(report))["schema_version"]
    for text in (terminal.render(report), markdown.render(report)):
        assert "\x1b" not in text
    return report


@pytest.mark.parametrize("kind", CASES)
def test_one_damaged_file(kind: str, tmp_path: Path) -> None:
    name, write = CASES[kind]
    files = dict(write())
    whole_weights = (
        {} if kind in ("config.json", "card", "license", "own file", "adapter") else files
    )
    card = FRONT_MATTER + CARD.split("---\n")[2]
    folder = model_folder(
        tmp_path / "tiny",
        weights=whole_weights or as_safetensors(SMALL),
        config=CONFIG,
        card=card,
        extra={} if whole_weights else files,
    )
    assert attempt(folder) is not None
    valid = (folder / name).read_bytes()
    for number, damaged in enumerate(mutations(valid, seed=len(kind), count=fuzz_count(60, 10))):
        (folder / name).write_bytes(damaged)
        try:
            attempt(folder)
        except BaseException as error:
            error.add_note(f"{kind}: mutation {number} of seed {len(kind)}")
            raise
