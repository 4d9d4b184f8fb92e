"""Ask how many parameters a model has, of a few tensors or of many."""

from __future__ import annotations

from steelyard.analyzers.parameters import analyze
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import Tensor
from steelyard.facts import FactBook
from tests.analyzers import tables
from tests.analyzers.facts_of import facts_of
from tests.analyzers.published import Config

LORA = "base_model.model.model.layers.0.self_attn.q_proj.lora"


def look(model: Model) -> FactBook:
    return facts_of(analyze, model)


def total(book: FactBook) -> object:
    return book.value("model.parameters.total")


def active(book: FactBook) -> object:
    return book.value("model.parameters.active")


def of_tensors(*made: Tensor, kind: str = "safetensors", config: Config | None = None) -> FactBook:
    return look(tables.model(tables.checkpoint(made, kind), config=config))
