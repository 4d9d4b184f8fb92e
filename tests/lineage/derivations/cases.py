"""Models that were made from another by edits that are known: one edit each, and compositions.

Every case draws its sizes from its seed, so that thresholds can be set on some seeds and judged on
others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.lineage.derivations import disguises, merges, numbers, removals, shapes
from tests.lineage.derivations.packed import quantized
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Step,
    chain,
    layer_count,
    named,
)

_MERGES = (
    "merge-linear",
    "merge-of-three",
    "merge-with-base",
    "merge-task",
    "merge-slerp",
    "merge-ties",
    "merge-dare",
    "merge-passthrough",
)
_EVERY = numbers.ATTENTION + numbers.FEED_FORWARD


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A child, what was done to its base, and candidates for parents."""

    name: str
    made: Derived
    candidates: Mapping[str, Arrays] = field(default_factory=dict)


Make = Callable[[], Case]


def single_edits(
    arrays: Arrays, seed: int, heads: disguises.Heads | None = None
) -> dict[str, Make]:
    """Return how to make models that differ in one way: the encoding, or one edit."""
    steps = {
        **_encodings(),
        **_trainings(seed),
        **_removals(arrays, seed),
        **_shapes(arrays, seed),
        **_disguises(arrays, seed, heads),
    }
    made = {name: partial(_chained, name, arrays, (step,)) for name, step in steps.items()}
    return {**made, **{name: partial(_merged, arrays, seed, name) for name in _MERGES}}


def _chained(name: str, arrays: Arrays, steps: Sequence[Step]) -> Case:
    return Case(name, chain(arrays, *steps))


def compositions(arrays: Arrays, seed: int) -> dict[str, Make]:
    """Return how to make models to which several things were done, one after another."""
    chance = np.random.default_rng((seed, 21))
    tuned = partial(numbers.finetune, seed=seed + 50, change=float(chance.uniform(0.01, 0.04)))
    adapted = partial(
        numbers.lora,
        seed=seed,
        rank=int(chance.integers(2, 12)),
        roles=_EVERY,
        change=float(chance.uniform(0.04, 0.08)),
    )
    removed = _removals(arrays, seed)
    pruned = _shapes(arrays, seed)
    q8, q4 = partial(quantized, kind="Q8_0"), partial(quantized, kind="Q4_0")
    bf16 = partial(numbers.cast, dtype="BF16")
    chains: dict[str, tuple[Step, ...]] = {
        "finetune-q8": (tuned, q8),
        "finetune-q4": (tuned, q4),
        "finetune-bf16": (tuned, bf16),
        "lora-bf16": (adapted, bf16),
        "lora-q8": (adapted, q8),
        "lora-q4": (adapted, q4),
        "lora-abliterated": (adapted, removed["abliterated"]),
        "finetune-abliterated": (tuned, removed["abliterated"]),
        "abliterated-finetune": (removed["abliterated"], tuned),
        "abliterated-q8": (removed["abliterated"], q8),
        "abliterated-q4": (removed["abliterated"], q4),
        "kernel-q8": (removed["kernel"], q8),
        "finetune-abliterated-q8": (tuned, removed["abliterated"], q8),
        "finetune-abliterated-q4": (tuned, removed["abliterated"], q4),
        "finetune-sparsified": (tuned, numbers.sparsify),
        "sparsified-q8": (numbers.sparsify, q8),
        "depth-finetune": (pruned["depth-pruned"], tuned),
        "depth-q4": (pruned["depth-pruned"], q4),
        "width-finetune": (pruned["width-random"], tuned),
        "width-q8": (pruned["width-pruned"], q8),
        "vocabulary-finetune": (pruned["vocabulary-extended"], tuned),
        "neurons-finetune": (disguises.permute_neurons, tuned),
        "neurons-q4": (disguises.permute_neurons, q4),
        "hidden-finetune": (disguises.permute_hidden, tuned),
    }
    made: dict[str, Make] = {
        name: partial(_chained, name, arrays, steps) for name, steps in chains.items()
    }
    for kind, step in (("bf16", bf16), ("q8", q8), ("q4", q4)):
        made[f"merge-{kind}"] = partial(_merged, arrays, seed, "merge-linear", step)
    return made


def _encodings() -> dict[str, Step]:
    return {
        "identical": numbers.identical,
        "bf16": partial(numbers.cast, dtype="BF16"),
        "f16": partial(numbers.cast, dtype="F16"),
        "int8-rows": numbers.fake_int8,
        "int4-groups": numbers.fake_int4,
        **{
            kind.lower(): partial(quantized, kind=kind)
            for kind in ("Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
        },
    }


def _trainings(seed: int) -> dict[str, Step]:
    chance = np.random.default_rng((seed, 20))
    light, heavy = float(chance.uniform(0.002, 0.01)), float(chance.uniform(0.2, 0.5))
    low, high = int(chance.integers(1, 4)), int(chance.integers(8, 20))
    share = float(chance.uniform(0.3, 0.7))
    return {
        "finetune-light": partial(numbers.finetune, seed=seed, change=light),
        "finetune": partial(numbers.finetune, seed=seed, change=0.03),
        "finetune-heavy": partial(numbers.finetune, seed=seed, change=heavy),
        "lora-low": partial(numbers.lora, seed=seed, rank=low),
        "lora-high": partial(numbers.lora, seed=seed, rank=high, roles=_EVERY),
        "lora-writing": partial(
            numbers.lora, seed=seed, rank=low, roles=("attention.o", "mlp.down")
        ),
        "sparsified": partial(numbers.sparsify, share=share),
        "sparsified-2-4": partial(numbers.sparsify, of_four=True),
    }


def _removals(arrays: Arrays, seed: int) -> dict[str, Step]:
    chance = np.random.default_rng((seed, 22))
    layers = layer_count(arrays)
    attention = removals.kernel(
        layers, peak=layers * float(chance.uniform(0.4, 0.8)), reach=layers * 0.7
    )
    feed_forward = removals.kernel(
        layers, peak=layers * float(chance.uniform(0.3, 0.7)), reach=layers * 0.6, most=0.8
    )
    share = float(chance.uniform(0.3, 1.6))
    three = removals.directions(arrays, seed=seed, count=3)
    return {
        "abliterated": partial(removals.abliterate, seed=seed),
        "abliterated-embedding": partial(removals.abliterate, seed=seed, embedding=True),
        "abliterated-part": partial(removals.abliterate, seed=seed, share=share),
        "reflected": partial(removals.abliterate, seed=seed, share=2.0),
        "norms-kept": partial(removals.abliterate, seed=seed, keep_norms=True),
        "three-directions": partial(removals.abliterate, seed=seed, taken=three),
        "by-layer": partial(removals.abliterate_by_layer, seed=seed),
        "kernel": partial(
            removals.abliterate_kernel, attention=attention, feed_forward=feed_forward, seed=seed
        ),
    }


def _shapes(arrays: Arrays, seed: int) -> dict[str, Step]:
    chance = np.random.default_rng((seed, 23))
    layers = layer_count(arrays)
    dropped = int(chance.integers(1, layers - 1))
    kept = [layer for layer in range(layers) if layer != dropped]
    repeated = [*range(layers - 1), *range(1, layers)]
    width = len(arrays[named(arrays, "mlp.up")[0]])
    fewer = int(width * float(chance.uniform(0.5, 0.9))) // 32 * 32
    tokens = shapes.vocabulary_size(arrays)
    return {
        "depth-pruned": partial(shapes.relayered, order=kept),
        "every-second": shapes.every_second,
        "layers-repeated": partial(shapes.relayered, order=repeated),
        "width-pruned": partial(shapes.prune_width, keep=fewer),
        "width-random": partial(shapes.prune_width, keep=fewer, seed=seed),
        "vocabulary-extended": partial(shapes.extend_vocabulary, rows=64),
        "vocabulary-trimmed": partial(shapes.trim_vocabulary, keep=tokens * 3 // 4),
        "vocabulary-permuted": partial(shapes.permute_vocabulary, seed=seed),
    }


def _disguises(arrays: Arrays, seed: int, heads: disguises.Heads | None) -> dict[str, Step]:
    found: dict[str, Step] = {
        "neurons-permuted": partial(disguises.permute_neurons, seed=seed),
        "hidden-permuted": partial(disguises.permute_hidden, seed=seed),
    }
    if named(arrays, "mlp.gate"):
        found |= {
            "neurons-rescaled": partial(disguises.rescale_neurons, seed=seed),
            "norms-folded": disguises.fold_norms,
            "hidden-rotated": partial(disguises.rotate_hidden, seed=seed),
        }
    if heads is not None:
        found["heads-turned"] = partial(disguises.turn_heads, heads=heads, seed=seed)
    return found


def _parents(arrays: Arrays, seed: int) -> dict[str, Arrays]:
    chance = np.random.default_rng((seed, 24))
    return {
        f"tune-{number}": numbers.finetune(
            arrays, seed=1000 * seed + number, change=float(chance.uniform(0.01, 0.06))
        ).arrays
        for number in range(4)
    }


def _merged(arrays: Arrays, seed: int, name: str, after: Step | None = None) -> Case:
    """Merge fine-tunes of the base by one of the methods."""
    parents = _parents(arrays, seed)
    chance = np.random.default_rng((seed, 26))
    two = {key: parents[key] for key in ("tune-0", "tune-1")}
    share, t, density, scale, drop, *sums = (
        float(chance.uniform(*limits))
        for limits in ((0.2, 0.8), (0.2, 0.8), (0.3, 0.7), (0.7, 1.2), (0.3, 0.7), (0.4, 0.9),
                       (0.4, 0.9))
    )  # fmt: skip
    weights = {"tune-0": share, "tune-1": 1 - share}
    last = layer_count(arrays)
    picks = [("tune-0", layer) for layer in range(last - 1)]
    picks += [("tune-1", layer) for layer in range(1, last)]
    match name:
        case "merge-linear":
            made = merges.linear(two, weights)
        case "merge-of-three":
            made = merges.linear(parents, {"tune-0": 0.5, "tune-1": 0.3, "tune-3": 0.2})
        case "merge-with-base":
            with_base = {"base": share, "tune-0": 1 - share}
            made = merges.linear({"base": arrays, **two}, with_base)
        case "merge-task":
            made = merges.task_arithmetic(arrays, parents, dict(zip(two, sums, strict=True)))
        case "merge-slerp":
            made = merges.slerp(two, t)
        case "merge-ties":
            made = merges.ties(arrays, two, density=density, scale=scale)
        case "merge-dare":
            made = merges.dare(arrays, two, weights, drop=drop, seed=seed)
        case _:
            made = merges.passthrough(two, picks)
    if after is not None:
        later = after(made.arrays)
        made = Derived(later.arrays, made.truth.then(later.truth))
    return Case(name, made, parents)
