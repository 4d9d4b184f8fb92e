"""One small model in every container, and how to weigh it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from steelyard.checkpoints.digests import Digests, digest
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import Checkpoint, Tensor
from steelyard.sources.local import LocalSource, open_local
from tests.checkpoints.gguf_files import Value, Weights, gguf_bytes
from tests.checkpoints.torch_files import Storage, Weight, legacy_file, torch_zip

Arrays = dict[str, NDArray[np.generic]]
HEADS, KV_HEADS, HEAD, WIDTH, VOCAB = 4, 2, 6, 24, 10
GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
    "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
}
TORCH_KINDS = {"float32": "FloatStorage", "float16": "HalfStorage"}


def llama(dtype: str = "float32", seed: int = 1) -> Arrays:
    random = np.random.default_rng(seed)
    shapes = {
        "model.embed_tokens.weight": (VOCAB, WIDTH),
        "model.norm.weight": (WIDTH,),
        "model.layers.0.self_attn.q_proj.weight": (HEADS * HEAD, WIDTH),
        "model.layers.0.self_attn.k_proj.weight": (KV_HEADS * HEAD, WIDTH),
        "model.layers.0.self_attn.v_proj.weight": (KV_HEADS * HEAD, WIDTH),
        "model.layers.0.mlp.down_proj.weight": (WIDTH, 8),
        "model.layers.0.input_layernorm.weight": (WIDTH,),
    }
    return {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def permuted(rows: NDArray[np.generic], heads: int) -> NDArray[np.generic]:
    """Reorder as llama.cpp's converter does."""
    apart = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return apart.swapaxes(1, 2).reshape(rows.shape)


def one_safetensors(arrays: Arrays) -> dict[str, bytes]:
    return {"model.safetensors": save(arrays)}


def three_shards(arrays: Arrays) -> dict[str, bytes]:
    names = sorted(arrays, reverse=True)
    return {
        f"model-0000{i + 1}-of-00003.safetensors": save({n: arrays[n] for n in names[i::3]})
        for i in range(3)
    }


def state(arrays: Arrays) -> dict[str, Weight]:
    return {
        name: Weight(Storage(str(i), TORCH_KINDS[str(a.dtype)], a.tobytes()), a.shape)
        for i, (name, a) in enumerate(arrays.items())
    }


def torch_new(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": torch_zip(state(arrays))}


def torch_deflated(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": torch_zip(state(arrays), compress=["data/0", "data/3"])}


def torch_old(arrays: Arrays) -> dict[str, bytes]:
    return {"pytorch_model.bin": legacy_file(state(arrays))}


def torch_transposed(arrays: Arrays) -> dict[str, bytes]:
    weights = state(arrays)
    for i, name in enumerate(sorted(n for n in arrays if arrays[n].ndim == 2)):
        a = arrays[name]
        storage = Storage(f"t{i}", TORCH_KINDS[str(a.dtype)], a.T.copy().tobytes())
        weights[name] = Weight(storage, a.shape, (1, a.shape[0]))
    return {"pytorch_model.bin": torch_zip(weights)}


def torch_tied(arrays: Arrays) -> dict[str, bytes]:
    weights = state(arrays)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return {"pytorch_model.bin": torch_zip(weights)}


def npz(arrays: Arrays) -> dict[str, bytes]:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]  # numpy's stub takes a flag for a tensor
    return {"weights.npz": out.getvalue()}


def npz_deflated(arrays: Arrays) -> dict[str, bytes]:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]  # as above
    return {"weights.npz": out.getvalue()}


def gguf(arrays: Arrays, byteorder: str = "little") -> dict[str, bytes]:
    """Write as llama.cpp's converter does: its names, its order of rows, vectors as F32."""
    tensors = []
    for name, array in arrays.items():
        stored = array.astype(np.float32) if array.ndim == 1 else array
        if "q_proj" in name:
            stored = permuted(stored, HEADS)
        if "k_proj" in name:
            stored = permuted(stored, KV_HEADS)
        data = (stored.byteswap() if byteorder == "big" else stored).tobytes()
        kind = 0 if stored.dtype == np.float32 else 1
        tensors.append(Weights(GGUF_NAMES[name], kind, array.shape, data))
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    }
    return {"model.gguf": gguf_bytes(metadata, tensors, byteorder=byteorder)}


def gguf_big(arrays: Arrays) -> dict[str, bytes]:
    return gguf(arrays, "big")


def gguf_as_is(arrays: Arrays) -> dict[str, bytes]:
    tensors = [
        Weights(name, 0 if a.dtype == np.float32 else 1, a.shape, a.tobytes())
        for name, a in arrays.items()
    ]
    return {"model.gguf": gguf_bytes({"general.architecture": "other"}, tensors)}


CONTAINERS: tuple[Callable[[Arrays], dict[str, bytes]], ...] = (
    one_safetensors,
    three_shards,
    torch_new,
    torch_deflated,
    torch_old,
    torch_transposed,
    torch_tied,
    npz,
    npz_deflated,
    gguf,
    gguf_big,
    gguf_as_is,
)


def written(folder: Path, files: Mapping[str, bytes]) -> LocalSource:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return open_local(str(folder))


def weigh(folder: Path, files: Mapping[str, bytes], **options: object) -> Digests:
    source = written(folder, files)
    main = read_model(source).main
    assert main is not None
    return digest(source, main, **options)  # type: ignore[arg-type]  # passed through by name


def table(folder: Path, data: bytes, tensors: list[Tensor]) -> tuple[LocalSource, Checkpoint]:
    source = written(folder, {"f": data})
    return source, Checkpoint("test", ("f",), tuple(sorted(tensors, key=lambda t: t.name)))


class Watcher:
    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def start(self, task: str, total: int) -> None:
        self.events.append((task, total))

    def advance(self, amount: int) -> None:
        self.events.append(("", amount))

    def stop(self) -> None:
        self.events.append(("stop", 0))
