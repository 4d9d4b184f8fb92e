"""Arrays laid out as a model's matrices, in memory or by way of a real file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import Checkpoint, MetadataValue, Tensor
from steelyard.lineage.reading.fusion import About
from steelyard.lineage.reading.layouts import Layout, lay_out
from steelyard.lineage.reading.views import Stored, View
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.sources.local import open_local

Array = np.ndarray[Any, Any]
DTYPES = {
    "float16": "F16", "float32": "F32", "int8": "I8", "uint8": "U8", "int32": "I32",
    "uint32": "U32", "int64": "I64",
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def laid(
    arrays: Mapping[str, Array],
    kind: str = "safetensors",
    metadata: Mapping[str, MetadataValue] | None = None,
    heads: int | None = None,
) -> Layout:
    """Lay arrays out as the tensors of a checkpoint."""
    tensors = tuple(
        Tensor(name, DTYPES[str(a.dtype)], a.shape, "plain", "f", 0, a.nbytes)
        for name, a in sorted(arrays.items())
    )

    def opened(tensor: Tensor) -> View:
        array = arrays[tensor.name].reshape(tensor.shape)
        if array.ndim < 2:
            values = array.ravel().astype(np.float32)
            return View(values.shape, lambda _first, _count: values, array.nbytes)
        flat = array.reshape(len(array), -1)
        return View(
            flat.shape,
            lambda first, count: flat[first : first + count].astype(np.float32),
            array.nbytes,
            lambda first, count: flat[:, first : first + count].astype(np.float32),
            Stored(
                lambda first, count: flat[first : first + count],
                lambda first, count: flat[:, first : first + count],
            ),
        )

    return lay_out(Checkpoint(kind, ("f",), tensors, metadata or {}), opened, about=About(heads))


def found(
    layout: Layout,
    role: str,
    layer: int | None = 0,
    expert: int | None = None,
    part: str = "weight",
) -> Array:
    """Return the one matrix of a role, whole."""
    wanted = (role, layer, expert, part)
    one = [m for m in layout.named if (m.role, m.layer, m.expert, m.part) == wanted]
    assert len(one) == 1, role
    assert one[0].whole().shape == one[0].shape
    return one[0].whole()


def safetensors_bytes(arrays: Mapping[str, Array], dtypes: Mapping[str, str]) -> bytes:
    """Write a safetensors file; `dtypes` names the element types that NumPy lacks."""
    header: dict[str, object] = {}
    data = b""
    for name, array in arrays.items():
        start = len(data)
        data += np.ascontiguousarray(array).tobytes()
        kind = dtypes.get(name) or DTYPES[str(array.dtype)]
        header[name] = {
            "dtype": kind, "shape": list(array.shape), "data_offsets": [start, len(data)],
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def stored(
    folder: Path,
    arrays: Mapping[str, Array],
    *,
    dtypes: Mapping[str, str] | None = None,
    config: Mapping[str, object] | None = None,
) -> StoredWeights:
    """Write arrays to a safetensors file and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(arrays, dtypes or {}))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return StoredWeights(read_model(open_local(str(folder))))
