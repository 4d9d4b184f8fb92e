"""A small but complete model in every container: what the tests of the whole program read.

`TENSORS` is a llama with two layers, as Transformers names its tensors; `model_folder` lays it
down with a configuration, a card and a license that agree with each other. The writers give the
same weights in another container.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tests.checkpoints.gguf_files import Array, Typed, Value, Weights, gguf_bytes
from tests.checkpoints.torch_files import Storage, Weight, legacy_file, torch_zip

VOCABULARY, WIDTH, HEADS, KV_HEADS, FEED_FORWARD, LAYERS = 96, 32, 4, 2, 48, 2
KV_WIDTH = WIDTH // HEADS * KV_HEADS
Tensors = Mapping[str, np.ndarray[Any, Any]]

CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}

CARD = """\
---
license: mit
language: en
pipeline_tag: text-generation
library_name: transformers
---
# Tiny

## Model description

A model for tests, of the llama architecture.

## Uses

### Out-of-scope use

It must not be used for anything but tests.

## Bias, risks and limitations

It knows nothing.

## Contact

Report flaws to security@example.org.
"""

MIT = """\
MIT License

Copyright (c) 2026 Example

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def _tensors() -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (VOCABULARY, WIDTH),
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (WIDTH,),
                "post_attention_layernorm": (WIDTH,),
                "self_attn.q_proj": (WIDTH, WIDTH),
                "self_attn.k_proj": (KV_WIDTH, WIDTH),
                "self_attn.v_proj": (KV_WIDTH, WIDTH),
                "self_attn.o_proj": (WIDTH, WIDTH),
                "mlp.gate_proj": (FEED_FORWARD, WIDTH),
                "mlp.up_proj": (FEED_FORWARD, WIDTH),
                "mlp.down_proj": (WIDTH, FEED_FORWARD),
            }.items()
        }
    chance = np.random.default_rng(20261123)
    return {
        name: chance.standard_normal(shape, np.float32) for name, shape in sorted(shapes.items())
    }


TENSORS: Tensors = _tensors()
PARAMETERS = sum(array.size for array in TENSORS.values())


def model_folder(
    folder: Path,
    *,
    weights: Mapping[str, bytes] | None = None,
    config: Mapping[str, Any] | None = CONFIG,
    card: str | None = CARD,
    license_text: str | None = MIT,
    extra: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Lay down a model; None leaves a part out.

    Args:
        folder: Where; it is made if need be.
        weights: File name to content; one safetensors file by default.
        config: `config.json`.
        card: `README.md`.
        license_text: `LICENSE`.
        extra: Further files.
    """
    files: dict[str, str | bytes] = dict(as_safetensors() if weights is None else weights)
    if config is not None:
        files["config.json"] = json.dumps(config, indent=2)
    if card is not None:
        files["README.md"] = card
    if license_text is not None:
        files["LICENSE"] = license_text
    for name, content in {**files, **(extra or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def as_safetensors(tensors: Tensors = TENSORS) -> dict[str, bytes]:
    """Write one safetensors file."""
    return {"model.safetensors": safetensors.numpy.save(dict(tensors), {"format": "pt"})}


def as_shards(tensors: Tensors = TENSORS, count: int = 3) -> dict[str, bytes]:
    """Write safetensors shards with their index."""
    names = sorted(tensors)
    files: dict[str, bytes] = {}
    where: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = {name: tensors[name] for name in names[number::count]}
        files[file] = safetensors.numpy.save(part, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    size = sum(array.nbytes for array in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}
    return files | {"model.safetensors.index.json": json.dumps(index, indent=2).encode()}


def as_torch(tensors: Tensors = TENSORS) -> dict[str, bytes]:
    """Write what `torch.save` writes."""
    return {"pytorch_model.bin": torch_zip(_state(tensors))}


def as_legacy_torch(tensors: Tensors = TENSORS) -> dict[str, bytes]:
    """Write what `torch.save` wrote before PyTorch 1.6."""
    return {"pytorch_model.bin": legacy_file(_state(tensors))}


def as_npz(tensors: Tensors = TENSORS) -> dict[str, bytes]:
    """Write a NumPy archive."""
    stream = io.BytesIO()
    np.savez(stream, **dict[str, Any](tensors))
    return {"model.npz": stream.getvalue()}


def as_gguf(tensors: Tensors = TENSORS) -> dict[str, bytes]:
    """Write a GGUF file, names and attention heads reordered as llama.cpp's converter does."""
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.file_type": 0,
        "llama.block_count": LAYERS,
        "llama.context_length": 128,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.vocab_size": Typed(4, VOCABULARY),
        "tokenizer.ggml.tokens": Array(8, [f"t{number}" for number in range(VOCABULARY)]),
    }
    rows = [
        Weights(_gguf_name(name), 0, array.shape, _gguf_rows(name, array).tobytes())
        for name, array in tensors.items()
    ]
    return {"model.gguf": gguf_bytes(metadata, rows)}


CONTAINERS: Mapping[str, Callable[[Tensors], dict[str, bytes]]] = {
    "safetensors": as_safetensors,
    "shards": as_shards,
    "torch": as_torch,
    "legacy torch": as_legacy_torch,
    "npz": as_npz,
    "gguf": as_gguf,
}


def flipped(tensors: Tensors = TENSORS) -> Tensors:
    """Return the weights with one bit of one element another."""
    name = "model.layers.1.mlp.up_proj.weight"
    changed = tensors[name].copy()
    changed.view(np.uint32)[3, 5] ^= 1
    return {**tensors, name: changed}


def _state(tensors: Tensors) -> dict[object, object]:
    return {
        name: Weight(Storage(str(number), "FloatStorage", array.tobytes()), array.shape)
        for number, (name, array) in enumerate(tensors.items())
    }


_GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "lm_head": "output",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
}


def _gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _GGUF_NAMES:
        return f"{_GGUF_NAMES[stem]}.weight"
    layer, _, rest = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_GGUF_NAMES[rest]}.weight"


def _gguf_rows(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Reorder the rows of queries and keys: rotary halves lie interleaved in GGUF."""
    heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
    if heads is None:
        return array
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))
