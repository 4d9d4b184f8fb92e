"""What an adapter does to its base, told from the adapter's own matrices.

A LoRA (Hu et al. 2021, arXiv 2106.09685) holds no weights: it holds `B` (outputs x r) and `A`
(r x inputs), and adds `s B A` to a matrix of the model that it is loaded on. That shows rank, roles
and the size of the change, and whether it fits the base; not whether it was trained on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.adapters import AdapterConfig, read_config
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.naming import TensorName, parse_together
from steelyard.checkpoints.rows import bytes_of_rows, read_rows, shape_of_rows
from steelyard.checkpoints.tensors import Tensor
from steelyard.checkpoints.zips import ZipMember, directory
from steelyard.errors import CheckpointError, located
from steelyard.lineage.aligning.alignment import spread
from steelyard.lineage.matrix import Matrix, Weights
from steelyard.lineage.relation import (
    Change,
    Comparison,
    Detail,
    Edit,
    EditKind,
    Encoding,
    EncodingKind,
    Related,
    Relatedness,
)
from steelyard.sources.base import ByteReader

Doubles = NDArray[np.float64]

_MARK: Final = "lora_"
"""In the names of all factors, whoever wrote them."""
_CONFIG: Final = "adapter_config.json"
_ROWS: Final = 64
"""Rows of the base by which the size of a matrix is estimated."""
_WIDEST: Final = 4096
"""Largest rank of an update that is still called one of low rank, and is read."""
_NOISE: Final = 1e-5
"""Singular values below this share of the largest are rounding of float32."""
_FUSED: Final[Mapping[str, tuple[str, ...]]] = {
    "attention.qkv": ("attention.q", "attention.k", "attention.v"),
    "mlp.gate_up": ("mlp.gate", "mlp.up"),
}
"""Roles of matrices that bases are read in parts of."""


@dataclass(frozen=True, slots=True)
class _Update:
    """The two factors of one update, as stored."""

    name: TensorName
    down: Tensor
    """r x inputs."""
    up: Tensor
    """outputs x r."""

    @property
    def rank(self) -> int:
        return shape_of_rows(self.down)[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (outputs, inputs) of what is added; turned for an embedding."""
        shape = shape_of_rows(self.up)[0], shape_of_rows(self.down)[1]
        return shape[::-1] if self.name.role == "embedding" else shape

    @property
    def place(self) -> tuple[str, int, str, int]:
        """Return what sorts it: by stack and layer, what lies outside of layers first."""
        name = self.name
        layer, expert = (-1 if each is None else each for each in (name.layer, name.expert))
        return name.stack or "", layer, name.role, expert

    @property
    def cost(self) -> int:
        """Return the bytes that both factors take."""
        return sum(bytes_of_rows(each, shape_of_rows(each)[0]) for each in (self.down, self.up))


@dataclass(frozen=True, slots=True)
class Adapter:
    """The low-rank updates of an adapter; see `find_adapter`."""

    model: Model
    updates: tuple[_Update, ...]
    config: AdapterConfig
    others: tuple[str, ...]
    """Roles of weights that it replaces whole."""
    scales_rows: bool
    """Whether it scales rows, too (DoRA, Liu et al. 2024, arXiv 2402.09353)."""


def find_adapter(model: Model) -> Adapter | None:
    """Return the low-rank updates that a model consists of; None if it is no such adapter.

    Raises:
        CheckpointError: If its settings have fields of a wrong type.
    """
    checkpoint = model.main
    if checkpoint is None or not any(_MARK in tensor.name for tensor in checkpoint.tensors):
        return None
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    names = parse_together(tuple(tensors))
    parts: dict[TensorName, dict[str, Tensor]] = {}
    for key, name in names.items():
        parts.setdefault(replace(name, part=""), {}).setdefault(name.part, tensors[key])
    updates = tuple(
        _Update(name, held["lora_a"], held["lora_b"])
        for name, held in parts.items()
        if "lora_a" in held and "lora_b" in held and _multiply(held["lora_a"], held["lora_b"])
    )
    whole = {name.role for name, held in parts.items() if "weight" in held and len(held) == 1}
    if not updates or len(whole) > len(updates):
        return None
    found = model.config(_CONFIG)
    config = read_config(dict(found[1]), found[0]) if found else AdapterConfig()
    scaled = any("lora_magnitude" in held for held in parts.values())
    updates = tuple(sorted(updates, key=lambda each: each.place))
    return Adapter(model, updates, config, tuple(sorted(whole)), scaled)


def _multiply(down: Tensor, up: Tensor) -> bool:
    """Tell whether the two are factors of one matrix."""
    rank = shape_of_rows(down)[0]
    return 0 < rank <= _WIDEST and shape_of_rows(up)[1] == rank


def compare_adapter(base: Weights, adapter: Adapter, name: str, *, budget: int) -> Comparison:
    """Tell what an adapter changes, and whether it fits a base.

    The verdict is always that weights cannot tell: an adapter holds none of its base's.

    Args:
        base: The model that it may belong to.
        adapter: What `find_adapter` returned.
        name: What to call it.
        budget: Most bytes to read of both.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    chosen = _affordable(adapter.updates, budget)
    targets = {update: _targets(base, update) for update in adapter.updates}
    with ExitStack() as stack:
        factors = _Factors(adapter.model, stack)
        measured = [_measure(each, targets[each], factors) for each in targets if each in chosen]
    fit = tuple(_fit(list(targets.values())))
    kinds = sorted({update.down.dtype for update in adapter.updates})
    checkpoint = adapter.model.main
    container = checkpoint.format if checkpoint is not None else ""
    return Comparison(
        base.name,
        name,
        Relatedness(Related.CANNOT_TELL, 0.0, exact=True, notes=fit),
        Encoding(EncodingKind.CANNOT_TELL, "", " + ".join(kinds), (base.format, container)),
        (_edit(measured, adapter),),
        tuple(_changes(base, measured, adapter)),
        notes=tuple(_notes(adapter, measured, len(chosen))),
        bytes_read=base.bytes_read + factors.bytes_read,
        requests=base.requests + factors.requests,
    )


def _affordable(updates: Sequence[_Update], budget: int) -> frozenset[_Update]:
    """Choose updates, evenly spread, whose factors take at most half of a budget."""
    every = range(len(updates))
    for count in (len(updates), 64, 16, 4, 1):
        kept = spread(every, count)
        if sum(updates[number].cost for number in kept) <= budget // 2:
            return frozenset(updates[number] for number in kept)
    return frozenset()


def _targets(base: Weights, update: _Update) -> tuple[Matrix, ...]:
    """Find the matrices of the base to which an update is added; none if it fits none."""
    layer = None
    if update.name.layer is not None:
        title = f"layers.{update.name.layer}"
        titles = (f"{update.name.stack}.{title}", title)
        places = [base.layers.index(each) for each in titles if each in base.layers]
        if not places:
            return ()
        layer = places[0]
    expert = update.name.expert
    one = base.matrix(update.name.role, layer, expert=expert)
    roles = _FUSED.get(update.name.role, ())
    found = [one] if one is not None else [base.matrix(role, layer) for role in roles]
    matrices = tuple(each for each in found if each is not None and len(each.shape) == 2)
    if not matrices or len(matrices) < len(found):
        return ()
    widths = {matrix.shape[1] for matrix in matrices}
    shape = sum(matrix.shape[0] for matrix in matrices), min(widths)
    # Layers of some families are stored inputs x outputs, and so are their updates.
    fits = len(widths) == 1 and shape in (update.shape, update.shape[::-1])
    return matrices if fits else ()


@dataclass(frozen=True, slots=True)
class _Measured:
    """One update in numbers, before it is scaled."""

    update: _Update
    rank: int
    size: float
    """Frobenius norm of `B A`."""
    base_size: float | None
    """Of the base's matrix, estimated; None where the update fits none."""
    finite: bool


class _Factors:
    """Reads the factors of an adapter, and counts; files stay open until the stack closes."""

    def __init__(self, model: Model, stack: ExitStack) -> None:
        self._source, self._stack = model.source, stack
        self._files: dict[str, tuple[ByteReader, Mapping[str, ZipMember]]] = {}
        self.bytes_read = self.requests = 0

    def read(self, tensor: Tensor) -> Doubles:
        """Return a factor whole, as rows.

        Raises:
            SourceError: If bytes cannot be fetched.
            CheckpointError: If it cannot be read.
        """
        with located(tensor.file):
            if tensor.file not in self._files:
                reader = self._stack.enter_context(self._source.open(tensor.file))
                zipped = tensor.offset is None and tensor.member is not None
                found = directory(reader) if zipped else ()
                self._files[tensor.file] = reader, {each.name: each for each in found}
            reader, members = self._files[tensor.file]
            rows = shape_of_rows(tensor)[0]
            self.bytes_read += bytes_of_rows(tensor, rows)
            self.requests += 1
            return read_rows(reader, tensor, 0, rows, members=members or None).astype(np.float64)


def _measure(update: _Update, targets: Sequence[Matrix], factors: _Factors) -> _Measured:
    up, down = factors.read(update.up), factors.read(update.down)
    finite = bool(np.isfinite(up).all() and np.isfinite(down).all())
    # The singular values of a product of thin factors are those of their small triangles.
    values = np.linalg.svd(_triangle(up) @ _triangle(down.T).T, compute_uv=False)
    largest = float(values[0]) if values.size else 0.0
    rank = int((values > _NOISE * largest).sum()) if largest > 0 else 0
    size = float(np.linalg.norm(values))
    base_size = sqrt(sum(_energy(matrix) for matrix in targets)) if targets else None
    return _Measured(update, rank, size, base_size, finite)


def _triangle(factor: Doubles) -> Doubles:
    """Return what an orthonormal basis of a thin factor leaves of it."""
    result: Doubles = np.asarray(np.linalg.qr(_clean(factor), mode="r"), np.float64)
    return result


def _clean(factor: Doubles) -> Doubles:
    result: Doubles = np.nan_to_num(factor, nan=0.0, posinf=0.0, neginf=0.0)
    return result


def _energy(matrix: Matrix) -> float:
    """Estimate the sum of squares of a matrix from its first rows."""
    rows = _clean(matrix.rows(0, _ROWS).astype(np.float64))
    return float((rows**2).sum()) * matrix.shape[0] / max(len(rows), 1)


def _scale(update: _Update, adapter: Adapter) -> float:
    """Return the factor before `B A`; 1 where nothing is said of it."""
    alpha = adapter.config.lora_alpha
    if alpha is None and adapter.model.main is not None:
        stated = adapter.model.main.metadata.get("adapter.lora.alpha")
        alpha = stated if isinstance(stated, float) else None
    if alpha is None or not isfinite(alpha):
        return 1.0
    found = adapter.model.config(_CONFIG)
    root = bool(found and found[1].get("use_rslora") is True)
    return alpha / (sqrt(update.rank) if root else update.rank)


def _changes(base: Weights, measured: Iterable[_Measured], adapter: Adapter) -> Iterator[Change]:
    for item in measured:
        if item.base_size:
            name = item.update.name
            title = f"layers.{name.layer}"
            stacked = f"{name.stack}.{title}"
            place = stacked if stacked in base.layers else title
            moved = abs(_scale(item.update, adapter)) * item.size / item.base_size
            yield Change(name.role if name.layer is None else place, name.role, moved)


def _edit(measured: Sequence[_Measured], adapter: Adapter) -> Edit:
    roles = tuple(sorted({update.name.role for update in adapter.updates}))
    rank = max((item.rank for item in measured), default=0)
    if not measured:
        rank = max(update.rank for update in adapter.updates)
    details: dict[str, Detail] = {"rank": rank, "roles": roles}
    fitting = [item for item in measured if item.base_size]
    if fitting:
        moved = sum((_scale(item.update, adapter) * item.size) ** 2 for item in fitting)
        size = sum((item.base_size or 0.0) ** 2 for item in fitting)
        details["change"] = round(sqrt(moved / size), 6)
    summary = f"an update of rank {rank} in {', '.join(roles)}"
    return Edit(EditKind.LORA, summary, details)


def _fit(targets: Sequence[tuple[Matrix, ...]]) -> Iterator[str]:
    yield "it is an adapter: it holds an update, and no weights of the model that it was trained on"
    fits, count = sum(map(bool, targets)), len(targets)
    if fits == count:
        yield f"all {count} of its updates fit the base in name and shape"
    elif fits:
        yield f"{count - fits} of its {count} updates fit no matrix of the base"
    else:
        yield f"none of its {count} updates fits the base: it was made for another model"


def _notes(adapter: Adapter, measured: Sequence[_Measured], chosen: int) -> Iterator[str]:
    config = adapter.config
    if config.base_model_name_or_path:
        yield f"its settings say that it was trained on {config.base_model_name_or_path}"
    if chosen < len(adapter.updates):
        yield f"{chosen} of its {len(adapter.updates)} updates were read"
    if config.lora_alpha is None:
        yield "nothing says how its updates are scaled: they were taken as they are"
    if adapter.scales_rows:
        yield "it scales rows as well (DoRA), which is not counted as change"
    if adapter.others:
        yield f"it replaces weights whole, which were not compared: {', '.join(adapter.others)}"
    if any(not item.finite for item in measured):
        yield "it holds numbers that are not finite"
    if measured and not any(item.size for item in measured):
        yield "its updates are zero: it changes nothing"


def refuse_adapter(model: Model, what: str) -> None:
    """Refuse a model that is an adapter, where whole weights are needed.

    Raises:
        CheckpointError: If it is one.
    """
    if find_adapter(model) is not None and model.main is not None:
        raise CheckpointError(
            f"the {what} is an adapter",
            why="it holds an update, and no weights that others can come from",
            fix="name the model that it was trained on, or merge the two first",
            file=model.main.files[0],
        )
