"""Models made of documents alone, in memory: cards, license texts, package metadata, headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint, MetadataValue, Tensor
from steelyard.sources.base import ByteReader, SkippedFile, SourceFile

SHARED = Path(__file__).parents[3] / "shared" / "data"
"""Real cards and license texts, where the developer has them; never part of the project."""


@dataclass
class Listing:
    """A source that lists files and opens none."""

    files: Sequence[SourceFile]
    kind: str = "folder"
    spec: str = "models/somewhere"
    revision: str | None = None
    skipped: Sequence[SkippedFile] = ()
    bytes_read: int = 0

    def open(self, path: str) -> ByteReader:
        raise AssertionError(f"{path} is opened, but documents are at hand already")

    def local_path(self, path: str) -> Path | None:
        return None

    def close(self) -> None:
        pass


def model(
    texts: Mapping[str, str] | None = None,
    *,
    json: Mapping[str, JsonValue] | None = None,
    weights: str | None = "model.safetensors",
    metadata: Mapping[str, MetadataValue] | None = None,
    kind: str = "folder",
    spec: str = "models/somewhere",
) -> Model:
    """Make a model of documents and, unless `weights` is None, one tiny weights set."""
    texts, json = texts or {}, json or {}
    sets: tuple[Checkpoint, ...] = ()
    if weights is not None:
        form = weights.rpartition(".")[2]
        tensor = Tensor("weight", "F32", (1,), "plain", weights, 0, 4)
        sets = (Checkpoint(form, (weights,), (tensor,), metadata or {}),)
    paths = sorted({*texts, *json, *([weights] if weights else [])})
    listing = Listing([SourceFile(path, 1) for path in paths], kind, spec)
    return Model(listing, sets, json, texts)


def carded(text: str, **rest: str) -> Model:
    """Make a model with this card beside its weights; `rest` names further texts."""
    return model({"README.md": text, **rest})


def front(matter: str, body: str = "") -> Model:
    """Make a model whose card has this front matter."""
    return carded(f"---\n{matter}\n---\n{body}")
