"""A comparison as data: the models that are written, and the schema that ships.

`schema_version` follows semantic versioning, as that of the report. Every number is finite: what
is not is written as null, or left out where the field need not be there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.reports.strict import Document

SCHEMA_VERSION = "1.0"

_Numbers = list[int | float | None]


class ToolDocument(Document):
    """What wrote the comparison."""

    name: Literal["steelyard"] = "steelyard"
    version: str


class ComponentDocument(Document):
    """A part of the child, and the part of the base with which it shares its origin."""

    name: str
    base: Annotated[str | None, Field(description="null: none was found")]
    log10_p: Annotated[
        float | None,
        Field(description="Chance that independent models agree as much, as a power of ten."),
    ]
    agreeing: int
    items: int
    exact: Annotated[
        bool, Field(description="A finite-sample bound; false: calibrated on known pairs.")
    ]
    change: Annotated[float | None, Field(description="|child - base| / |base| over the sample.")]


class RelatedDocument(Document):
    """Whether the two share weights, and on which evidence."""

    verdict: Literal["related", "shares_component", "no_weight_lineage_found", "cannot_tell"]
    log10_p: Annotated[float | None, Field(description="Over all tests, corrected; never 0 as p.")]
    exact: bool
    components: list[ComponentDocument]
    assumptions: list[str]
    notes: list[str]


class ContainersDocument(Document):
    """The formats in which both are stored."""

    base: str
    child: str


class EncodingDocument(Document):
    """How the numbers are stored."""

    kind: Literal["same", "cast", "quantized", "dequantized", "cannot_tell"]
    base: Annotated[str, Field(description="Element types or scheme, the most frequent first.")]
    child: str
    containers: ContainersDocument
    noise: Annotated[
        float | None, Field(description="RMS rounding error, relative to the weights.")
    ]
    note: str


class EditBase(BaseModel):
    """What every edit has; later versions may add details."""

    model_config = ConfigDict(extra="allow", frozen=True)

    summary: str
    note: str


class IdenticalEdit(EditBase):
    """Nothing was changed."""

    kind: Literal["identical"]
    equal: Annotated[
        bool | None, Field(description="false: up to rounding; true: to the last bit.")
    ] = None


class FinetuneEdit(EditBase):
    """Training went on."""

    kind: Literal["finetune"]
    change: float | None = None
    roles: Annotated[list[str] | None, Field(description="What changed.")] = None
    nearest: Annotated[str | None, Field(description="The candidate that it equals.")] = None


class LoraEdit(EditBase):
    """An update of low rank was added."""

    kind: Literal["lora"]
    rank: Annotated[int | float | None, Field(description="A lower bound.")] = None
    roles: list[str] | None = None
    change: float | None = None


class MergeEdit(EditBase):
    """Several models were combined."""

    kind: Literal["merge"]
    parents: list[str]
    coefficients: _Numbers
    method: str | None = None
    explained: Annotated[float | None, Field(description="Share of the change.")] = None


class AbliteratedEdit(EditBase):
    """A direction was removed, which takes refusals away."""

    kind: Literal["abliterated"]
    strength: Annotated[
        dict[str, float | None], Field(description="By tensor: 1 removes the direction wholly.")
    ]
    shared: bool | None = None
    explained: Annotated[float | None, Field(description="Share of the change.")] = None
    with_base: bool | None = None


class LayersEdit(EditBase):
    """Layers were dropped, repeated or moved."""

    kind: Literal["depth_pruned", "layers_repeated"]
    layer_map: Annotated[
        list[int | None], Field(description="The base's layer for each of the child's.")
    ]
    of: Annotated[int | None, Field(description="Layers of the base.")] = None


class WidthEdit(EditBase):
    """Neurons were dropped."""

    kind: Literal["width_pruned"]
    width: int | None = None
    of: int | None = None
    kept: Annotated[
        dict[str, list[int]] | list[int] | None, Field(description="By layer: the base's neurons.")
    ] = None


class SparsifiedEdit(EditBase):
    """Weights were set to zero."""

    kind: Literal["sparsified"]
    zeros: float | None = None
    pattern: str | None = None
    roles: list[str] | None = None


class VocabularyEdit(EditBase):
    """Tokens were added, removed or reordered."""

    kind: Literal["vocab_extended", "vocab_trimmed", "vocab_permuted"]
    rows: int | None = None
    of: int | None = None
    moved: int | float | None = None
    by: Annotated[
        str | None, Field(description="What aligns tokens: strings, index or content.")
    ] = None


class DisguisedEdit(EditBase):
    """The numbers were changed so that the model computes the same."""

    kind: Literal["disguised"]
    means: list[str] | None = None


EditDocument = Annotated[
    IdenticalEdit
    | FinetuneEdit
    | LoraEdit
    | MergeEdit
    | AbliteratedEdit
    | LayersEdit
    | WidthEdit
    | SparsifiedEdit
    | VocabularyEdit
    | DisguisedEdit,
    Field(discriminator="kind"),
]


class ChangeDocument(Document):
    """How far one matrix is from the base's."""

    component: str
    role: str
    relative: Annotated[float | None, Field(description="null: the base's is zero")]


class PairDocument(Document):
    """A comparison of two models by Steelyard."""

    schema_version: str = SCHEMA_VERSION
    tool: ToolDocument
    base: str
    child: str
    related: RelatedDocument
    encoding: EncodingDocument
    edits: list[EditDocument]
    changes: list[ChangeDocument]
    same_configuration: Annotated[bool | None, Field(description="null: sizes are not known")]
    notes: list[str]
    bytes_read: int
    requests: int
