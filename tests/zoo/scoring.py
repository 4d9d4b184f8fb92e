"""Set what Steelyard says of a zoo beside its truth.

The rule: of a child and its base, the *encoding* is right if its kind is, and (where it is another
than the base's) the type or scheme that it names. The *edits* are right if the set of kinds is:
none left out, none too many; `identical` counts as no edit. A case is right if both are. Numbers
(coefficients, maps, neurons, strengths) are scored apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.lineage.comparing import compare
from steelyard.lineage.edits.directions import BaseFree, judge_without_base
from steelyard.lineage.reading.weights import open_weights
from steelyard.lineage.relation import Comparison, Edit, EditKind, Encoding, EncodingKind
from steelyard.sources import Network, open_source
from tests.lineage.derivations.truth import Truth
from tests.zoo.building import Entry, Zoo

PARENTS = ("ft_light", "ft_med", "ft_med2", "ft_med3", "ft_heavy", "ft_frozen")
"""Fine-tunes of the main model that stand beside every child of it."""
LIMITS = {"coefficients": 0.02, "strength": 0.03}
"""Largest errors that count as right."""
_BUDGET = 64_000_000
_WEIGHTED = ("linear", "task_arithmetic", "slerp")
"""Methods whose coefficients are weights of parents."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One child beside its base: what was said, and whether it is right."""

    entry: Entry
    found: Comparison
    encoding: bool
    edits: bool
    numbers: Mapping[str, float | bool] = field(default_factory=dict)
    """`coefficients`, `strength`: the largest error; `layer_map`, `kept`: whether exact;
    `method` of a merge: whether right; `rank` of an adapter: whether no more than it is."""

    @property
    def right(self) -> bool:
        """Tell whether both axes are."""
        return self.encoding and self.edits

    @property
    def said(self) -> str:
        """Return both axes as they were told."""
        kinds = " + ".join(edit.kind.value for edit in self.found.edits)
        encoding = self.found.encoding
        return f"{encoding.kind.value} ({encoding.child}); {kinds or 'nothing'}"

    @property
    def true(self) -> str:
        """Return both axes as they are."""
        truth = self.entry.truth
        kinds = " + ".join(kind.value for kind in truth.edits)
        return f"{truth.encoding.value} ({truth.stored}); {kinds or 'nothing'}"


class Scorer:
    """Compares the models of a zoo; files stay open while it is used."""

    def __init__(self, zoo: Zoo) -> None:
        self.zoo = zoo
        self._files = ExitStack()
        self._models: dict[str, Model] = {}

    def model(self, name: str) -> Model:
        """Return the headers of a model."""
        if name not in self._models:
            network = Network(offline=True)
            source = open_source(str(self.zoo.entry(name).folder), network=network)
            self._files.callback(source.close)
            self._models[name] = read_model(source)
        return self._models[name]

    def related(self, entry: Entry) -> Scored:
        """Compare a model with its base."""
        if entry.base is None:
            raise ValueError(f"{entry.name} has no base")
        candidates = {name: self.model(name) for name in self._candidates(entry)}
        found = compare(
            self.model(entry.base),
            self.model(entry.name),
            candidates=candidates,
            names=(entry.base, entry.name),
        )
        truth = entry.truth
        if entry.group == "shared_init":
            # Two models alone do not show whether the second was trained from the first or from
            # where the first began.
            truth = replace(truth, edits=(EditKind.FINETUNE,))
        return Scored(
            entry,
            found,
            encoding_right(found.encoding, truth),
            kinds(edit.kind for edit in found.edits) == kinds(iter(truth.edits)),
            dict(numbers(found.edits, truth)),
        )

    def _candidates(self, entry: Entry) -> Iterator[str]:
        """Return possible parents, the true ones among them, never the model itself."""
        if not entry.pool:
            return
        names = {other.name for other in self.zoo.entries}
        pool = [f"{entry.base}_{name}" for name in (*PARENTS, "ft2", "ft")]
        for name in dict.fromkeys((*pool, "llama_b")):
            if name in names and name not in (entry.base, entry.name):
                yield name

    def log10_p(self, child: Entry, base: Entry) -> Comparison:
        """Compare models only as far as whether they are related."""
        return compare(
            self.model(base.name),
            self.model(child.name),
            names=(base.name, child.name),
            edits=False,
        )

    def base_free(self, entry: Entry) -> BaseFree:
        """Ask a model alone whether directions were removed from it."""
        with open_weights(self.model(entry.name), name=entry.name) as weights:
            return judge_without_base(weights, budget=_BUDGET)

    def unrelated(self) -> Iterator[tuple[Entry, Entry]]:
        """Yield pairs that share no initialization; strained models are told apart."""
        roots = [entry for entry in self.zoo.entries if entry.group == "root"]
        for child in self.zoo.entries:
            for base in roots if child.group != "strained" else ():
                if child.name != base.name and not set(child.lines) & set(base.lines):
                    yield child, base

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self._files.close()


def kinds(edits: Iterator[EditKind]) -> frozenset[EditKind]:
    """Return kinds of edits without `identical`, which is none."""
    return frozenset(edits) - {EditKind.IDENTICAL}


def encoding_right(said: Encoding, truth: Truth) -> bool:
    """Tell whether the encoding axis is right; see the rule above."""
    if said.kind is not truth.encoding:
        return False
    if said.kind in (EncodingKind.QUANTIZED, EncodingKind.CAST):
        return truth.stored in said.child or truth.stored in said.note
    if said.kind is EncodingKind.DEQUANTIZED:
        bits = truth.grid.removeprefix("int").split()[0]
        return f"{bits} bits" in said.note
    return True


def numbers(edits: tuple[Edit, ...], truth: Truth) -> Iterator[tuple[str, float | bool]]:
    """Yield how well the numbers of edits that were told fit the truth."""
    details = {edit.kind: edit.details for edit in edits}
    merge = details.get(EditKind.MERGE)
    # Training after a merge moves along its parents too; what is left are other coefficients.
    if merge is not None and EditKind.FINETUNE in truth.edits:
        merge = None
    if merge is not None and truth.method:
        yield "method", merge.get("method") == truth.method
    if merge is not None and truth.method in _WEIGHTED:
        told = _weights(merge.get("parents"), merge.get("coefficients"))
        known = truth.coefficients
        errors = [abs(told.get(name, 0.0) - known.get(name, 0.0)) for name in {*told, *known}]
        yield "coefficients", max(errors)
    adapter = details.get(EditKind.LORA)
    if adapter is not None and truth.rank is not None and len(truth.edits) == 1:
        yield "rank", 1 <= _number(adapter.get("rank")) <= truth.rank
    removed = details.get(EditKind.ABLITERATED)
    pure = truth.encoding in (EncodingKind.SAME, EncodingKind.CAST) and truth.exact_strength
    if removed is not None and pure:
        strength = removed.get("strength")
        held = strength if isinstance(strength, Mapping) else {}
        yield (
            "strength",
            max(abs(_number(held.get(tensor)) - value) for tensor, value in truth.strength.items()),
        )
    if truth.layer_map is not None:
        order = next((each["layer_map"] for each in details.values() if "layer_map" in each), None)
        yield "layer_map", order == truth.layer_map
    narrowed = details.get(EditKind.WIDTH_PRUNED)
    if truth.kept and narrowed is not None:
        kept = narrowed.get("kept")
        held = kept if isinstance(kept, Mapping) else {}
        yield "kept", {int(layer): rows for layer, rows in held.items()} == dict(truth.kept)


def _weights(names: object, values: object) -> dict[str, float]:
    if not isinstance(names, tuple) or not isinstance(values, tuple):
        return {}
    return {str(name): _number(value) for name, value in zip(names, values, strict=True)}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def command(zoo: Zoo, name: str) -> str:
    """Return the command that scores one model."""
    return f"python -m tests.zoo.score --size {zoo.size} --seed {zoo.seed} --only {name}"
