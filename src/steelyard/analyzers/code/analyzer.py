"""Ask each question about code in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from steelyard.analyzers.base import Analyzer
from steelyard.analyzers.code import (
    containers,
    named,
    pickles,
    remote,
    scripts,
    secrets,
    templates,
    tokenizers,
)
from steelyard.checkpoints.model import Model
from steelyard.facts import Fact

QUESTIONS: Final[Sequence[Analyzer]] = (
    pickles.analyze,
    remote.analyze,
    named.analyze,
    scripts.analyze,
    templates.analyze,
    tokenizers.analyze,
    containers.analyze,
    secrets.analyze,
)


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what would be imported or run if the model were loaded or used."""
    for ask in QUESTIONS:
        yield from ask(model)
