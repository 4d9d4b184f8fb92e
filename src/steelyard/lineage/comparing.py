"""The story of a comparison: related or not, aligned how, encoded how, edited how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from steelyard.checkpoints.model import Model
from steelyard.lineage.adapters import compare_adapter, find_adapter, refuse_adapter
from steelyard.lineage.aligning.alignment import Alignment
from steelyard.lineage.aligning.alignment import sample as take_sample
from steelyard.lineage.aligning.moved import Aligned, align
from steelyard.lineage.aligning.pairs import Pair, Sample, relative
from steelyard.lineage.aligning.vocabularies import TokenMap, match_tokens, vocabulary_edits
from steelyard.lineage.edits.abliteration import judge_with_base
from steelyard.lineage.edits.changes import accounted
from steelyard.lineage.edits.deciding import explain, settled
from steelyard.lineage.edits.directions import judge_beside
from steelyard.lineage.edits.disguise import disguise_edit, equal_norms, rebased, rescaled, without
from steelyard.lineage.edits.encoding import judge_encoding, unaligned
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.heads import keeps_products
from steelyard.lineage.edits.merge import Parent
from steelyard.lineage.edits.structure import depth_edits, width_edits
from steelyard.lineage.matrix import Floats, Weights
from steelyard.lineage.reading.remembering import Remembering
from steelyard.lineage.reading.weights import StoredWeights, open_weights
from steelyard.lineage.relating import scrambled
from steelyard.lineage.relating.anonymous import place_both
from steelyard.lineage.relating.fixed_points import corrected
from steelyard.lineage.relating.measured import ROWS
from steelyard.lineage.relating.relatedness import confirmed, relate_weights
from steelyard.lineage.relation import Change, Comparison, Edit, EditKind, Related, Relatedness

BUDGET = 64_000_000
"""Bytes that a comparison reads of both models together, headers aside, unless told otherwise."""
_WIDE_ROW = 8192
"""Bytes of a row of the embedding above which fewer are read at first."""
_FEWER = 12
"""Rows that decide unless the models are far apart; then more are read."""
_HIDING = 0.25
"""Square of a relative change, in units of one hidden dimension, from which it may hide one."""
_NOT_ASKED = "what was done was not asked for"
_FEW_ROWS = 8_000_000
"""Bytes to read for the encoding alone."""


def compare(
    base: Model,
    child: Model,
    *,
    candidates: Mapping[str, Model] | None = None,
    names: tuple[str, str] | None = None,
    budget: int = BUDGET,
    edits: bool = True,
) -> Comparison:
    """Tell whether a model's weights come from another's, and what was done to them.

    Args:
        base: The model that may be the origin.
        child: The model whose origin is asked.
        candidates: Further models that may have gone into a merge, by name.
        names: What to call base and child; their sources if not given.
        budget: Most bytes to read of both models.
        edits: Whether to tell what was done, too; relatedness alone reads far less.

    Raises:
        SourceError: If bytes cannot be fetched.
        CheckpointError: If what is stored does not fit the headers.
    """
    called = names or (base.source.spec, child.source.spec)
    for what, model in (("base", base), *(("candidate", m) for m in (candidates or {}).values())):
        refuse_adapter(model, what)
    adapter = find_adapter(child)
    with ExitStack() as stack:
        theirs = stack.enter_context(open_weights(base, name=called[0]))
        if adapter is not None:
            return compare_adapter(theirs, adapter, called[1], budget=budget)
        ours = stack.enter_context(open_weights(child, name=called[1]))
        others = {
            name: stack.enter_context(open_weights(model, name=name))
            for name, model in (candidates or {}).items()
        }
        found = compare_weights(theirs, ours, candidates=others, budget=budget, edits=edits)
        return replace(found, notes=(*found.notes, *_unreadable(ours), *_unreadable(theirs)))


def _unreadable(weights: StoredWeights) -> Iterator[str]:
    count = len(weights.unreadable)
    if count:
        first = weights.unreadable[0]
        yield f"{weights.name}: {count} tensors, {first} among them, are packed in a way not read"


def compare_weights(
    base: Weights,
    child: Weights,
    *,
    candidates: Mapping[str, Weights] | None = None,
    budget: int = BUDGET,
    edits: bool = True,
) -> Comparison:
    """Compare models that are open; see `compare`."""
    base, child = Remembering(base), Remembering(child)
    if not edits:
        return replace(_verdict(child, base, budget), notes=(_NOT_ASKED,))
    left = _Left(child, base, budget)
    found, child, base, tokens = _related(child, base, left)
    if found.related.verdict in (Related.RELATED, Related.SHARES_COMPONENT) and found.related.exact:
        others = {name: Remembering(model) for name, model in (candidates or {}).items()}
        found = _explained(found, child, base, tokens, others, left)
    return _told(found, child, base)


def _verdict(child: Weights, base: Weights, budget: int) -> Comparison:
    """Look at a few rows first, and at more only where those do not decide."""
    related = relate_weights(child, base, layers=False, rows=_first_rows(child, base))
    if related.verdict is Related.RELATED:
        related = confirmed(related, child, base)
    if related.verdict is Related.RELATED:
        return _told(_plain(related, child, base), child, base)
    found, child, base, _ = _related(child, base, _Left(child, base, budget))
    # The second look is paid for.
    log10_p = corrected(found.related.log10_p, 2)
    found = replace(found, related=replace(found.related, log10_p=log10_p))
    return _told(found, child, base)


def _related(
    child: Weights, base: Weights, left: _Left
) -> tuple[Comparison, Weights, Weights, TokenMap | None]:
    """Tell how two models are related; return them with names for what had none."""
    placed, base = place_both(child, base)
    child = Remembering(placed)
    tokens = match_tokens(child, base, budget=left.part(4))
    related = relate_weights(child, base, tokens=tokens, placements=placed.placements)
    found = _plain(related, child, base)
    if related.verdict is Related.NOT_FOUND:
        hidden = scrambled.judge(child, base, tokens, budget=left.part(1))
        found = found if hidden is None else _behind(hidden, found, child, base)
    return found, child, base, tokens


def _first_rows(child: Weights, base: Weights) -> int:
    """Choose how many rows of the embeddings to look at first: fewer where they are wide."""
    widest = 0
    for model in (child, base):
        embedding = model.matrix("embedding")
        if embedding is not None:
            widest = max(widest, embedding.nbytes // max(embedding.shape[0], 1))
    return ROWS if widest <= _WIDE_ROW else _FEWER


def _plain(related: Relatedness, child: Weights, base: Weights) -> Comparison:
    """Say how two models are related, and nothing of what was done."""
    return Comparison(
        base.name,
        child.name,
        related,
        unaligned(child, base),
        same_configuration=_same_sizes(child, base),
    )


def _told(found: Comparison, child: Weights, base: Weights) -> Comparison:
    read, requests = base.bytes_read + child.bytes_read, base.requests + child.requests
    return replace(found, bytes_read=read, requests=requests)


def _behind(
    hidden: scrambled.Scrambled, found: Comparison, child: Weights, base: Weights
) -> Comparison:
    """Say what two views of the neurons tell where the exact test finds nothing."""
    found = replace(found, related=hidden.beside(found.related))
    if not hidden.found:
        return found
    alignment = Alignment(hidden.layers)
    taken = take_sample(child, base, alignment, budget=_FEW_ROWS)
    return replace(
        found,
        encoding=judge_encoding(taken, child.format, base.format),
        edits=disguise_edit(hidden.means),
    )


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a budget in bytes of two models."""

    child: Weights
    base: Weights
    budget: int

    def part(self, of: int) -> int:
        """Return one of so many equal parts of it."""
        return max(self.budget - self.child.bytes_read - self.base.bytes_read, 0) // of


def _same_sizes(child: Weights, base: Weights) -> bool | None:
    ours, theirs = child.sizes, base.sizes
    if ours.hidden is None or theirs.hidden is None or not (ours.layers and theirs.layers):
        return None
    return ours == theirs


def _explained(
    found: Comparison,
    child: Weights,
    base: Weights,
    tokens: TokenMap | None,
    candidates: Mapping[str, Weights],
    left: _Left,
) -> Comparison:
    aligned = align(child, base, found.related, tokens, budget=left.part(2))
    edits: list[Edit] = list(_structure(aligned, child, base, tokens))
    taken = take_sample(child, base, aligned.alignment, budget=left.part(2))
    if "hidden_rotation" in aligned.means:
        # Nothing stands beside anything, but how numbers are stored shows in each by itself.
        encoding = judge_encoding(taken, child.format, base.format)
        edits += disguise_edit(aligned.means)
        return replace(found, encoding=encoding, edits=tuple(edits))
    means = [*aligned.means, *_means(taken, child, base, aligned, left)]
    plain = without(taken, means)
    edits += disguise_edit(means)
    grids = Grids()
    encoding = judge_encoding(plain, child.format, base.format, grids=grids)
    if _has_layers(aligned, child):
        parents = _parents(candidates, plain, child, aligned, left.budget // 2)
        edits += _numbers(plain, parents, child, base, left, grids)
    return replace(
        found,
        related=_with_changes(found.related, taken, base),
        encoding=encoding,
        edits=settled(edits),
        changes=tuple(_changes(plain, child)),
    )


def _structure(
    aligned: Aligned, child: Weights, base: Weights, tokens: TokenMap | None
) -> Iterator[Edit]:
    """Tell what was done to layers, neurons and tokens."""
    alignment = aligned.alignment
    if any(layer is not None for layer in alignment.layers):
        yield from depth_edits(alignment.layers, len(base.layers))
    widths = child.sizes.feed_forward, base.sizes.feed_forward
    yield from width_edits(alignment.neurons, *widths)
    yield from vocabulary_edits(child, base, tokens)


def _has_layers(aligned: Aligned, child: Weights) -> bool:
    """Tell whether more than an embedding is shared: of that alone no history can be told."""
    layers = aligned.alignment.layers
    return not child.layers or any(layer is not None for layer in layers)


def _means(
    taken: Sample, child: Weights, base: Weights, aligned: Aligned, left: _Left
) -> Iterator[str]:
    """Yield disguises that only the aligned numbers show."""
    if rebased(taken) and keeps_products(child, base, aligned.alignment, budget=left.part(4)):
        yield "head_basis"
    if rescaled(taken):
        yield "rescaled"


def _numbers(
    plain: Sample,
    parents: Sequence[Parent],
    child: Weights,
    base: Weights,
    left: _Left,
    grids: Grids,
) -> Iterator[Edit]:
    """Tell what was done to the numbers: removed directions first, then all that is left."""
    removed = judge_with_base(plain, budget=left.part(1))
    rest = plain
    if removed is not None:
        yield removed.edit
        rest = accounted(plain, equal_norms(removed.rest(plain)))
        parents = [parent.outside(plain, rest) for parent in parents]
    edits = explain(rest, parents=parents, base=base.name, budget=left.part(1), grids=grids)
    if removed is None and _may_hide(edits, child):
        missing = judge_beside(child, base, budget=left.part(1))
        if missing is not None:
            yield missing
    yield from edits


def _may_hide(edits: Iterable[Edit], child: Weights) -> bool:
    """Tell whether training moved the weights so far that it may hide a removal.

    A direction is one part in `hidden` of what a matrix writes: what is far smaller hides none.
    """
    hidden = child.sizes.hidden or 0
    moved = (edit.details.get("change") for edit in edits if edit.kind is EditKind.FINETUNE)
    return any(isinstance(each, float) and each**2 * hidden > _HIDING for each in moved)


def _parents(
    candidates: Mapping[str, Weights], plain: Sample, child: Weights, aligned: Aligned, budget: int
) -> list[Parent]:
    """Read candidates at the rows of the sample."""
    return [
        _parent(name, take_sample(child, model, aligned.alignment, budget=budget), plain)
        for name, model in candidates.items()
    ]


def _parent(name: str, taken: Sample, plain: Sample) -> Parent:
    """Set a candidate's rows beside the sample's."""
    there = {_place(pair): pair for pair in taken.pairs}
    return Parent(
        name,
        tuple(_beside(pair, there.get(_place(pair))) for pair in plain.pairs),
        tuple(pair.base for pair in plain.pairs),
    )


def _place(pair: Pair) -> tuple[str, str, int | None, int | None]:
    return (pair.role, pair.part, pair.layer, pair.child_matrix.expert)


def _beside(pair: Pair, other: Pair | None) -> Floats | None:
    if other is None or not np.array_equal(other.rows, pair.rows):
        return None
    return other.base if other.base.shape == pair.base.shape else None


def _changes(taken: Sample, child: Weights) -> Iterable[Change]:
    for pair in taken.pairs:
        if pair.part == "weight" and isfinite(pair.change):
            name = pair.role if pair.layer is None else child.layers[pair.layer]
            yield Change(name, pair.role, pair.change)


def _with_changes(related: Relatedness, taken: Sample, base: Weights) -> Relatedness:
    """Give each component the change of its sampled weights."""
    parts: dict[str | None, list[Pair]] = {}
    for pair in taken.pairs:
        if pair.part == "weight" and pair.child.ndim == 2:
            parts.setdefault(_component(pair, base), []).append(pair)
    changes = {name: relative(pairs) for name, pairs in parts.items()}
    return replace(
        related,
        components=tuple(
            replace(part, change=changes.get(part.base)) for part in related.components
        ),
    )


def _component(pair: Pair, base: Weights) -> str:
    if pair.base_layer is not None:
        return base.layers[pair.base_layer]
    return {"output_head": "head"}.get(pair.role, pair.role)
