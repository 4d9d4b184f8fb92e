"""Open a model whose weights a command needs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from steelyard.cli.main import printable

if TYPE_CHECKING:
    from steelyard.checkpoints.model import Model
    from steelyard.progress import Progress
    from steelyard.sources import Network


def open_model(
    spec: str, reach: Network, stack: ExitStack, *, purpose: str, progress: Progress | None = None
) -> Model:
    """Open a source and read its headers.

    Args:
        spec: The source.
        reach: How remote sources are reached.
        stack: What closes it.
        purpose: What the weights are for, as a verb: `compare`, `sketch`.
        progress: Is told of all that is read.

    Raises:
        SourceError: If it cannot be opened, or there are no weights in it.
        CheckpointError: If there are weights and none can be read.
    """
    from steelyard.checkpoints.opening import read_model
    from steelyard.errors import SourceNotFound
    from steelyard.sources import open_source
    from steelyard.sources.watched import Watched

    source = open_source(spec, network=reach)
    stack.callback(source.close)
    model = read_model(source if progress is None else Watched(source, progress))
    if not model.weights:
        raise SourceNotFound(
            f"there are no weights to {purpose}",
            fix="name the folder or file that holds them",
            file=printable(spec),
        )
    return model
