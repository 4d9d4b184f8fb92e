"""What an analyzer is: one question asked of a model, answered with facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from steelyard.checkpoints.model import Model
from steelyard.facts import Fact

_MOST_NAMES: Final = 1000
_LONGEST_NAME: Final = 500


class Analyzer(Protocol):
    """Answer one question about a model.

    A plain function will do. What an analyzer needs beyond the model (a cache, someone who
    watches progress) is bound to it beforehand. It raises only for trouble with the source;
    what it cannot tell it leaves out.
    """

    def __call__(self, model: Model) -> Iterable[Fact]:
        """Yield every claim that the model supports."""


def few(names: Iterable[str]) -> frozenset[str]:
    """Keep the first thousand names, each shortened, and count the rest: a report has bounds."""
    distinct = list(dict.fromkeys(names))
    kept = [shortened(name) for name in distinct[:_MOST_NAMES]]
    more = len(distinct) - len(kept)
    return frozenset([*kept, f"and {more} more"] if more else kept)


def shortened(name: str) -> str:
    """Cut a name that is too long to be one."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
