"""Which weights are these? One digest that does not depend on the container.

`model.identity` is measured from every byte of the main weights set, whose files are the
evidence, each with its SHA-256 if that was wanted. Where the identity cannot be told (the weights
are remote, or a shard is missing) no fact is given, and the notes of `measure` say why.
"""

from __future__ import annotations

from collections.abc import Iterator

from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.checkpoints.digests import Digests, digest
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, Evidence, Fact
from steelyard.progress import Progress


def measure(
    model: Model,
    *,
    sha256: bool = True,
    cache: DigestCache | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Digests | None:
    """Compute all digests of the main weights set; None when there is none.

    Args:
        model: The model.
        sha256: Compute the SHA-256 of each file in the same pass.
        cache: Where digests of unchanged files are kept.
        progress: Told of the bytes done.
        workers: Threads that read and hash; None for one a core.

    Raises:
        SourceError: If a file cannot be read or changes while it is read.
    """
    if model.main is None:
        return None
    return digest(
        model.source, model.main, sha256=sha256, cache=cache, progress=progress, workers=workers
    )


def identity_facts(model: Model, digests: Digests | None) -> Iterator[Fact]:
    """Yield what digests say about the model."""
    if digests is None or digests.root is None or model.main is None:
        return
    evidence = []
    for name in model.main.files:
        found = digests.files.get(name)
        sha256 = found.sha256 if found is not None and found.basis is Basis.MEASURED else None
        evidence.append(Evidence(file=name, digest=f"sha256:{sha256}" if sha256 else None))
    note = "; ".join(digests.notes)
    yield Fact("model.identity", digests.root, Basis.MEASURED, tuple(evidence), note)
