"""Ask one analyzer about one model and look at the answers by name."""

from __future__ import annotations

from steelyard.analyzers.base import Analyzer
from steelyard.checkpoints.model import Model
from steelyard.facts import FactBook


def facts_of(analyze: Analyzer, model: Model) -> FactBook:
    """Gather what an analyzer says; names and values are checked against the vocabulary."""
    return FactBook(analyze(model))


def texts_of(analyze: Analyzer, model: Model, name: str) -> frozenset[str]:
    """Give the texts that an analyzer says under a name; it must say them."""
    value = facts_of(analyze, model).value(name)
    assert isinstance(value, frozenset)
    return value
