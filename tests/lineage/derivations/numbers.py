"""Edits that leave every shape as it is: casts, rounding, training, low-rank updates, zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind, EncodingKind
from tests.lineage.derivations.truth import Arrays, Derived, Generator, Truth, role_of

ATTENTION = ("attention.q", "attention.k", "attention.v", "attention.qkv", "attention.o")
FEED_FORWARD = (
    "mlp.up",
    "mlp.gate",
    "mlp.down",
    "experts.up",
    "experts.gate",
    "experts.down",
)
_SPECTRUM_RANK = 48


def to_bf16(array: Floats) -> Floats:
    """Round to bfloat16, ties to even; still float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def to_f16(array: Floats) -> Floats:
    """Round to half precision; still float32."""
    return array.astype(np.float16).astype(np.float32)


def identical(arrays: Arrays) -> Derived:
    """Copy."""
    return Derived(dict(arrays), Truth((EditKind.IDENTICAL,)))


def cast(arrays: Arrays, dtype: str) -> Derived:
    """Store in another type: `BF16` or `F16`."""
    to = {"BF16": to_bf16, "F16": to_f16}[dtype]
    made = {name: to(array) for name, array in arrays.items()}
    return Derived(made, Truth(encoding=EncodingKind.CAST, stored=dtype))


def is_matrix(name: str) -> bool:
    """Tell whether a tensor is a weight matrix of a block, which quantizers and pruners take."""
    known = role_of(name)
    return (
        known.layer is not None
        and known.role in ATTENTION + FEED_FORWARD
        and (known.part == "weight")
    )


def fake_int8(arrays: Arrays) -> Derived:
    """Round matrices to 8 bits with a scale for each row, and store what that decodes to."""
    made = {
        name: _rounded(array, 127) if is_matrix(name) else array for name, array in arrays.items()
    }
    return Derived(made, Truth(encoding=EncodingKind.DEQUANTIZED, grid="int8 row"))


def fake_int4(arrays: Arrays, *, group: int = 32) -> Derived:
    """Round matrices to 4 bits with a scale for each group of inputs."""
    made = dict(arrays)
    for name, array in arrays.items():
        if is_matrix(name):
            pieces = array.reshape(-1, group)
            made[name] = _rounded(pieces, 7).reshape(array.shape)
    return Derived(made, Truth(encoding=EncodingKind.DEQUANTIZED, grid=f"int4 group {group}"))


def _rounded(array: Floats, top: int) -> Floats:
    """Round each row to whole multiples of its largest element's `top`th part."""
    step = np.abs(array).max(axis=-1, keepdims=True) / top
    step = np.where(step > 0, step, 1)
    return np.asarray(np.round(array / step) * step, np.float32)


def finetune(
    arrays: Arrays,
    *,
    seed: int = 0,
    change: float = 0.02,
    decay: float = 0.7,
    frozen: Sequence[str] = (),
) -> Derived:
    """Stand in for training: every matrix gets a change with a power-law spectrum.

    Args:
        arrays: The model.
        seed: Of the changes.
        change: Their size relative to each matrix.
        decay: The k-th singular value falls as `k ** -decay`.
        frozen: Roles that are left alone.
    """
    chance = np.random.default_rng((seed, 1))
    made = dict(arrays)
    for name, array in arrays.items():
        if role_of(name).role in frozen:
            continue
        moved = _spectral(chance, array.shape, decay)
        size = float(np.linalg.norm(array)) * change * float(chance.uniform(0.5, 1.5))
        if array.ndim == 1:
            size *= 0.3
        made[name] = np.asarray(array + _of_size(moved, size), np.float32)
    return Derived(made, Truth((EditKind.FINETUNE,), change=change))


def _spectral(chance: Generator, shape: tuple[int, ...], decay: float) -> Floats:
    """Draw a matrix whose singular values fall by a power law, with some dense noise."""
    noise = chance.standard_normal(shape)
    if len(shape) == 1:
        return np.asarray(noise, np.float32)
    rank = min(*shape, _SPECTRUM_RANK)
    values = np.arange(1, rank + 1) ** -decay
    left, right = (chance.standard_normal((rank, size)) for size in shape)
    smooth = (left.T * values) @ right
    return np.asarray(smooth + 0.1 * float(smooth.std()) * noise, np.float32)


def _of_size(moved: Floats, size: float) -> Floats:
    length = float(np.linalg.norm(moved))
    return np.asarray(moved * (size / length if length > 0 else 0.0), np.float32)


def lora(
    arrays: Arrays,
    *,
    seed: int = 0,
    rank: int = 8,
    roles: Sequence[str] = ("attention.q", "attention.v"),
    change: float = 0.03,
) -> Derived:
    """Add an update of low rank to the matrices of some roles."""
    chance = np.random.default_rng((seed, 2))
    made = dict(arrays)
    touched: set[str] = set()
    for name, array in arrays.items():
        known = role_of(name)
        if known.role in roles and known.part == "weight":
            up = chance.standard_normal((array.shape[0], rank))
            down = chance.standard_normal((rank, array.shape[1]))
            size = float(np.linalg.norm(array)) * change
            made[name] = np.asarray(array + _of_size((up @ down).astype("f4"), size), np.float32)
            touched.add(known.role)
    truth = Truth((EditKind.LORA,), rank=rank, roles=tuple(sorted(touched)), change=change)
    return Derived(made, truth)


def sparsify(arrays: Arrays, *, share: float = 0.5, of_four: bool = False) -> Derived:
    """Set the smallest elements of each matrix to zero.

    Args:
        arrays: The model.
        share: Of the elements of each matrix.
        of_four: Take the two smallest of every four inputs instead.
    """
    made = dict(arrays)
    for name, array in arrays.items():
        if not is_matrix(name):
            continue
        size = np.abs(array)
        if of_four:
            order = np.argsort(size.reshape(-1, 4), axis=1, kind="stable")
            of_each = np.zeros((order.shape[0], 4), bool)
            np.put_along_axis(of_each, order[:, :2], True, axis=1)
            drop = of_each.reshape(array.shape)
        else:
            drop = size < np.quantile(size, share)
        made[name] = np.where(drop, np.float32(0), array)
    pattern = "2:4" if of_four else "unstructured"
    truth = Truth((EditKind.SPARSIFIED,), zeros=0.5 if of_four else share, pattern=pattern)
    return Derived(made, truth)
