"""Small models on disk for tests: folders with weights, configuration and card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.sources import Network, open_source

Weights = Mapping[str, np.ndarray]

CARD = """\
---
license: apache-2.0
language: en
---
# Tiny

A tiny model for tests.
"""


def weights(seed: int = 0, *, layers: int = 2, width: int = 8, vocabulary: int = 16) -> Weights:
    """Make the tensors of a tiny llama with tied embeddings."""
    random = np.random.default_rng(seed)

    def tensor(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    made = {"model.embed_tokens.weight": tensor(vocabulary, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name in ("q", "k", "v", "o"):
            made[f"{prefix}.self_attn.{name}_proj.weight"] = tensor(width, width)
        for name in ("gate", "up"):
            made[f"{prefix}.mlp.{name}_proj.weight"] = tensor(2 * width, width)
        made[f"{prefix}.mlp.down_proj.weight"] = tensor(width, 2 * width)
        made[f"{prefix}.input_layernorm.weight"] = tensor(width)
        made[f"{prefix}.post_attention_layernorm.weight"] = tensor(width)
    made["model.norm.weight"] = tensor(width)
    return made


CONFIG: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 16,
    "max_position_embeddings": 32,
    "tie_word_embeddings": True,
}


def folder(
    path: Path,
    *,
    tensors: Weights | None = None,
    config: Mapping[str, object] | None = CONFIG,
    card: str | None = CARD,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model folder: safetensors, configuration and card, and further `files`."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.safetensors").write_bytes(save(dict(tensors or weights())))
    if config is not None:
        (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if card is not None:
        (path / "README.md").write_text(card, encoding="utf-8")
    for name, data in (files or {}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def shards(tensors: Weights, count: int) -> dict[str, bytes]:
    """Cut tensors into `count` safetensors shards with an index."""
    names = sorted(tensors)
    files: dict[str, bytes] = {}
    weight_map: dict[str, str] = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        own = names[number::count]
        files[name] = save({key: tensors[key] for key in own})
        weight_map |= dict.fromkeys(own, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    return files


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def read(path: Path) -> Model:
    """Open and read a model folder or file; readers are opened anew for each read."""
    return read_model(open_source(str(path), network=Network(offline=True)))
