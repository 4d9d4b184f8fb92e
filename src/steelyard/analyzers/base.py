"""What an analyzer is: one question asked of a model, answered with facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from steelyard.checkpoints.model import Model
from steelyard.facts import Fact


class Analyzer(Protocol):
    """Answer one question about a model.

    A plain function will do. What an analyzer needs beyond the model (a cache, someone who
    watches progress) is bound to it beforehand. It raises only for trouble with the source;
    what it cannot tell it leaves out.
    """

    def __call__(self, model: Model) -> Iterable[Fact]:
        """Yield every claim that the model supports."""
