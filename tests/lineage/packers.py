"""Packing as GPTQ and bitsandbytes do it, rounded to nearest: what their files hold of numbers."""

from __future__ import annotations

import json

import numpy as np

from tests.lineage.laying import Array

NF4 = np.array(
    (-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
     0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0), np.float32
)  # fmt: skip


def words(values: Array, bits: int) -> Array:
    """Pack codes into 32-bit words along the last axis, the lowest bits first."""
    each = (values[..., None].astype(np.uint8) >> np.arange(bits, dtype=np.uint8)) & 1
    stream = each.reshape(*values.shape[:-1], -1)
    return np.packbits(stream, axis=-1, bitorder="little").view("<u4")


def signed(values: Array) -> Array:
    return np.ascontiguousarray(values).view(np.int32)


def gptq(array: Array, stem: str, group: int = 32) -> dict[str, Array]:
    """Pack a matrix into four bits, with a scale and a zero point for each group of inputs."""
    outputs, inputs = array.shape
    parts = array.reshape(outputs, -1, group)
    low, high = parts.min(axis=-1), parts.max(axis=-1)
    scale = np.maximum((high - low) / 15, 1e-8).astype(np.float16).astype(np.float32)
    zero = np.clip(np.round(-low / scale), 1, 15)
    codes = np.clip(np.round(parts / scale[..., None]) + zero[..., None], 0, 15)
    return {
        f"{stem}.qweight": signed(words(codes.reshape(outputs, inputs), 4)).T,
        f"{stem}.qzeros": signed(words((zero - 1).T, 4)),
        f"{stem}.scales": scale.T.astype(np.float16),
        f"{stem}.g_idx": (np.arange(inputs) // group).astype(np.int32),
    }


def nf4(array: Array, stem: str, block: int = 64) -> dict[str, Array]:
    """Pack a matrix into the codes of NF4, with the largest number of each block beside."""
    blocks = array.reshape(-1, block)
    scale = np.abs(blocks).max(axis=1)
    codes = np.abs(blocks[..., None] / scale[:, None, None] - NF4).argmin(axis=-1).ravel()
    state = {"quant_type": "nf4", "blocksize": block, "shape": list(array.shape)}
    return {
        f"{stem}.weight": (codes[0::2] << 4 | codes[1::2]).astype(np.uint8)[:, None],
        f"{stem}.weight.absmax": scale.astype(np.float32),
        f"{stem}.weight.quant_map": NF4,
        f"{stem}.weight.quant_state.bitsandbytes__nf4": np.frombuffer(
            json.dumps(state).encode(), np.uint8
        ),
    }
