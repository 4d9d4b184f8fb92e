"""A model in files, as lineage reads it: by role, row by row, counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final, Self

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.rows import (
    as_floats,
    bytes_of_rows,
    has_columns,
    read_columns,
    read_rows,
    read_stored,
    shape_of_rows,
)
from steelyard.checkpoints.tensors import Checkpoint, Tensor
from steelyard.checkpoints.zips import ZipMember, directory
from steelyard.lineage.matrix import Floats, Matrix, Sizes, Weights
from steelyard.lineage.reading.fusion import About
from steelyard.lineage.reading.layouts import Layout, lay_out
from steelyard.lineage.reading.packing import Stated
from steelyard.lineage.reading.stored import StoredMatrix
from steelyard.lineage.reading.tokens import read_tokens
from steelyard.lineage.reading.views import Codes, Stored, View
from steelyard.sources.base import ByteReader

_LANGUAGE: Final = ("text_config", "llm_config", "language_config")
"""Where the configuration of a model with several stacks tells of the one that reads text."""
_EMPTY: Final = Checkpoint("", (), ())


class _Counting(ByteReader):
    """Count what is read of one file, for the model it belongs to."""

    def __init__(self, reader: ByteReader, owner: StoredWeights) -> None:
        self._reader, self._owner = reader, owner
        self.name, self.size = reader.name, reader.size

    def read(self, offset: int, length: int) -> bytes:
        self._owner.count(length)
        return self._reader.read(offset, length)

    def view(self, offset: int, length: int) -> memoryview:
        self._owner.count(length)
        return self._reader.view(offset, length)

    def close(self) -> None:
        self._reader.close()


class StoredWeights(Weights):
    """The main weights set of a model; see `Weights`. Files stay open until `close`."""

    def __init__(self, model: Model, *, name: str | None = None) -> None:
        self._model = model
        self._checkpoint = model.main or _EMPTY
        self._readers: dict[str, ByteReader] = {}
        self._members: dict[str, Mapping[str, ZipMember]] = {}
        self._tokens: tuple[str, ...] | None = None
        self._asked = False
        self._bytes = self._requests = 0
        self._layout: Layout = lay_out(
            self._checkpoint,
            self._open,
            about=About(self._config("num_attention_heads", "n_head", "attention.head_count")),
            stated=self._packing(),
        )
        self._found = {
            (item.role, item.layer, item.expert, item.part): item
            for item in (*self._layout.named, *self._layout.unnamed)
        }
        self._name = name or model.source.spec

    @property
    def name(self) -> str:
        """What to call the model."""
        return self._name

    @property
    def format(self) -> str:
        """Container."""
        return self._checkpoint.format

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the blocks in order."""
        return self._layout.layers

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far."""
        return self._bytes

    @property
    def requests(self) -> int:
        """Ranged reads made so far."""
        return self._requests

    def count(self, length: int) -> None:
        """Count one read."""
        self._bytes += length
        self._requests += 1

    @property
    def sizes(self) -> Sizes:
        """Its sizes, as the shapes show them."""
        embedding = self.matrix("embedding")
        up = self._first("mlp.up", "mlp.gate", "experts.up", "experts.gate")
        experts = {item.expert for item in self._layout.named if item.expert is not None}
        biased = any(
            item.role.startswith("norm.") and item.part == "bias" for item in self._layout.named
        )
        normed = any(item.role.startswith("norm.") for item in self._layout.named)
        two = embedding is not None and len(embedding.shape) == 2
        return Sizes(
            hidden=embedding.shape[1] if embedding is not None and two else None,
            layers=len(self.layers),
            feed_forward=up.shape[0] if up is not None else None,
            vocabulary=embedding.shape[0] if embedding is not None and two else None,
            heads=self._config("num_attention_heads", "n_head", "attention.head_count"),
            kv_heads=self._config("num_key_value_heads", "attention.head_count_kv"),
            experts=len(experts) or None,
            norm=("layer" if biased else "rms") if normed else None,
        )

    def _first(self, *roles: str) -> StoredMatrix | None:
        for item in self._layout.named:
            if item.role in roles and item.part == "weight" and len(item.shape) == 2:
                return item
        return None

    def _config(self, *keys: str) -> int | None:
        """Read a size that shapes do not show from the configuration or the GGUF metadata."""
        found = self._model.config()
        stated = dict(found[1]) if found else {}
        architecture = self._checkpoint.metadata.get("general.architecture")
        parts = [
            stated,
            *(part for name in _LANGUAGE if isinstance(part := stated.get(name), dict)),
        ]
        for key in keys:
            kept = self._checkpoint.metadata.get(f"{architecture}.{key}")
            for value in (*(part.get(key) for part in parts), kept):
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
        return None

    def matrix(
        self,
        role: str,
        layer: int | None = None,
        *,
        expert: int | None = None,
        part: str = "weight",
    ) -> Matrix | None:
        """Find a weight by its role; None if the model has none such."""
        return self._found.get((role, layer, expert, part))

    def matrices(self) -> tuple[Matrix, ...]:
        """Return every weight with a role, those outside of blocks first, then layer by layer."""
        return tuple(
            sorted(
                self._layout.named,
                key=lambda m: (-1 if m.layer is None else m.layer, m.role, m.expert or 0, m.part),
            )
        )

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return matrices whose name says nothing, as stored."""
        return self._layout.unnamed

    def vectors(self) -> tuple[Matrix, ...]:
        """Return vectors whose name says nothing."""
        return self._layout.vectors

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Tensors that are packed in a way that is not decoded: nothing is known of them."""
        return self._layout.unreadable

    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row of the embedding."""
        if not self._asked:
            before = self._model.source.bytes_read
            self._tokens, self._asked = read_tokens(self._model), True
            read = self._model.source.bytes_read - before
            if read:
                self.count(read)
        return self._tokens

    def _packing(self) -> Stated:
        """Read what the configuration says of packed weights."""
        found = self._model.config()
        for key in ("quantization_config", "quantization"):
            stated = found[1].get(key) if found else None
            if isinstance(stated, dict):
                bits, group = stated.get("bits"), stated.get("group_size")
                return Stated(
                    bits if isinstance(bits, int) and 0 < bits <= 8 else None,
                    group if isinstance(group, int) and group > 0 else None,
                    zeros_less_one=stated.get("checkpoint_format") != "gptq_v2",
                )
        return Stated()

    def _open(self, tensor: Tensor) -> View:
        """Give a tensor's rows as stored; nothing is read yet."""
        rows, width = shape_of_rows(tensor)

        def source() -> tuple[ByteReader, Mapping[str, ZipMember] | None]:
            reader = self._reader(tensor.file)
            return reader, self._archive(tensor, reader)

        def read(first: int, count: int) -> Floats:
            reader, members = source()
            values = read_rows(reader, tensor, first, count, members=members)
            return values.ravel() if len(tensor.shape) < 2 else values

        def codes(first: int, count: int) -> Codes:
            reader, members = source()
            return read_stored(reader, tensor, first, count, members=members)

        def code_columns(first: int, count: int) -> Codes:
            reader, members = source()
            return read_columns(reader, tensor, first, count, members=members)

        def columns(first: int, count: int) -> Floats:
            return as_floats(code_columns(first, count))

        shape = (rows,) if len(tensor.shape) < 2 else (rows, width)
        apart = len(shape) == 2 and has_columns(tensor)
        return View(
            shape,
            read,
            bytes_of_rows(tensor, rows),
            columns if apart else None,
            Stored(codes, code_columns),
        )

    def _reader(self, path: str) -> ByteReader:
        if path not in self._readers:
            self._readers[path] = _Counting(self._model.source.open(path), self)
        return self._readers[path]

    def _archive(self, tensor: Tensor, reader: ByteReader) -> Mapping[str, ZipMember] | None:
        if tensor.offset is not None or tensor.member is None:
            return None
        if tensor.file not in self._members:
            self._members[tensor.file] = {m.name: m for m in directory(reader)}
        return self._members[tensor.file]

    def close(self) -> None:
        """Close the files."""
        with ExitStack() as stack:
            for reader in self._readers.values():
                stack.callback(reader.close)
        self._readers.clear()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


@contextmanager
def open_weights(model: Model, *, name: str | None = None) -> Iterator[StoredWeights]:
    """Open the main weights set of a model for reading by role; nothing is read yet."""
    weights = StoredWeights(model, name=name)
    try:
        yield weights
    finally:
        weights.close()
