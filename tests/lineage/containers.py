"""One model in every container: arrays named as in Transformers, written as people publish them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import gguf
import numpy as np
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import save

from tests.checkpoints import same_weights
from tests.checkpoints.gguf_files import Value, Weights, gguf_bytes
from tests.lineage import packers
from tests.lineage.laying import Array, safetensors_bytes
from tests.models import shards

Arrays = Mapping[str, Array]
Files = dict[str, bytes]
HEADS, KV_HEADS = 4, 2
CONFIG = json.dumps(
    {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
).encode()


def one_file(arrays: Arrays) -> Files:
    return {"model.safetensors": save(dict(arrays)), "config.json": CONFIG}


def sharded(arrays: Arrays) -> Files:
    return {**shards(dict(arrays), 3), "config.json": CONFIG}


def torch_zip(arrays: Arrays) -> Files:
    return same_weights.torch_new(dict(arrays)) | {"config.json": CONFIG}


def torch_legacy(arrays: Arrays) -> Files:
    return same_weights.torch_old(dict(arrays))


def torch_columns_first(arrays: Arrays) -> Files:
    return same_weights.torch_transposed(dict(arrays))


def numpy_archive(arrays: Arrays) -> Files:
    return same_weights.npz(dict(arrays))


def halves(arrays: Arrays) -> Files:
    return one_file({name: array.astype(np.float16) for name, array in arrays.items()})


def brain_floats(arrays: Arrays) -> Files:
    """Write the upper half of every number, rounded to nearest."""
    upper = {}
    for name, array in arrays.items():
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        even = (bits >> np.uint32(16)) & np.uint32(1)
        upper[name] = ((bits + np.uint32(0x7FFF) + even) >> np.uint32(16)).astype(np.uint16)
    return {"model.safetensors": safetensors_bytes(upper, dict.fromkeys(upper, "BF16"))}


def _gguf(arrays: Arrays, kind: str, byteorder: str = "little") -> Files:
    """Write as llama.cpp's converter does: its names, its order of rows, vectors as F32."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 64)
    tensors = []
    for name, array in arrays.items():
        rows = array
        for word, heads in (("q_proj", HEADS), ("k_proj", KV_HEADS)):
            if word in name:
                rows = np.asarray(same_weights.permuted(array, heads), np.float32)
        scheme = gguf.GGMLQuantizationType["F32" if array.ndim == 1 else kind]
        packed = gguf.quants.quantize(rows, scheme)
        if byteorder == "big":
            packed = packed.byteswap()
        called = names.get_name(name, try_suffixes=(".weight",))
        assert called is not None
        tensors.append(Weights(called, int(scheme), array.shape, packed.tobytes()))
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    }
    return {"model.gguf": gguf_bytes(metadata, tensors, byteorder=byteorder)}


def gguf_f32(arrays: Arrays) -> Files:
    return _gguf(arrays, "F32")


def gguf_big_endian(arrays: Arrays) -> Files:
    return _gguf(arrays, "F32", "big")


def gguf_f16(arrays: Arrays) -> Files:
    return _gguf(arrays, "F16")


def gguf_bf16(arrays: Arrays) -> Files:
    return _gguf(arrays, "BF16")


def gguf_q8_0(arrays: Arrays) -> Files:
    return _gguf(arrays, "Q8_0")


def _onnx(initializers: Arrays) -> Files:
    made = [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in initializers.items()]
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [value], [out], initializer=made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return {"model.onnx": model.SerializeToString()}


def onnx_named(arrays: Arrays) -> Files:
    return _onnx(arrays)


def onnx_anonymous(arrays: Arrays) -> Files:
    """Number the matrices of the layers and turn them, as exporters do."""
    return _onnx(
        {
            f"onnx::MatMul_{number}" if "_proj" in name else name: a.T if "_proj" in name else a
            for number, (name, a) in enumerate(arrays.items())
        }
    )


def onnx_int8(arrays: Arrays) -> Files:
    """Number the matrices and keep them in eight bits with a scale for each row."""
    made: dict[str, Array] = {}
    for number, (name, array) in enumerate(arrays.items()):
        if array.ndim < 2:
            made[name] = array
            continue
        called = f"val_{number}" if "_proj" in name else name.removesuffix(".weight")
        scale = (np.abs(array).max(axis=1, keepdims=True) / 127).astype(np.float32)
        made[f"{called}_q" if "_proj" in name else f"{name}_q"] = np.round(array / scale).astype(
            np.int8
        )
        made[f"{called}_scale" if "_proj" in name else f"{name}_scale"] = scale
    return _onnx(made)


def renamed(arrays: Arrays) -> Files:
    """Give every tensor a name that says nothing, in an order of its own."""
    order = np.random.default_rng(7).permutation(len(arrays))
    held = list(arrays.values())
    return {"model.safetensors": save({f"t{n:04d}": held[at] for n, at in enumerate(order)})}


def _packed(arrays: Arrays, pack: Callable[[Array, str], Mapping[str, Array]]) -> Files:
    made: dict[str, Array] = {}
    for name, array in arrays.items():
        if "_proj" in name:
            made |= pack(array, name.removesuffix(".weight"))
        else:
            made[name] = array
    return {"model.safetensors": safetensors_bytes(made, {}), "config.json": CONFIG}


def gptq(arrays: Arrays) -> Files:
    return _packed(arrays, packers.gptq)


def nf4(arrays: Arrays) -> Files:
    return _packed(arrays, packers.nf4)


LOSSLESS: tuple[Callable[[Arrays], Files], ...] = (
    one_file,
    sharded,
    torch_zip,
    torch_legacy,
    torch_columns_first,
    numpy_archive,
    gguf_f32,
    gguf_big_endian,
    onnx_named,
    onnx_anonymous,
    renamed,
)
NAMELESS = (onnx_anonymous, renamed)
"""Those of them whose tensors get their roles in a comparison only."""
CAST: tuple[Callable[[Arrays], Files], ...] = (halves, brain_floats, gguf_f16, gguf_bf16)
QUANTIZED: tuple[Callable[[Arrays], Files], ...] = (gguf_q8_0, onnx_int8, gptq, nf4)
