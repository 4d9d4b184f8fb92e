"""Ask one analyzer about one model and look at the answers by name."""

from __future__ import annotations

from steelyard.analyzers.base import Analyzer
from steelyard.checkpoints.model import Model
from steelyard.facts import FactBook


def facts_of(analyze: Analyzer, model: Model) -> FactBook:
    """Gather what an analyzer says; names and values are checked against the vocabulary."""
    return FactBook(analyze(model))
