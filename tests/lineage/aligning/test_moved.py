"""Layers, neurons and hidden dimensions are found where they do not lie in order."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.lineage.aligning.moved import align, complete_layers, layer_map
from steelyard.lineage.aligning.vocabularies import match_tokens, vocabulary_edits
from steelyard.lineage.edits.structure import depth_edits, width_edits
from steelyard.lineage.relation import Component, EditKind, Related, Relatedness
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

BUDGET = 16_000_000


def related(*layers: int | None) -> Relatedness:
    parts = tuple(
        Component(f"layers.{n}", None if m is None else f"layers.{m}", -80, 64, 64)
        for n, m in enumerate(layers)
    )
    return Relatedness(Related.RELATED, -300, exact=True, components=parts)


def permuted_neurons(base: Arrays, seed: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray]:
    child = dict(base)
    width = len(base["model.layers.0.mlp.up_proj.weight"])
    order = np.random.default_rng(seed).permutation(width)
    for layer in range(4):
        start = f"model.layers.{layer}.mlp"
        for role in ("up", "gate"):
            child[f"{start}.{role}_proj.weight"] = base[f"{start}.{role}_proj.weight"][order]
        child[f"{start}.down_proj.weight"] = base[f"{start}.down_proj.weight"][:, order]
    return child, order


def permuted_hidden(base: Arrays, order: np.ndarray) -> dict[str, np.ndarray]:
    child = {}
    for name, array in base.items():
        if array.ndim == 1 or name.endswith(("o_proj.weight", "down_proj.weight")):
            child[name] = array[order]
        else:
            child[name] = array[:, order]
    return child


def test_permuted_neurons_are_found_and_named() -> None:
    base = random_arrays()
    child, order = permuted_neurons(base)
    ours, theirs = MemoryWeights(child), MemoryWeights(base)
    tokens = match_tokens(ours, theirs, budget=BUDGET)
    found = align(ours, theirs, related(None, None, None, None), tokens, budget=BUDGET)
    assert found.means == ("neuron_permutation",)
    assert found.alignment.layers == (0, 1, 2, 3)
    assert np.array_equal(found.alignment.neurons[3, None], order)


def test_permuted_hidden_dimensions_are_found_and_named() -> None:
    base = random_arrays()
    order = np.random.default_rng(2).permutation(64)
    ours, theirs = MemoryWeights(permuted_hidden(base, order)), MemoryWeights(base)
    found = align(ours, theirs, related(0, 1, 2, 3), None, budget=BUDGET)
    assert found.means == ("hidden_permutation",)
    assert found.alignment.hidden is not None
    assert np.array_equal(found.alignment.hidden, order)


def test_a_rotated_hidden_space_is_named() -> None:
    base = random_arrays()
    turn, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((64, 64)))
    child = dict(base)
    name = "model.embed_tokens.weight"
    child[name] = (base[name] @ turn).astype(np.float32)
    found = align(
        MemoryWeights(child), MemoryWeights(base), related(0, 1, 2, 3), None, budget=BUDGET
    )
    assert found.means == ("hidden_rotation",)


def test_the_same_order_needs_no_words() -> None:
    base = random_arrays()
    ours, theirs = MemoryWeights(base), MemoryWeights(base)
    found = align(ours, theirs, related(0, 1, 2, 3), None, budget=BUDGET)
    assert found.means == ()
    assert found.alignment.neurons == {}


def test_layers_that_were_not_compared_lie_in_order_where_the_others_do() -> None:
    base = MemoryWeights(random_arrays(layers=6))
    some = Relatedness(
        Related.RELATED,
        -300,
        exact=True,
        components=(Component("layers.0", "layers.0", -80, 64, 64),),
    )
    assert layer_map(base, base, some) == (0, 1, 2, 3, 4, 5)
    assert layer_map(base, base, related(1, 0))[2:] == (None,) * 4
    assert complete_layers(base, base, (None,) * 6) == (0, 1, 2, 3, 4, 5)


def test_pruned_neurons_are_told_exactly() -> None:
    base = random_arrays()
    kept = np.sort(np.random.default_rng(4).permutation(160)[:100])
    child = dict(base)
    for layer in range(4):
        start = f"model.layers.{layer}.mlp"
        for role in ("up", "gate"):
            child[f"{start}.{role}_proj.weight"] = base[f"{start}.{role}_proj.weight"][kept]
        child[f"{start}.down_proj.weight"] = base[f"{start}.down_proj.weight"][:, kept]
    ours, theirs = MemoryWeights(child), MemoryWeights(base)
    found = align(ours, theirs, related(None, None, None, None), None, budget=BUDGET)
    assert "neuron_permutation" not in found.means
    (edit,) = width_edits(found.alignment.neurons, 100, 160)
    assert edit.kind is EditKind.WIDTH_PRUNED
    assert edit.details["kept"] == {str(layer): tuple(kept.tolist()) for layer in range(4)}


@pytest.mark.parametrize(
    ("layers", "of", "kinds"),
    [
        ((0, 1, 2, 3), 4, []),
        ((0, 2, 3), 4, ["depth_pruned"]),
        ((0, 1, 1, 2, 3), 4, ["layers_repeated"]),
        ((1, 0, 2, 3), 4, ["layers_repeated"]),
        ((0, 0, 2), 4, ["layers_repeated", "depth_pruned"]),
        ((0, None, 2, 3), 4, []),
        ((None, None), 4, []),
    ],
)
def test_the_map_of_layers_tells_what_was_done(
    layers: tuple[int | None, ...], of: int, kinds: list[str]
) -> None:
    assert [edit.kind.value for edit in depth_edits(layers, of)] == kinds


class TestVocabularies:
    def kinds(self, child: Arrays, base: Arrays) -> list[str]:
        ours, theirs = MemoryWeights(child), MemoryWeights(base)
        tokens = match_tokens(ours, theirs, budget=BUDGET)
        return [edit.kind.value for edit in vocabulary_edits(ours, theirs, tokens)]

    def test_by_index(self) -> None:
        base = random_arrays()
        assert self.kinds(base, base) == []
        name = "model.embed_tokens.weight"
        more = {**base, name: np.vstack([base[name], base[name][:7]])}
        assert self.kinds(more, base) == ["vocab_extended"]
        assert self.kinds(base, more) == ["vocab_trimmed"]

    def test_by_content(self) -> None:
        base = random_arrays()
        name = "model.embed_tokens.weight"
        order = np.random.default_rng(5).permutation(512)
        moved = {**base, name: base[name][order]}
        assert self.kinds(moved, base) == ["vocab_permuted"]
        assert self.kinds(random_arrays(9), base) == []

    def test_by_strings(self) -> None:
        arrays = random_arrays()
        words = tuple(f"t{n}" for n in range(512))
        base = MemoryWeights(arrays, vocabulary=words)
        dropped = tuple(word for n, word in enumerate(words) if n % 5)
        name = "model.embed_tokens.weight"
        fewer = {**arrays, name: arrays[name][[n for n in range(512) if n % 5]]}
        child = MemoryWeights(fewer, vocabulary=dropped)
        tokens = match_tokens(child, base, budget=0)
        assert tokens is not None
        assert tokens.by == "strings"
        assert tokens.moved == 0, "tokens that shift keep their order"
        assert [e.kind.value for e in vocabulary_edits(child, base, tokens)] == ["vocab_trimmed"]
