"""Which files belong together as one weights set, and which set is the model.

Repositories hold the same weights in several encodings, cut in shards, beside optimizer states
and adapters. Shards are joined by their index, by their split metadata or by their names; of
the sets that remain, one is taken for the model by the order that `rank` documents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from steelyard.checkpoints import sharded
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.tensors import Checkpoint, Problem, ProblemKind
from steelyard.errors import CheckpointError

_FORMAT_ORDER = ("safetensors", "pytorch", "gguf", "onnx", "numpy")
_TRAINING_STATE = (
    "optimizer",
    "scheduler",
    "rng_state",
    "training_args",
    "scaler",
    "trainer_state",
)


def group(
    parts: Sequence[Checkpoint],
    json: Mapping[str, JsonValue],
    unreadable: Collection[str] = (),
) -> tuple[tuple[Checkpoint, ...], tuple[Problem, ...]]:
    """Join shards into sets and sort the sets so that the model comes first.

    Args:
        parts: One checkpoint for each file that was read.
        json: Parsed documents by path, shard indexes among them.
        unreadable: Files that are there but were refused, so are not missing.

    Returns:
        The sets, and what is wrong with indexes that could not be used.
    """
    alone = {part.files[0]: part for part in parts if part.format in ("safetensors", "pytorch")}
    sets = [part for part in parts if part.format not in ("safetensors", "pytorch", "gguf")]
    problems: list[Problem] = []
    for path in sorted(json):
        try:
            sets += _indexed(alone, path, json[path], unreadable)
        except CheckpointError as error:
            problems.append(Problem(ProblemKind.INDEX_MISMATCH, error.what, path))
    sets += _numbered(alone, unreadable)
    sets += alone.values()
    if packed := [part for part in parts if part.format == "gguf"]:
        sets += _gguf_sets(packed)
    return tuple(sorted(sets, key=rank)), tuple(problems)


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


def _indexed(
    alone: dict[str, Checkpoint], path: str, index: JsonValue, unreadable: Collection[str]
) -> list[Checkpoint]:
    """Join the shards that an index document names, taking them out of `alone`."""
    if not path.endswith(".index.json") or not isinstance(index, dict):
        return []
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        return []
    folder = PurePosixPath(path).parent
    files = {name for name in weight_map.values() if isinstance(name, str)}
    named = {str(folder / name) for name in files}
    parts = {name: alone[name] for name in sorted(named & alone.keys())}
    if not parts:
        return []
    kind = next(iter(parts.values())).format
    merged = sharded.merge(kind, parts, index, path, unreadable)
    for name in parts:
        del alone[name]
    return [merged]


def _numbered(alone: dict[str, Checkpoint], unreadable: Collection[str]) -> list[Checkpoint]:
    """Join what is left and numbered `-00001-of-00003`, taking it out of `alone`."""
    families: dict[tuple[str, int], list[str]] = {}
    for path in sorted(alone):
        name = sharded.shard_name(path)
        if name is not None:
            families.setdefault((name[0], name[2]), []).append(path)
    sets = []
    for paths in families.values():
        parts = {path: alone.pop(path) for path in paths}
        kind = next(iter(parts.values())).format
        sets.append(sharded.merge(kind, parts, None, None, unreadable))
    return sets


def _gguf_sets(parts: Sequence[Checkpoint]) -> Iterable[Checkpoint]:
    from steelyard.checkpoints import gguf

    families: dict[tuple[str, int], list[Checkpoint]] = {}
    for part in parts:
        name = gguf.split_name(part.files[0])
        if name is None:
            yield part
        else:
            families.setdefault((name[0], name[2]), []).append(part)
    for family in families.values():
        yield gguf.merge(family)
