"""Training, remembered on disk by what went into it: the same request is never trained twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray

from steelyard.lineage.matrix import Floats
from tests.lineage.derivations.truth import Arrays, role_of
from tests.zoo import nets, text
from tests.zoo.nets import Architecture, Run
from tests.zoo.text import MASK, Ids, Tokenizer, corpus

_WARM = 10
_MASKED = 0.15


@dataclass(frozen=True, slots=True)
class Training:
    """What to train on, how long, and how."""

    corpus: str
    steps: int
    rate: float
    seed: int = 0
    """Of the order of the data."""
    batch: int = 16
    length: int = 48
    frozen: tuple[str, ...] = ()
    """Roles that stay as they are."""
    rank: int = 0
    """Of an adapter (Hu et al. 2021); 0 trains the weights themselves."""
    roles: tuple[str, ...] = ()
    """Roles that get an adapter."""
    nested: str = ""
    """`neurons` (MatFormer, Devvrit et al. 2023) or `hidden` (Matryoshka, Kusupati et al. 2022)."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network whose outputs are to be met."""

    arch: Architecture
    arrays: Arrays


class Trainer:
    """Trains networks on one tokenizer's reading of the corpora, and remembers the results."""

    def __init__(self, tokenizer: Tokenizer, folder: Path) -> None:
        self._tokenizer, self._folder = tokenizer, folder
        self._read: dict[str, Ids] = {}
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)

    def train(
        self,
        arch: Architecture,
        arrays: Arrays,
        training: Training,
        teacher: Teacher | None = None,
    ) -> dict[str, Floats]:
        """Return the weights after training."""
        path = self._folder / f"{self._key(arch, arrays, training, teacher)}.npz"
        if path.exists():
            with np.load(path) as held:
                return {name: held[name] for name in held.files}
        made = _trained(arch, arrays, training, teacher, self.ids(training.corpus))
        path.parent.mkdir(parents=True, exist_ok=True)
        partly = path.with_suffix(".part.npz")
        np.savez(partly, **made)  # type: ignore[arg-type] # its stub takes the names for options
        partly.rename(path)
        return made

    def ids(self, name: str) -> Ids:
        """Return a corpus as token numbers."""
        if name not in self._read:
            self._read[name] = self._tokenizer.encode(corpus(name))
        return self._read[name]

    def directions(
        self, arch: Architecture, arrays: Arrays, corpora: tuple[str, str]
    ) -> dict[int, NDArray[np.float64]]:
        """Measure by layer the direction that tells two corpora apart: hidden size x 1.

        The difference of the means of the residual stream (Arditi et al. 2024, section 2.3).
        """
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        means = []
        for name in corpora:
            run = Run(arch, weights, stream=[])
            rows = next(_batches(self.ids(name), Training(name, 1, 0.0, batch=32)))
            with torch.no_grad():
                run.logits(rows[:, :-1])
            means.append([x.mean((0, 1)).double().numpy() for x in run.stream or ()])
        found = {}
        for layer, (first, second) in enumerate(zip(*means, strict=True)):
            away = first - second
            found[layer] = (away / np.linalg.norm(away))[:, None]
        return found

    def _key(
        self, arch: Architecture, arrays: Arrays, training: Training, teacher: Teacher | None
    ) -> str:
        digest = hashlib.sha256()
        for module in (nets, text):
            digest.update(Path(str(module.__file__)).read_bytes())
        digest.update(Path(__file__).read_bytes())
        digest.update(json.dumps([asdict(arch), asdict(training)]).encode())
        digest.update(corpus(training.corpus).encode())
        digest.update("\0".join(self._tokenizer.tokens).encode())
        for held in (arrays, teacher.arrays if teacher else {}):
            for name in sorted(held):
                digest.update(name.encode() + np.ascontiguousarray(held[name]).tobytes())
        return digest.hexdigest()[:32]


def _batches(ids: Ids, training: Training) -> Iterator[torch.Tensor]:
    """Draw windows of the text: batch x (length + 1)."""
    chance = np.random.default_rng((training.seed, 21))
    for _ in range(training.steps):
        starts = chance.integers(0, len(ids) - training.length - 1, training.batch)
        yield torch.from_numpy(np.stack([ids[s : s + training.length + 1] for s in starts]))


def _trained(
    arch: Architecture,
    arrays: Arrays,
    training: Training,
    teacher: Teacher | None,
    ids: Ids,
) -> dict[str, Floats]:
    torch.manual_seed(training.seed)
    weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    adapters = _adapters(weights, training)
    trained = [part for pair in adapters.values() for part in pair]
    if not adapters:
        trained = [w for name, w in weights.items() if role_of(name).role not in training.frozen]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=training.rate, betas=(0.9, 0.95), weight_decay=0.01)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, training.steps))
    chance = np.random.default_rng((training.seed, 22))
    for rows in _batches(ids, training):
        run = _nested(Run(arch, _adapted(weights, adapters)), training.nested, chance)
        loss = _loss(run, rows, teacher, chance)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        plan.step()
    return {name: w.detach().numpy().copy() for name, w in _adapted(weights, adapters).items()}


def _pace(step: int, steps: int) -> float:
    """Rise over the first steps, then fall along a cosine to a tenth."""
    rise = min(1.0, (step + 1) / min(_WARM, steps))
    return float(rise * (0.55 + 0.45 * np.cos(np.pi * min(1.0, step / steps))))


def _adapters(
    weights: Mapping[str, torch.Tensor], training: Training
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    found = {}
    for name, weight in weights.items():
        known = role_of(name)
        if training.rank and known.role in training.roles and known.part == "weight":
            down = torch.randn(training.rank, weight.shape[1]) * weight.shape[1] ** -0.5
            found[name] = (torch.zeros(weight.shape[0], training.rank), down)
    return found


def _adapted(
    weights: Mapping[str, torch.Tensor],
    adapters: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, torch.Tensor]:
    sums = {name: weights[name] + up @ down for name, (up, down) in adapters.items()}
    return {**weights, **sums}


def _nested(run: Run, kind: str, chance: np.random.Generator) -> Run:
    if not kind:
        return run
    share = float(chance.choice((0.125, 0.25, 0.5, 1.0)))
    return replace(run, prefix=share) if kind == "neurons" else replace(run, narrow=share)


def _loss(
    run: Run, rows: torch.Tensor, teacher: Teacher | None, chance: np.random.Generator
) -> torch.Tensor:
    if run.arch.family == "bert":
        hidden = torch.from_numpy(chance.random(rows.shape) < _MASKED)
        logits = run.logits(torch.where(hidden, MASK, rows))
        return F.cross_entropy(logits[hidden], rows[hidden])
    logits = run.logits(rows[:, :-1])
    if teacher is None:
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    weights = {name: torch.from_numpy(array) for name, array in teacher.arrays.items()}
    with torch.no_grad():
        wanted = Run(teacher.arch, weights).logits(rows[:, :-1]).softmax(-1)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(0, 1))
