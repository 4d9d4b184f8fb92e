"""Which files belong together as one weights set, and which set is the model.

Repositories hold the same weights in several encodings, cut in shards, beside optimizer states
and adapters. Shards are joined by their index, by their split metadata or by their names; of
the sets that remain, one is taken for the model by the order that `rank` documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from steelyard.checkpoints import gguf, sharded
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.tensors import Checkpoint

_FORMAT_ORDER = ("safetensors", "pytorch", "gguf", "onnx", "numpy")
_TRAINING_STATE = (
    "optimizer",
    "scheduler",
    "rng_state",
    "training_args",
    "scaler",
    "trainer_state",
)


def group(parts: Sequence[Checkpoint], json: Mapping[str, JsonValue]) -> tuple[Checkpoint, ...]:
    """Join shards into sets and sort the sets so that the model comes first.

    Args:
        parts: One checkpoint for each file that was read.
        json: Parsed documents by path, shard indexes among them.
    """
    alone = {part.files[0]: part for part in parts if part.format in ("safetensors", "pytorch")}
    splits = [part for part in parts if part.format == "gguf"]
    sets = [part for part in parts if part.format not in ("safetensors", "pytorch", "gguf")]
    sets += _indexed(alone, json)
    sets += _numbered(alone)
    sets += alone.values()
    sets += _gguf_sets(splits)
    return tuple(sorted(sets, key=rank))


def rank(part: Checkpoint) -> tuple[bool, bool, bool, int, int, int, str]:
    """Order weights sets: the one that is most likely the model first.

    Sets without tensors and training state (optimizers and the like) come last, adapters after
    full models; then what lies higher in the folders, then the format as `_FORMAT_ORDER` has
    it, then the larger (of several quantizations the most precise), then by name.
    """
    first = PurePosixPath(part.files[0])
    size = sum(tensor.nbytes for tensor in part.tensors)
    return (
        not part.tensors,
        first.name.lower().startswith(_TRAINING_STATE),
        is_adapter(part),
        len(first.parts),
        _FORMAT_ORDER.index(part.format),
        -size,
        str(first),
    )


def is_adapter(part: Checkpoint) -> bool:
    """Tell whether a set holds an adapter rather than a model, by its file or tensor names."""
    if PurePosixPath(part.files[0]).name.lower().startswith("adapter_model"):
        return True
    return bool(part.tensors) and all("lora_" in tensor.name for tensor in part.tensors[:64])


def _indexed(alone: dict[str, Checkpoint], json: Mapping[str, JsonValue]) -> Iterable[Checkpoint]:
    """Join the shards that an index document names, taking them out of `alone`."""
    for path in sorted(json):
        index = json[path]
        if not path.endswith(".index.json") or not isinstance(index, dict):
            continue
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict):
            continue
        folder = PurePosixPath(path).parent
        named = {str(folder / name) for name in weight_map.values() if isinstance(name, str)}
        parts = {name: alone.pop(name) for name in sorted(named & alone.keys())}
        if parts:
            kind = next(iter(parts.values())).format
            yield sharded.merge(kind, parts, index, path)


def _numbered(alone: dict[str, Checkpoint]) -> Iterable[Checkpoint]:
    """Join what is left and numbered `-00001-of-00003`, taking it out of `alone`."""
    families: dict[tuple[str, int], list[str]] = {}
    for path in sorted(alone):
        name = sharded.shard_name(path)
        if name is not None:
            families.setdefault((name[0] + PurePosixPath(path).suffix, name[2]), []).append(path)
    for paths in families.values():
        parts = {path: alone.pop(path) for path in paths}
        yield sharded.merge(next(iter(parts.values())).format, parts, None, None)


def _gguf_sets(parts: Sequence[Checkpoint]) -> Iterable[Checkpoint]:
    families: dict[tuple[str, int], list[Checkpoint]] = {}
    for part in parts:
        name = gguf.split_name(part.files[0])
        if name is None:
            yield part
        else:
            families.setdefault((name[0], name[2]), []).append(part)
    for family in families.values():
        yield gguf.merge(family)
