"""Changes that leave the model's function as it was are named, and are no fine-tunes."""

from __future__ import annotations

import numpy as np

from steelyard.lineage.aligning.alignment import Alignment, sample
from steelyard.lineage.aligning.norms import folded
from steelyard.lineage.aligning.pairs import Sample
from steelyard.lineage.edits.disguise import disguise_edit, rebased, rescaled, without
from steelyard.lineage.relation import EditKind
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

SAME = Alignment((0, 1, 2, 3))
BASE = random_arrays()


def taken(child: Arrays) -> Sample:
    return sample(MemoryWeights(child), MemoryWeights(BASE), SAME)


def noisy(arrays: Arrays, size: float) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(7)
    return {
        name: (a + size * a.std() * chance.standard_normal(a.shape)).astype(np.float32)
        for name, a in arrays.items()
    }


def rescaled_neurons() -> dict[str, np.ndarray]:
    child = dict(BASE)
    for layer in range(4):
        factors = np.random.default_rng(layer).uniform(0.5, 2, 160).astype(np.float32)
        start = f"model.layers.{layer}.mlp"
        child[f"{start}.up_proj.weight"] = BASE[f"{start}.up_proj.weight"] * factors[:, None]
        child[f"{start}.down_proj.weight"] = BASE[f"{start}.down_proj.weight"] / factors
    return child


def test_rescaled_neurons() -> None:
    found = taken(rescaled_neurons())
    assert rescaled(found)
    assert not rebased(found)
    assert max(pair.change for pair in without(found, ["rescaled"]).pairs) < 1e-5


def test_another_basis_of_heads() -> None:
    child = dict(BASE)
    for layer in range(4):
        start = f"model.layers.{layer}.self_attn"
        turn, _ = np.linalg.qr(np.random.default_rng(layer).standard_normal((64, 64)))
        for role in ("q", "o"):
            name = f"{start}.{role}_proj.weight"
            child[name] = (turn @ BASE[name]).astype(np.float32)
    found = taken(child)
    assert rebased(found)
    assert {pair.role for pair in without(found, ["head_basis"]).matrices} == {
        "mlp.up",
        "mlp.gate",
        "mlp.down",
    }


def test_fine_tunes_and_casts_are_no_disguise() -> None:
    for size in (0.0, 0.001, 0.02, 0.3, 1.0):
        found = taken(noisy(BASE, size))
        assert not rebased(found), size
        assert not rescaled(found), size


def test_folded_norms_need_ones_where_the_base_has_none() -> None:
    ones = {name: np.ones_like(a) if a.ndim == 1 else a for name, a in BASE.items()}
    plain, all_ones = MemoryWeights(BASE), MemoryWeights(ones)
    layers = (0, 1, 2, 3)
    assert folded(all_ones, plain, layers)
    assert not folded(plain, plain, layers)
    assert not folded(all_ones, all_ones, layers)
    assert not folded(all_ones, plain, (None,) * 4)


def test_the_edit_names_its_means() -> None:
    assert disguise_edit([]) == ()
    (edit,) = disguise_edit(["neuron_permutation", "hidden_rotation"])
    assert edit.kind is EditKind.DISGUISED
    assert edit.details["means"] == ("neuron_permutation", "hidden_rotation")
    assert "cannot be told" in edit.note


def test_nothing_and_no_numbers_are_no_disguise() -> None:
    hollow = {name: np.full_like(a, np.nan) for name, a in BASE.items()}
    for child in (hollow, {name: np.zeros_like(a) for name, a in BASE.items()}):
        found = taken(child)
        assert not rescaled(found)
        without(found, ["rescaled"])
    assert not rebased(Sample(()))
    assert not rescaled(Sample(()))
