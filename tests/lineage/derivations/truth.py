"""What was done to a model, recorded where it is done: the truth that a verdict must meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard.checkpoints.naming import TensorName, parse
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import EditKind, EncodingKind

Arrays = Mapping[str, Floats]
"""A model: float32 arrays by the names that Transformers gives them."""
Generator = np.random.Generator

_BLOCK = re.compile(r"\b(layers?|h)\.(\d+)\.")
_HIDDEN = frozenset({"hidden_permutation", "hidden_rotation"})


@dataclass(frozen=True, slots=True)
class Truth:
    """What was done, in the words of `steelyard.lineage.relation`."""

    edits: tuple[EditKind, ...] = ()
    """In the order in which they were done; empty if only the encoding changed."""
    encoding: EncodingKind = EncodingKind.SAME
    stored: str = "F32"
    """Element type or GGUF type of the matrices."""
    grid: str = ""
    """The quantization on whose grid the numbers lie: `int8 row`, `int4 group 32`."""
    parents: tuple[str, ...] = ()
    coefficients: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    """Of a merge: linear, task_arithmetic, slerp, ties, dare, passthrough."""
    layer_map: tuple[int, ...] | None = None
    """The base's layer for each of the child's; None if they are the same."""
    kept: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By layer of the child: the base's neurons, where some were dropped."""
    strength: Mapping[str, float] = field(default_factory=dict)
    """By tensor of the child: which share of the directions was removed (2: reflected)."""
    shared: bool | None = None
    """Whether one direction was removed from all matrices."""
    exact_strength: bool = False
    """Whether the removed shares are what the numbers show: nothing else touched the matrices."""
    rank: int | None = None
    roles: tuple[str, ...] = ()
    """Roles that a low-rank update changed."""
    change: float | None = None
    """Relative size of the change by training."""
    means: tuple[str, ...] = ()
    """Disguises, by the names of `Edit`."""
    rows: int = 0
    """Rows added to (or, negative, dropped from) the vocabulary."""
    zeros: float = 0.0
    pattern: str = ""

    @property
    def scrambled(self) -> bool:
        """Tell whether neurons and hidden dimensions both lost their order."""
        return "neuron_permutation" in self.means and bool(_HIDDEN & set(self.means))

    def then(self, later: Truth) -> Truth:
        """Return the truth of this, followed by `later` (whose base is this one's child)."""
        recoded = later.encoding is not EncodingKind.SAME
        touched = bool(later.edits) and later.edits[0] is not EditKind.ABLITERATED
        order = later.layer_map
        strength = _moved_names(self.strength, order)
        for name, value in later.strength.items():
            strength[name] = 1 - (1 - strength.get(name, 0.0)) * (1 - value)
        return Truth(
            edits=self.edits + later.edits,
            encoding=later.encoding if recoded else self.encoding,
            stored=later.stored if recoded else self.stored,
            grid=later.grid or ("" if touched else self.grid),
            parents=self.parents + later.parents,
            coefficients={**self.coefficients, **later.coefficients},
            method=later.method or self.method,
            layer_map=_composed(self.layer_map, order),
            kept=_moved(self.kept, order) | dict(later.kept),
            strength=strength,
            shared=self.shared if later.shared is None else later.shared,
            exact_strength=bool(strength)
            and (self.exact_strength or not self.edits)
            and (later.exact_strength or not touched),
            rank=later.rank if self.rank is None else self.rank,
            roles=self.roles + later.roles,
            change=later.change if self.change is None else self.change,
            means=self.means + later.means,
            rows=self.rows + later.rows,
            zeros=later.zeros or self.zeros,
            pattern=later.pattern or self.pattern,
        )

    def as_json(self) -> dict[str, Any]:
        """Write as values of JSON; fields that say nothing are left out."""
        found: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Mapping):
                value = {str(key): held for key, held in value.items()}
            if value not in (None, "", (), {}, 0):
                found[item.name] = value
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Truth:
        """Read what `as_json` wrote."""
        given: dict[str, Any] = {
            key: tuple(item) if isinstance(item, list) else item for key, item in data.items()
        }
        given["edits"] = tuple(EditKind(item) for item in given.get("edits", ()))
        given["encoding"] = EncodingKind(given.get("encoding", "same"))
        kept = given.get("kept", {})
        given["kept"] = {int(layer): tuple(neurons) for layer, neurons in kept.items()}
        return cls(**given)


def _composed(
    first: tuple[int, ...] | None, second: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    if first is None or second is None:
        return first if second is None else second
    return tuple(first[layer] for layer in second)


def _moved(
    held: Mapping[int, tuple[int, ...]], order: tuple[int, ...] | None
) -> dict[int, tuple[int, ...]]:
    """Give what is held by layer to the places that the layers went to."""
    if order is None:
        return dict(held)
    return {new: held[old] for new, old in enumerate(order) if old in held}


def _moved_names(held: Mapping[str, float], order: tuple[int, ...] | None) -> dict[str, float]:
    if order is None:
        return dict(held)
    return {
        renumbered(name, new): value
        for name, value in held.items()
        for new, old in enumerate(order)
        if role_of(name).layer in (old, None)
    }


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """A model that was made from another, and how."""

    arrays: dict[str, Floats]
    truth: Truth


Step = Callable[[Arrays], Derived]


def chain(arrays: Arrays, *steps: Step) -> Derived:
    """Take steps one after the other; the truth tells all of them."""
    done = Derived(dict(arrays), Truth())
    for step in steps:
        made = step(done.arrays)
        done = Derived(made.arrays, done.truth.then(made.truth))
    return done


def with_truth(done: Derived, **changes: Any) -> Derived:
    """Return the same model with some of its truth replaced."""
    return replace(done, truth=replace(done.truth, **changes))


def role_of(name: str) -> TensorName:
    """Tell what a tensor is for.

    Raises:
        KeyError: If the name is none that the program knows.
    """
    found = parse(name)
    if found is None:
        raise KeyError(name)
    return found


def named(
    arrays: Arrays, *roles: str, part: str | None = "weight", layer: int | None = None
) -> list[str]:
    """Return the names of the tensors with one of these roles, of one layer or of all."""
    found = []
    for name in arrays:
        known = role_of(name)
        if known.role in roles and part in (None, known.part) and layer in (None, known.layer):
            found.append(name)
    return found


def layer_count(arrays: Arrays) -> int:
    """Count the blocks."""
    layers = [known.layer for known in map(role_of, arrays) if known.layer is not None]
    return max(layers, default=-1) + 1


def renumbered(name: str, layer: int) -> str:
    """Return the name that a tensor has in another block."""
    return _BLOCK.sub(lambda found: f"{found[1]}.{layer}.", name, count=1)


def orthonormal(chance: Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal columns."""
    factor, upper = np.linalg.qr(chance.standard_normal((rows, columns)))
    result: NDArray[np.float64] = factor * np.sign(np.diag(upper))
    return result
