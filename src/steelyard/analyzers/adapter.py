"""What an adapter says of itself, and what its tensors show: its rank, its base."""

from __future__ import annotations

from collections.abc import Iterable

from steelyard.checkpoints.adapters import AdapterConfig, read_config
from steelyard.checkpoints.grouping import is_adapter
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Checkpoint
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact, Interval

SETTINGS = "adapter_config.json"


def analyze(model: Model) -> Iterable[Fact]:
    """Yield the rank, as declared and as measured, and whether the settings can be read."""
    found = model.config(SETTINGS)
    if found is not None:
        path, settings = found
        try:
            yield from _declared(
                path, read_config(dict(settings), path), "rank_pattern" in settings
            )
        except CheckpointError as error:
            yield Fact(
                "integrity.documents.damaged",
                frozenset({f"{path}: {error.what}"}),
                Basis.MEASURED,
                (Evidence(file=path, quote=error.what),),
            )
    for part in model.weights:
        if is_adapter(part):
            yield from _measured(part)
            return


def settings_of(model: Model) -> tuple[str, AdapterConfig] | None:
    """Return path and content of the adapter's settings; None when there are none to be read."""
    found = model.config(SETTINGS)
    if found is None:
        return None
    try:
        return found[0], read_config(dict(found[1]), found[0])
    except CheckpointError:
        return None


def _declared(path: str, config: AdapterConfig, varies: bool) -> Iterable[Fact]:
    if config.r is not None and not varies:
        yield Fact("adapter.rank", config.r, Basis.DECLARED, (Evidence(file=path, field="r"),))


def _measured(part: Checkpoint) -> Iterable[Fact]:
    """Yield the rank that the down-projections have, a range when they differ."""
    ranks = {
        min(tensor.shape): tensor
        for tensor in part.tensors
        if "lora_A" in tensor.name and len(tensor.shape) == 2
    }
    if ranks:
        value = Interval.hull(*ranks)
        evidence = tuple(
            Evidence(file=tensor.file, field=tensor.name) for _, tensor in sorted(ranks.items())[:5]
        )
        exact = min(ranks) if value.exact else value
        yield Fact("adapter.rank", exact, Basis.MEASURED, evidence)
