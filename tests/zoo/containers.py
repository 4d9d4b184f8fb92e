"""Lay a model down in a folder: safetensors, shards, a PyTorch archive, GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats
from tests.lineage.derivations.truth import Arrays, role_of
from tests.zoo.nets import Architecture

_MODEL_TYPES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "sinusoidal": ("llama", "LlamaForCausalLM"),
    "qwen": ("qwen2", "Qwen2ForCausalLM"),
    "gemma": ("gemma3_text", "Gemma3ForCausalLM"),
    "mixtral": ("mixtral", "MixtralForCausalLM"),
    "gpt2": ("gpt2", "GPT2LMHeadModel"),
    "bert": ("bert", "BertForMaskedLM"),
}
_SHARDS = 3
_SUPER = 256
"""Elements of a super-block of llama.cpp's K types."""


def write_model(
    folder: Path, arch: Architecture, arrays: Arrays, tokens: tuple[str, ...] | None, container: str
) -> None:
    """Write weights with what lies beside them.

    Args:
        folder: Where to; made if it is not there.
        arch: The architecture that the configuration tells.
        arrays: Outputs x inputs.
        tokens: Token strings by row, for a tokenizer; None to write none.
        container: `safetensors`, `shards`, `torch` or `gguf:TYPE`; `:BF16` and `:F16` behind the
            first three store that type.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind, _, dtype = container.partition(":")
    if kind == "gguf":
        _write_gguf(folder / "model.gguf", arch, arrays, tokens or (), dtype)
        return
    (folder / "config.json").write_text(json.dumps(_config(arch, arrays)), encoding="utf-8")
    if tokens is not None:
        vocabulary = {token: row for row, token in enumerate(tokens)}
        document = {"model": {"type": "BPE", "vocab": vocabulary, "merges": []}}
        (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    _WRITERS[kind](folder, _as_published(arch, arrays, dtype))


def _config(arch: Architecture, arrays: Arrays) -> dict[str, object]:
    model_type, name = _MODEL_TYPES[arch.family]
    common: dict[str, object] = {"architectures": [name], "model_type": model_type}
    if arch.family == "gpt2":
        return common | {
            "n_embd": arch.width, "n_layer": arch.layers, "n_head": arch.heads,
            "vocab_size": arch.vocabulary,
        }  # fmt: skip
    return common | {
        "hidden_size": arch.width,
        "intermediate_size": arch.feed_forward,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads,
        "num_key_value_heads": arch.heads if arch.family == "bert" else arch.kv_heads,
        "vocab_size": arch.vocabulary,
        "tie_word_embeddings": "lm_head.weight" not in arrays,
    }


def _as_published(arch: Architecture, arrays: Arrays, dtype: str) -> Mapping[str, torch.Tensor]:
    """Turn GPT-2's matrices to inputs x outputs, as its file has them, and cast."""
    to = {"": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[dtype]
    made = {}
    for name, array in arrays.items():
        linear = arch.family == "gpt2" and role_of(name).layer is not None and array.ndim == 2
        stored = np.ascontiguousarray(array.T if linear else array)
        made[name] = torch.from_numpy(stored.copy()).to(to)
    return made


def _write_safetensors(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(dict(state), folder / "model.safetensors")


def _write_shards(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    where: dict[str, str] = {}
    names = sorted(state)
    for part in range(_SHARDS):
        file = f"model-{part + 1:05}-of-{_SHARDS:05}.safetensors"
        chosen = {name: state[name] for name in names[part::_SHARDS]}
        safetensors.torch.save_file(chosen, folder / file)
        where |= dict.fromkeys(chosen, file)
    index = json.dumps({"metadata": {}, "weight_map": where})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")


def _write_torch(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    torch.save(dict(state), folder / "pytorch_model.bin")


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, torch.Tensor]], None]] = {
    "safetensors": _write_safetensors,
    "shards": _write_shards,
    "torch": _write_torch,
}


def _write_gguf(
    path: Path, arch: Architecture, arrays: Arrays, tokens: tuple[str, ...], kind: str
) -> None:
    """Write a llama as llama.cpp's converter does: norms in F32, queries and keys reordered."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(arch.layers)
    writer.add_embedding_length(arch.width)
    writer.add_feed_forward_length(arch.feed_forward)
    writer.add_head_count(arch.heads)
    writer.add_head_count_kv(arch.kv_heads)
    writer.add_context_length(arch.positions)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(list(tokens))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, arch.layers)
    for name, array in arrays.items():
        target = names.get_name(name, try_suffixes=(".weight",))
        if target is None:
            raise KeyError(name)
        rows = array
        known = role_of(name)
        if known.role in ("attention.q", "attention.k"):
            rows = _reordered(array, arch.heads if known.role == "attention.q" else arch.kv_heads)
        data, stored = _encoded(np.ascontiguousarray(rows), kind)
        writer.add_tensor(target, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _reordered(array: Floats, heads: int) -> Floats:
    """Bring the halves of each rotary pair side by side."""
    split = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return split.swapaxes(1, 2).reshape(array.shape)


def _encoded(array: Floats, kind: str) -> tuple[NDArray[Any], gguf.GGMLQuantizationType]:
    types = gguf.GGMLQuantizationType
    if array.ndim == 1 or kind == "F32":
        return array, types.F32
    if kind == "F16":
        return array.astype(np.float16), types.F16
    if kind == "Q4_K":
        # llama.cpp takes another type for rows that hold no whole super-block.
        if array.shape[1] % _SUPER:
            return gguf.quants.quantize(array, types.Q5_0), types.Q5_0
        return encode_q4_k(array), types.Q4_K
    return gguf.quants.quantize(array, types[kind]), types[kind]


def encode_q4_k(array: Floats) -> NDArray[np.uint8]:
    """Pack rows into llama.cpp's Q4_K: rows x bytes, 144 for each 256 elements.

    A plain encoder: the range of each 32 elements in 15 steps, without llama.cpp's search.
    """
    blocks = array.reshape(-1, 8, 32).astype("f8")
    low = np.minimum(blocks.min(axis=2), 0)
    steps = (blocks.max(axis=2) - low) / 15
    halves = [np.maximum(part.max(axis=1), 1e-12) / 63 for part in (steps, -low)]
    whole, offset = (half.astype(np.float16) for half in halves)
    codes = [
        np.clip(np.round(part / scale.astype("f8")[:, None]), 0, 63).astype(np.uint8)
        for part, scale in ((steps, whole), (-low, offset))
    ]
    step = np.maximum(codes[0] * whole.astype("f8")[:, None], 1e-30)[..., None]
    floor = (codes[1] * offset.astype("f8")[:, None])[..., None]
    q = np.clip(np.round((blocks + floor) / step), 0, 15).astype(np.uint8)
    nibbles = q[:, 0::2] | (q[:, 1::2] << 4)
    scales = np.concatenate(
        [
            (codes[0][:, :4] & 63) | ((codes[0][:, 4:] >> 4) << 6),
            (codes[1][:, :4] & 63) | ((codes[1][:, 4:] >> 4) << 6),
            (codes[0][:, 4:] & 15) | ((codes[1][:, 4:] & 15) << 4),
        ],
        axis=1,
    )
    head = np.stack([whole, offset], axis=1).view(np.uint8)
    packed = np.concatenate([head, scales, nibbles.reshape(len(q), 128)], axis=1)
    result: NDArray[np.uint8] = packed.reshape(array.shape[0], -1)
    return result
