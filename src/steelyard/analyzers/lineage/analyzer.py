"""Where the weights come from, beside where documents say that they do.

A sketch of the model (some megabytes are read) is looked up among known bases; where the user
names a base, the two are compared in full. What is found is measured, with the chance that
independent models agree as much. Nothing found is no finding: a model that was distilled has
nothing of its teacher in its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from steelyard.analyzers.lineage.given import compared
from steelyard.analyzers.lineage.known import known
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Evidence, Fact, FactBook
from steelyard.lineage.edits.directions import judge_without_base
from steelyard.lineage.reading.weights import StoredWeights, open_weights

if TYPE_CHECKING:
    from steelyard.lineage.known.registry import Registry

LOCAL_BUDGET: Final = 8_000_000
"""Bytes of whole matrices that an audit reads of a model on this machine: half a second.

Over a network it reads none, unless told so."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an audit asks of lineage."""

    registries: Sequence[Registry] = ()
    """Known bases; of the same entry in several, the first counts."""
    base: Model | None = None
    """The model that the user takes for the base."""
    budget: int | None = None
    """Most bytes to read beyond a sketch; None for what suits the place of the bytes."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an audit learns, and what its reader should know about that."""

    facts: tuple[Fact, ...] = ()
    notices: tuple[str, ...] = ()


def analyze(model: Model, book: FactBook, wanted: Wanted) -> Told:
    """Tell the lineage of a model's weights.

    An adapter holds changes alone, which tell nothing of its base.

    Args:
        model: The model.
        book: What is known already: declared bases, names, the identity.
        wanted: Where to look, and how far.

    Raises:
        SourceError: If bytes cannot be fetched.
    """
    if model.main is None or not model.main.tensors or book.value("adapter.present") is True:
        return Told()
    facts: list[Fact] = []
    notices: list[str] = []

    def take(what: str, step: Callable[[], Iterable[Fact]]) -> None:
        try:
            facts.extend(step())
        except CheckpointError as error:
            notices.append(f"{what} cannot be told: {error}")

    base, budget = wanted.base, wanted.budget
    local = model.source.local_path(model.main.files[0]) is not None
    with open_weights(model) as weights:
        if base is not None:
            take("the change", lambda: compared(model, base, book, weights, budget))
        told = any(fact.name == "lineage.base" for fact in facts)
        if wanted.registries:
            take(
                "lineage",
                lambda: known(model, book, weights, wanted.registries, local=local, told=told),
            )
        most = (LOCAL_BUDGET if local else 0) if budget is None else budget
        if most and weights.layers and book.value("model.design") != "encoder":
            take("whether a direction was removed", lambda: _directions(model, weights, most))
    return Told(tuple(facts), tuple(notices))


def _directions(model: Model, weights: StoredWeights, budget: int) -> Iterator[Fact]:
    """Yield whether a direction was removed whole from all that the model writes."""
    said = judge_without_base(weights, budget=budget)
    where = tuple(Evidence(file=file) for file in (model.main.files[:1] if model.main else ()))
    read = f"; {said.matrices} matrices were read" if said.matrices else ""
    note = f"{said.sentence}{read}"
    yield Fact("lineage.removed_direction", said.verdict.value, Basis.MEASURED, where, note)
