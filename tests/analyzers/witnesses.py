"""What each witness says about an architecture."""

from __future__ import annotations

from collections.abc import Mapping

from steelyard.analyzers.architecture import analyze
from steelyard.checkpoints.model import Model
from steelyard.facts import Basis, FactBook, Value
from tests.analyzers import tables
from tests.analyzers.facts_of import facts_of
from tests.analyzers.published import Config

NAMES = (
    "layers", "hidden_size", "intermediate_size", "vocabulary_size", "head_size", "kv_heads",
)  # fmt: skip


def look(model: Model) -> FactBook:
    return facts_of(analyze, model)


def by(book: FactBook, basis: Basis, name: str) -> Value | None:
    """Return what is claimed about `name` by one basis; None when nothing is."""
    values = {claim.value for claim in book.claims(f"model.{name}") if claim.basis is basis}
    assert len(values) <= 1, values
    return next(iter(values), None)


def of_table(table: Mapping[str, tuple[int, ...]], config: Config | None = None) -> FactBook:
    return look(tables.model(tables.checkpoint(tables.tensors(table)), config=config))
