"""What the recipes of a zoo share: sizes, drawn hyper-parameters, training as a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind, EncodingKind
from tests.lineage.derivations.disguises import Heads
from tests.lineage.derivations.numbers import identical
from tests.lineage.derivations.truth import (
    Arrays,
    Derived,
    Step,
    Truth,
    chain,
    layer_count,
    named,
)
from tests.zoo.nets import Architecture, initial
from tests.zoo.training import Teacher, Trainer, Training

ATTENTION = ("attention.q", "attention.k", "attention.v", "attention.o")
GATED = (*ATTENTION, "mlp.gate", "mlp.up", "mlp.down")
PRETRAINING = "library"


@dataclass(frozen=True, slots=True)
class Size:
    """How large the networks of a zoo are, and how long they are trained."""

    name: str
    width: int
    layers: int
    feed_forward: int
    vocabulary: int
    steps: int
    rate: float


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size("micro", 64, 3, 128, 1024, 120, 5e-3),
        Size("tiny", 128, 6, 352, 2048, 160, 3e-3),
    )
}


@dataclass(frozen=True, slots=True)
class Draw:
    """Hyper-parameters: as they are written, or drawn around it."""

    chance: np.random.Generator
    vary: bool

    def number(self, usual: float, low: float, high: float) -> float:
        """Draw evenly from a range."""
        drawn = round(float(self.chance.uniform(low, high)), 3)
        return drawn if self.vary else usual

    def factor(self, low: float = 0.4, high: float = 2.5) -> float:
        """Draw a factor, evenly in its logarithm; 1 if nothing varies."""
        drawn = float(np.exp(self.chance.uniform(np.log(low), np.log(high))))
        return drawn if self.vary else 1.0

    def whole(self, usual: int, low: int, high: int) -> int:
        """Draw an integer from `low` to `high`, both included."""
        drawn = int(self.chance.integers(low, high + 1))
        return drawn if self.vary else usual

    def layers(self, usual: tuple[int, ...], of: int) -> tuple[int, ...]:
        """Draw as many layers of `of` in rising order."""
        drawn = self.chance.choice(of, len(usual), replace=False)
        return tuple(sorted(drawn.tolist())) if self.vary else usual


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """A model that was made from nothing."""

    name: str
    arch: Architecture
    arrays: Arrays
    tokens: tuple[str, ...]

    @property
    def heads(self) -> Heads:
        """Return how its attention is divided."""
        return Heads(self.arch.heads, self.arch.kv_heads)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One model of a zoo."""

    name: str
    group: str
    """`root`, `single`, `composition`, `scrambled`, `shared_init`, `distilled`, `strained`."""
    base: str | None
    """The model it is compared with."""
    lines: tuple[str, ...]
    """The initializations that its weights go back to."""
    arch: Architecture
    arrays: Arrays
    truth: Truth
    tokens: tuple[str, ...] | None
    container: str = "safetensors"
    pool: bool = True
    """Whether it is compared beside the models that may be parents of a merge."""


@dataclass(slots=True)
class Workshop:
    """Makes models of one size and seed."""

    size: Size
    seed: int
    draw: Draw
    trainer: Trainer
    tokens: tuple[str, ...]
    kept: dict[str, Arrays] = field(default_factory=dict)
    """Fine-tunes by name, for merges."""

    def arch(self, family: str, **changes: Any) -> Architecture:
        """Return an architecture of the usual size."""
        size = self.size
        usual = Architecture(family, len(self.tokens), size.width, size.layers, size.feed_forward)
        return replace(usual, **changes)

    def root(
        self,
        name: str,
        arch: Architecture,
        number: int,
        *,
        corpus: str = PRETRAINING,
        order: int | None = None,
        start: Arrays | None = None,
        nested: str = "",
    ) -> Root:
        """Train a model from nothing.

        Args:
            name: What to call it.
            arch: Its architecture.
            number: Of its random start, within this zoo.
            corpus: What it reads.
            order: Of the data; the number if not given.
            start: Untrained weights, if not drawn the usual way.
            nested: As in `Training`.
        """
        weights = initial(arch, 1000 * self.seed + number) if start is None else start
        training = Training(
            corpus,
            self.size.steps,
            self.size.rate,
            seed=1000 * self.seed + (number if order is None else order),
            nested=nested,
        )
        return Root(name, arch, self.trainer.train(arch, weights, training), self.tokens)

    def train(
        self,
        arch: Architecture,
        corpus: str,
        *,
        length: float,
        rate: float,
        order: int = 7,
        frozen: tuple[str, ...] = (),
    ) -> Step:
        """Return a step that trains all weights; `length` is relative to pretraining."""
        steps = max(2, int(length * self.size.steps))
        training = Training(
            corpus, steps, rate * self.draw.factor(), seed=self.seed + order, frozen=frozen
        )
        return partial(self._finetuned, arch=arch, training=training)

    def _finetuned(self, arrays: Arrays, arch: Architecture, training: Training) -> Derived:
        made = self.trainer.train(fitted(arch, arrays), arrays, training)
        return Derived(made, Truth((EditKind.FINETUNE,), change=_change(arrays, made)))

    def adapter(
        self, arch: Architecture, rank: int, roles: tuple[str, ...], *, corpus: str = "prose"
    ) -> Step:
        """Return a step that trains an adapter and adds it to the weights."""
        training = Training(
            corpus,
            max(2, self.size.steps // 3),
            5e-3 * self.draw.factor(),
            seed=self.seed + 9,
            rank=rank,
            roles=roles,
        )
        return partial(self._adapted, arch=arch, training=training)

    def _adapted(self, arrays: Arrays, arch: Architecture, training: Training) -> Derived:
        made = self.trainer.train(fitted(arch, arrays), arrays, training)
        roles = tuple(sorted(training.roles))
        truth = Truth(
            (EditKind.LORA,), rank=training.rank, roles=roles, change=_change(arrays, made)
        )
        return Derived(made, truth)

    def distilled(self, teacher: Root, arch: Architecture, number: int) -> dict[str, Floats]:
        """Train a model from nothing on the outputs of another."""
        start = initial(arch, 1000 * self.seed + number)
        training = Training(PRETRAINING, self.size.steps, self.size.rate, seed=self.seed)
        return self.trainer.train(arch, start, training, Teacher(teacher.arch, teacher.arrays))


def fitted(arch: Architecture, arrays: Arrays) -> Architecture:
    """Return the architecture with the sizes that the weights have."""
    vocabulary = len(arrays[named(arrays, "embedding")[0]])
    neurons = len(arrays[named(arrays, "mlp.up", "experts.up")[0]])
    return replace(arch, vocabulary=vocabulary, layers=layer_count(arrays), feed_forward=neurons)


def _change(before: Arrays, after: Arrays) -> float:
    """Return the relative change of all weights together."""
    pairs = [(before[name], array) for name, array in after.items() if array.ndim == 2]
    moved = sum(float(np.square(a - b, dtype="f8").sum()) for b, a in pairs)
    size = sum(float(np.square(b, dtype="f8").sum()) for b, _ in pairs)
    return round(float(np.sqrt(moved / size)), 6)


def stored_truth(container: str) -> Truth:
    """Return what a container does to the numbers of float32 weights."""
    kind, _, dtype = container.partition(":")
    if dtype in ("", "F32"):
        return Truth()
    if dtype in ("BF16", "F16"):
        return Truth(encoding=EncodingKind.CAST, stored=dtype)
    return Truth(encoding=EncodingKind.QUANTIZED, stored=dtype if kind == "gguf" else "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made from a root."""

    name: str
    steps: tuple[Step, ...]
    container: str = "safetensors"
    group: str = "single"
    pool: bool = True
    added: int = 0
    """Tokens that were added to the vocabulary, or (negative) dropped."""
    order: tuple[int, ...] | None = None
    """The new order of tokens."""
    tokenizer: bool = True
    """Whether token strings lie beside the weights."""
    lines: tuple[str, ...] = ()
    """Initializations besides the root's own."""


def cook(root: Root, recipes: Iterator[Recipe]) -> Iterator[Made]:
    """Make models from a root."""
    for recipe in recipes:
        done = chain(root.arrays, *(recipe.steps or (identical,)))
        recoded = stored_truth(recipe.container)
        truth = done.truth.then(recoded)
        if truth.edits == (EditKind.IDENTICAL,) and recoded.encoding is not EncodingKind.SAME:
            truth = replace(truth, edits=())
        tokens = root.tokens
        if recipe.order is not None:
            tokens = tuple(tokens[row] for row in recipe.order)
        if recipe.added:
            fresh = tuple(f"<extra_{number}>" for number in range(max(recipe.added, 0)))
            tokens = (*tokens, *fresh)[: len(tokens) + recipe.added]
        yield Made(
            f"{root.name}_{recipe.name}",
            recipe.group,
            root.name,
            (root.name, *recipe.lines),
            fitted(root.arch, done.arrays),
            done.arrays,
            truth,
            tokens if recipe.tokenizer else None,
            recipe.container,
            recipe.pool,
        )
