"""A comparison as data: the shapes that are written, from which the schema that ships is made.

`schema_version` follows semantic versioning, as that of the report. Every number is finite: what
is not is written as null, or left out where the field need not be there. These are types alone,
since pydantic takes a tenth of a second to import, a tenth of what a comparison takes: the tests
hold what is written to the schema.
"""

from __future__ import annotations

import sys
from typing import Literal, NotRequired

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    from typing_extensions import TypedDict

SCHEMA_VERSION = "1.0"

_Numbers = list[int | float | None]


class ToolDocument(TypedDict):
    """What wrote the comparison."""

    name: Literal["steelyard"]
    version: str


class ComponentDocument(TypedDict):
    """A part of the child, and the part of the base with which it shares its origin."""

    name: str
    base: str | None
    """null: none was found"""
    log10_p: float | None
    """Chance that independent models agree as much, as a power of ten."""
    agreeing: int
    items: int
    exact: bool
    """A finite-sample bound; false: calibrated on known pairs."""
    change: float | None
    """|child - base| / |base| over the sample."""


class RelatedDocument(TypedDict):
    """Whether the two share weights, and on which evidence."""

    verdict: Literal["related", "shares_component", "no_weight_lineage_found", "cannot_tell"]
    log10_p: float | None
    """Over all tests, corrected; never 0 as p."""
    exact: bool
    components: list[ComponentDocument]
    assumptions: list[str]
    notes: list[str]


class ContainersDocument(TypedDict):
    """The formats in which both are stored."""

    base: str
    child: str


class EncodingDocument(TypedDict):
    """How the numbers are stored."""

    kind: Literal["same", "cast", "quantized", "dequantized", "cannot_tell"]
    base: str
    """Element types or scheme, the most frequent first."""
    child: str
    containers: ContainersDocument
    noise: float | None
    """RMS rounding error, relative to the weights."""
    note: str


class EditBase(TypedDict):
    """What every edit has; later versions may add details."""

    summary: str
    note: str


class IdenticalEdit(EditBase):
    """Nothing was changed."""

    kind: Literal["identical"]
    equal: NotRequired[bool]
    """false: up to rounding; true: to the last bit."""


class FinetuneEdit(EditBase):
    """Training went on."""

    kind: Literal["finetune"]
    change: NotRequired[float]
    roles: NotRequired[list[str]]
    """What changed."""
    nearest: NotRequired[str]
    """The candidate that it equals."""


class LoraEdit(EditBase):
    """An update of low rank was added."""

    kind: Literal["lora"]
    rank: NotRequired[int | float]
    """A lower bound."""
    roles: NotRequired[list[str]]
    change: NotRequired[float]


class MergeEdit(EditBase):
    """Several models were combined."""

    kind: Literal["merge"]
    parents: list[str]
    coefficients: _Numbers
    method: NotRequired[str]
    explained: NotRequired[float]
    """Share of the change."""


class AbliteratedEdit(EditBase):
    """A direction was removed, which takes refusals away."""

    kind: Literal["abliterated"]
    strength: dict[str, float | None]
    """By tensor: 1 removes the direction wholly."""
    shared: NotRequired[bool]
    explained: NotRequired[float]
    """Share of the change."""
    with_base: NotRequired[bool]


class LayersEdit(EditBase):
    """Layers were dropped, repeated or moved."""

    kind: Literal["depth_pruned", "layers_repeated"]
    layer_map: list[int | None]
    """The base's layer for each of the child's."""
    of: NotRequired[int]
    """Layers of the base."""


class WidthEdit(EditBase):
    """Neurons were dropped."""

    kind: Literal["width_pruned"]
    width: NotRequired[int]
    of: NotRequired[int]
    kept: NotRequired[dict[str, list[int]] | list[int]]
    """By layer: the base's neurons."""


class SparsifiedEdit(EditBase):
    """Weights were set to zero."""

    kind: Literal["sparsified"]
    zeros: NotRequired[float]
    pattern: NotRequired[str]
    roles: NotRequired[list[str]]


class VocabularyEdit(EditBase):
    """Tokens were added, removed or reordered."""

    kind: Literal["vocab_extended", "vocab_trimmed", "vocab_permuted"]
    rows: NotRequired[int]
    of: NotRequired[int]
    moved: NotRequired[int | float]
    by: NotRequired[str]
    """What aligns tokens: strings, index or content."""


class DisguisedEdit(EditBase):
    """The numbers were changed so that the model computes the same."""

    kind: Literal["disguised"]
    means: NotRequired[list[str]]


EditDocument = (
    IdenticalEdit
    | FinetuneEdit
    | LoraEdit
    | MergeEdit
    | AbliteratedEdit
    | LayersEdit
    | WidthEdit
    | SparsifiedEdit
    | VocabularyEdit
    | DisguisedEdit
)


class ChangeDocument(TypedDict):
    """How far one matrix is from the base's."""

    component: str
    role: str
    relative: float | None
    """null: the base's is zero"""


class PairDocument(TypedDict):
    """A comparison of two models by Steelyard."""

    schema_version: str
    tool: ToolDocument
    base: str
    child: str
    related: RelatedDocument
    encoding: EncodingDocument
    edits: list[EditDocument]
    changes: list[ChangeDocument]
    same_configuration: bool | None
    """null: sizes are not known"""
    notes: list[str]
    bytes_read: int
    requests: int
