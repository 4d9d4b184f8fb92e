"""Make the entry of a registry from a model at hand."""

from __future__ import annotations

from dataclasses import replace

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import digest
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.reading.weights import open_weights
from steelyard.lineage.relating.sketches import BUDGET, Sketch, sketch_of
from steelyard.progress import Progress


def measure(
    model: Model,
    entry: Entry,
    *,
    identity: bool = True,
    budget: int = BUDGET,
    progress: Progress | None = None,
    cache: DigestCache | None = None,
) -> tuple[Entry, Sketch]:
    """Sketch a model, and complete what its entry says with what was measured.

    Args:
        model: The model.
        entry: What people say of it.
        identity: Whether to compute the identity of its weights, which reads every byte; remote
            weights have none.
        budget: Most bytes to read for the sketch.
        progress: Told of the bytes done.
        cache: Where digests of unchanged files are kept.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If there is nothing in the weights that a sketch could keep.
    """
    with open_weights(model) as weights:
        sketch = sketch_of(weights, budget=budget)
    if not (sketch.embedding or sketch.units or sketch.tensors):
        raise CheckpointError(
            "there is nothing in the weights to tell the model by",
            why="no embedding, no layers, and no matrix of 16 rows and columns or more",
        )
    root = None
    if identity and model.main is not None:
        found = digest(model.source, model.main, sha256=False, progress=progress, cache=cache)
        root = found.root
    return replace(entry, sizes=sketch.sizes, identity=root), sketch
