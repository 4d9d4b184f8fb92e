"""A model in files, as lineage reads it: by role, row by row, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
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
from steelyard.lineage.matrix import Floats, Matrix, Sizes
from steelyard.lineage.reading.fusion import About
from steelyard.lineage.reading.layouts import Layout, lay_out
from steelyard.lineage.reading.packing import Stated
from steelyard.lineage.reading.stored import StoredMatrix, in_order, key_of, norm_of
from steelyard.lineage.reading.tokens import Tokenizer
from steelyard.lineage.reading.views import Codes, Stored, View
from steelyard.lineage.roles import INTO_NEURONS
from steelyard.sources.base import ByteReader
from steelyard.sources.watched import WatchedReader

_LANGUAGE: Final = ("text_config", "llm_config", "language_config")
"""Where the configuration of a model with several stacks tells of the one that reads text."""
_EMPTY: Final = Checkpoint("", (), ())


@dataclass(frozen=True, slots=True)
class _Rows:
    """The numbers of one tensor, read when they are asked for."""

    tensor: Tensor
    source: Callable[[Tensor], tuple[ByteReader, Mapping[str, ZipMember] | None]]

    def read(self, first: int, count: int) -> Floats:
        """Return rows as numbers; a vector flat."""
        reader, members = self.source(self.tensor)
        values = read_rows(reader, self.tensor, first, count, members=members)
        return values.ravel() if len(self.tensor.shape) < 2 else values

    def columns(self, first: int, count: int) -> Floats:
        """Return columns as numbers."""
        return as_floats(self.code_columns(first, count))

    def codes(self, first: int, count: int) -> Codes:
        """Return rows in the type that they are stored in."""
        reader, members = self.source(self.tensor)
        return read_stored(reader, self.tensor, first, count, members=members)

    def code_columns(self, first: int, count: int) -> Codes:
        """Return columns in the type that they are stored in."""
        reader, members = self.source(self.tensor)
        return read_columns(reader, self.tensor, first, count, members=members)


class StoredWeights:
    """The main weights set of a model; see `Weights`. Files stay open until `close`."""

    def __init__(self, model: Model, *, name: str | None = None) -> None:
        self._model = model
        self._checkpoint = model.main or _EMPTY
        self._tokenizer = Tokenizer(model)
        self._readers: dict[str, ByteReader] = {}
        self._members: dict[str, Mapping[str, ZipMember]] = {}
        self.bytes_read = self.requests = 0
        self._heads = self._config("num_attention_heads", "n_head", "attention.head_count")
        self._layout: Layout = lay_out(
            self._checkpoint, self._open, about=About(self._heads), stated=self._packing()
        )
        self._found = {key_of(item): item for item in (*self._layout.named, *self._layout.unnamed)}
        self.name = name or model.source.spec
        self.format = self._checkpoint.format
        self.layers = self._layout.layers
        self.unreadable = self._layout.unreadable
        """Tensors that are packed in a way that is not decoded: nothing is known of them."""

    def _count(self, length: int) -> None:
        self.bytes_read += length
        self.requests += 1

    @cached_property
    def sizes(self) -> Sizes:
        """Its sizes, as the shapes show them."""
        embedding = self.matrix("embedding")
        up = self._first(*INTO_NEURONS)
        experts = {item.expert for item in self._layout.named if item.expert is not None}
        norms = {item.part for item in self._layout.named if item.role.startswith("norm.")}
        two = embedding is not None and len(embedding.shape) == 2
        return Sizes(
            hidden=embedding.shape[1] if embedding is not None and two else None,
            layers=len(self.layers),
            feed_forward=up.shape[0] if up is not None else None,
            vocabulary=embedding.shape[0] if embedding is not None and two else None,
            heads=self._heads,
            kv_heads=self._config("num_key_value_heads", "attention.head_count_kv"),
            experts=len(experts) or None,
            norm=norm_of(norms),
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
        return self._ordered

    @cached_property
    def _ordered(self) -> tuple[Matrix, ...]:
        return in_order(self._layout.named)

    def unnamed(self) -> tuple[Matrix, ...]:
        """Return matrices whose name says nothing, as stored."""
        return self._layout.unnamed

    def vectors(self) -> tuple[Matrix, ...]:
        """Return vectors whose name says nothing."""
        return self._layout.vectors

    def tokens(self) -> tuple[str, ...] | None:
        """Return the token strings by row of the embedding."""
        with self._counted():
            return self._tokenizer.tokens

    def tokenizer(self) -> bytes | None:
        """Return the digest of the document that names the tokens."""
        with self._counted():
            return self._tokenizer.digest

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count what is read of other files than those of the weights."""
        before = self._model.source.bytes_read
        yield
        read = self._model.source.bytes_read - before
        if read:
            self._count(read)

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
        held = _Rows(tensor, self._source)
        is_matrix = len(tensor.shape) > 1
        return View(
            (rows, width) if is_matrix else (rows,),
            held.read,
            bytes_of_rows(tensor, rows),
            held.columns if is_matrix and has_columns(tensor) else None,
            Stored(held.codes, held.code_columns),
        )

    def _source(self, tensor: Tensor) -> tuple[ByteReader, Mapping[str, ZipMember] | None]:
        """Return where a tensor lies: its file, and what is in it where that is an archive."""
        reader = self._reader(tensor.file)
        return reader, self._archive(tensor, reader)

    def _reader(self, path: str) -> ByteReader:
        if path not in self._readers:
            self._readers[path] = WatchedReader(self._model.source.open(path), self._count)
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
