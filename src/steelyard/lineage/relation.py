"""What a comparison of two models says: related or not, re-encoded how, edited how.

Two axes, always both: the *encoding* (how the numbers are stored) and the *edits* (which numbers
they are). A model may be edited in several ways; each edit is told, with its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Related(StrEnum):
    """Whether two models share weights."""

    RELATED = "related"
    """Weights of several parts come from one initialization."""
    SHARES_COMPONENT = "shares_component"
    """Some parts do, others demonstrably do not."""
    NOT_FOUND = "no_weight_lineage_found"
    """Nothing found; a model distilled from the other leaves nothing in the weights either."""
    CANNOT_TELL = "cannot_tell"
    """There is too little to compare."""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the child, and the part of the base with which it shares its origin."""

    name: str
    """`embedding`, `layers.3`, `vision.layers.0`, `head`."""
    base: str | None
    """The base's part with which it shares its origin; None where none was found."""
    log10_p: float
    """Chance that independent models agree as much, as a power of ten; never minus infinity."""
    agreeing: int
    """Items (dimensions, neurons) that match the item of the same index."""
    items: int
    """Items that were compared."""
    exact: bool = True
    """Whether the p-value is a finite-sample bound; otherwise it is calibrated on known pairs."""
    change: float | None = None
    """Relative change of its weights, `|child - base| / |base|` over the sample."""


@dataclass(frozen=True, slots=True)
class Relatedness:
    """Whether two models share an origin, and on which evidence."""

    verdict: Related
    log10_p: float
    """Over all tests, corrected for their number; never minus infinity."""
    exact: bool
    components: tuple[Component, ...] = ()
    assumptions: tuple[str, ...] = ()
    """What the p-value rests on, in words that a user understands."""
    notes: tuple[str, ...] = ()

    @property
    def layer_map(self) -> tuple[int | None, ...]:
        """Return, for each layer of the child in order, the base's layer that it matches."""
        return tuple(
            int(part.base.rpartition(".")[2])
            if part.base and not part.base.startswith("tensor:")
            else None
            for part in self.components
            if "layers." in part.name and not part.name.startswith("tensor:")
        )


class EncodingKind(StrEnum):
    """How the child stores its numbers, seen from the base."""

    SAME = "same"
    CAST = "cast"
    """Another floating-point type."""
    QUANTIZED = "quantized"
    """Packed into fewer bits."""
    DEQUANTIZED = "dequantized"
    """Stored as floating point, but the numbers lie on the grid of a quantization."""
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding axis: container, element type, quantization."""

    kind: EncodingKind
    base: str
    """The base's element types or scheme, the most frequent first: `BF16`, `Q4_K + F32`."""
    child: str
    containers: tuple[str, str] = ("", "")
    """Formats of base and child: `safetensors`, `gguf`, ..."""
    noise: float | None = None
    """Root mean square of the rounding error, relative to the weights."""
    note: str = ""


class EditKind(StrEnum):
    """What was done to the numbers themselves."""

    IDENTICAL = "identical"
    FINETUNE = "finetune"
    LORA = "lora"
    MERGE = "merge"
    ABLITERATED = "abliterated"
    DEPTH_PRUNED = "depth_pruned"
    LAYERS_REPEATED = "layers_repeated"
    WIDTH_PRUNED = "width_pruned"
    SPARSIFIED = "sparsified"
    VOCAB_EXTENDED = "vocab_extended"
    VOCAB_TRIMMED = "vocab_trimmed"
    VOCAB_PERMUTED = "vocab_permuted"
    DISGUISED = "disguised"
    """Changed so that the model computes the same with other numbers."""


Number = bool | int | float | str
Detail = Number | None | tuple[Number | None, ...] | Mapping[str, Number | tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that was done, with the numbers that show it.

    `details` by kind (all sizes and shares are plain numbers):

    - finetune: `change` (relative), `nearest` (candidate's name, where one explains it)
    - lora: `rank` (lower bound), `roles` (tuple of roles changed), `change`
    - merge: `parents` (names), `coefficients`, `method` (linear, slerp, ties, dare, passthrough)
    - abliterated: `strength` (mapping of tensor to strength), `shared` (one direction for all),
      `explained`, `with_base`
    - depth_pruned, layers_repeated: `layer_map` (the base's layer for each of the child's)
    - width_pruned: `kept` (by layer, the base's neurons), `width`, `of`
    - sparsified: `zeros` (share), `pattern` (unstructured, 2:4, ...)
    - vocab_*: `rows`, `of`, `moved`
    - disguised: `means` (neuron_permutation, hidden_permutation, hidden_rotation, head_basis,
      folded_norms, rescaled)
    """

    kind: EditKind
    summary: str
    """One line for a person."""
    details: Mapping[str, Detail] = field(default_factory=dict)
    note: str = ""
    """What cannot be told, or what the reading assumes."""


@dataclass(frozen=True, slots=True)
class Change:
    """How far one matrix of the child is from the base's, for pictures."""

    component: str
    role: str
    relative: float
    """`|child - base| / |base|` over the sampled rows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is said of a pair."""

    base: str
    child: str
    related: Relatedness
    encoding: Encoding
    edits: tuple[Edit, ...] = ()
    changes: tuple[Change, ...] = ()
    same_configuration: bool | None = None
    """Whether the sizes of both agree; None where they are unknown."""
    bytes_read: int = 0
    requests: int = 0
    notes: tuple[str, ...] = ()
