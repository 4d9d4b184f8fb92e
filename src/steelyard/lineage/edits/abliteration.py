"""Directions taken out of what blocks write to the residual stream, seen beside the base.

Abliteration (Arditi et al. 2024, arXiv 2406.11717) sets `W <- W - a v v^T W` for the matrices that
write to the stream. The change has few left directions v, which short fine-tunes and adapters share
with it; what they do not share is the right-hand side, parallel to `v^T W`. Whole matrices show
both, and the strengths a; a few sampled rows show only that it was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Pair, Sample
from steelyard.lineage.edits.projections import Look, cosine_log10_p, look
from steelyard.lineage.floats import median
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relation import Detail, Edit, EditKind
from steelyard.lineage.roles import BY_TOKEN, WRITING

_EXPLAINED: Final = 0.45
_LOG10_P: Final = -12.0
_STRONGEST: Final = 0.1
"""What the strongest removal must reach; less is what training does to a direction."""
_MOST: Final = 3.0
_EFFECTIVE: Final = 3.0
"""Fewest dimensions that a direction spreads over: one dimension scaled down is none."""
_PARTIAL_Z: Final = 20.0
_PARTIAL_SHARE: Final = 0.5
_ENOUGH: Final = 6
"""Matrices without a removal, the most changed ones, after which no other is read."""
_NORM_KEPT: Final = 0.5
"""Change of the lengths of rows, as a share of what a removal changes, below which they were kept.
"""
_LEAST_SCALE: Final = 0.1
_TURNS: Final = 4
_OVERLAP: Final = 0.7
"""Least squared overlap of the directions of matrices that share theirs."""

_INFERRED: Final = (
    "the weights show that directions were removed; that these carried refusals is inferred from "
    "how such models are made: evaluate this model itself"
)

_Key = tuple[str, int | None, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Finding:
    """What one whole matrix shows."""

    pair: Pair
    look: Look
    scales: Floats | None = None
    """Factors by which rows were given back the lengths that they had; None if they were not."""

    @property
    def flagged(self) -> bool:
        seen = self.look
        return (
            seen.changed
            and seen.explained > _EXPLAINED
            and seen.log10_p < _LOG10_P
            and 0 < seen.strength < _MOST
            and seen.effective >= _EFFECTIVE
        )


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """Removed directions, and how to look at what else was changed."""

    edit: Edit
    _whole: Mapping[_Key, _Finding | None]
    """Matrices that were read whole; None for those from which nothing was removed."""
    _shared: Floats | None
    """Hidden size x k: the directions that all matrices lost, if they lost the same."""
    _tokens: Mapping[str, float]
    """Roles of embeddings that lost the shared directions, and how much of them."""

    def rest(self, sample: Sample) -> Sample:
        """Return the sample with the removal done to the base as well: other edits are left.

        Exact for matrices that were read whole and for embeddings. Of the others, the change along
        the removed directions is taken out, whatever else lies along them.
        """
        return Sample(tuple(self._redone(pair) for pair in sample.pairs))

    def _redone(self, pair: Pair) -> Pair:
        if pair.part != "weight" or pair.child.ndim != 2:
            return pair
        if pair.role in self._tokens and self._shared is not None:
            lost = self._tokens[pair.role] * ((pair.base @ self._shared) @ self._shared.T)
            return replace(pair, base=pair.base - lost.astype(np.float32))
        if pair.role not in WRITING:
            return pair
        if _key(pair) in self._whole:
            return _undone(pair, self._whole[_key(pair)])
        return self._projected(pair)

    def _projected(self, pair: Pair) -> Pair:
        delta = _difference(pair.child, pair.base)
        seen = look(delta, pair.base)
        if seen is None or not seen.changed:
            return pair
        left = seen.top
        if self._shared is not None and int(pair.rows.max(initial=-1)) < len(self._shared):
            left = np.linalg.qr(self._shared[pair.rows])[0]
        return replace(pair, base=pair.base + left @ (left.T @ delta))


def _undone(pair: Pair, found: _Finding | None) -> Pair:
    """Return the pair with the removal done to the base."""
    if found is None:
        return pair
    base = pair.base + found.look.edit(pair.rows)
    if found.scales is not None:
        base = base * found.scales[pair.rows, None]
    return replace(pair, base=base)


def judge_with_base(sample: Sample, *, budget: int) -> Removal | None:
    """Tell whether directions were removed from the matrices that write to the residual stream.

    Args:
        sample: Aligned rows of child and base.
        budget: Most bytes to read of both, for whole matrices of as many layers as it allows, the
            most changed first. Where none can be read the sampled rows decide alone.

    Returns:
        What was removed; None where nothing shows that something was.

    Raises:
        CheckpointError: If the bytes of a matrix cannot be read.
    """
    pairs = [pair for pair in sample.of(*WRITING) if _is_changed(pair)]
    findings = list(_examined(pairs, budget))
    if findings:
        return _from_whole(sample, findings)
    return _from_rows(pairs)


def _key(pair: Pair) -> _Key:
    return (pair.role, pair.layer, pair.child_matrix.expert)


def _is_changed(pair: Pair) -> bool:
    """Tell whether any sampled row changed: a removed direction changes all of them."""
    return (
        pair.layer is not None
        and pair.child.ndim == 2
        and pair.child.size > 0
        and bool(np.any(pair.child != pair.base))
    )


def _examined(pairs: Iterable[Pair], budget: int) -> Iterator[_Finding]:
    """Read whole matrices within the budget, the most changed first."""
    left, plain, any_flagged = budget, 0, False
    for pair in sorted(pairs, key=_moved, reverse=True):
        if plain >= _ENOUGH and not any_flagged:
            # Of a removal, the matrices that changed most show it, if any do.
            return
        cost = pair.child_matrix.nbytes + pair.base_matrix.nbytes
        if cost > left or not _lies_alike(pair):
            continue
        left -= cost
        child, base = pair.child_matrix.whole(), pair.base_matrix.whole()
        if not _fits(pair, child, base):
            continue
        seen = look(_kept_change(child, base), base)
        if seen is not None:
            found = _with_norms(_Finding(pair, seen), child, base)
            plain, any_flagged = plain + 1, any_flagged or found.flagged
            yield found


def _with_norms(found: _Finding, child: Floats, base: Floats) -> _Finding:
    """Look again with the lengths of rows undone, where a tool kept them as they were.

    Scaling rows back bends the removed direction; directions and scales are fitted in turns.
    """
    every = np.arange(len(base))
    if not found.flagged or not _keeps_norms(child, base, base + found.look.edit(every)):
        return found
    for _ in range(_TURNS):
        cleared = base + found.look.edit(every)
        squares = np.einsum("ij,ij->i", cleared, cleared)
        scales = np.ones(len(base), np.float32)
        np.divide(np.einsum("ij,ij->i", child, cleared), squares, out=scales, where=squares > 0)
        scales = np.where(scales > _LEAST_SCALE, scales, np.float32(1))
        seen = look(child / scales[:, None] - base, base)
        if seen is None or not seen.changed:
            return found
        found = _Finding(found.pair, seen, scales)
    return found


def _keeps_norms(child: Floats, base: Floats, cleared: Floats) -> bool:
    """Tell whether rows of the child are as long as the base's, not as those that a removal left.

    A removal changes lengths by little: so little that only its own change of each tells.
    """
    before, after, bare = (np.linalg.norm(rows, axis=1) for rows in (base, child, cleared))
    expected = bare - before
    square = float(expected @ expected)
    return square > 0 and float((after - before) @ expected) < _NORM_KEPT * square


def _moved(pair: Pair) -> float:
    """Return the relative change; 0 for what is not finite."""
    return pair.change if isfinite(pair.change) else 0.0


def _lies_alike(pair: Pair) -> bool:
    return pair.child_matrix.shape == pair.base_matrix.shape and np.array_equal(
        pair.rows, pair.base_rows
    )


def _fits(pair: Pair, child: Floats, base: Floats) -> bool:
    """Tell whether the whole matrices hold the sampled rows: no permuted or rescaled columns."""
    return np.array_equal(child[pair.rows], pair.child) and np.array_equal(
        base[pair.rows], pair.base
    )


def _kept_change(child: Floats, base: Floats) -> Floats:
    """Return child minus base, without what was set to zero: pruning shrinks like removal does."""
    delta = _difference(child, base)
    gone = (child == 0) & (base != 0)
    if gone.mean() > 0.2:
        delta[gone] = 0
    delta[~child.any(axis=1)] = 0
    delta[:, ~child.any(axis=0)] = 0
    return delta


def _difference(child: Floats, base: Floats) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):  # hostile files hold infinities
        return child - base


def _from_whole(sample: Sample, findings: Sequence[_Finding]) -> Removal | None:
    changed = [finding for finding in findings if finding.look.changed]
    flagged = [finding for finding in changed if finding.flagged]
    if not flagged or 2 * len(flagged) < len(changed):
        return None
    if max(finding.look.strength for finding in flagged) < _STRONGEST:
        return None
    shared = _shared([finding.look.vectors for finding in flagged])
    tokens = dict(_token_strengths(sample, shared)) if shared is not None else {}
    strength = _by_tensor(flagged) | {
        pair.child_matrix.tensor: round(tokens[pair.role], 4) for pair in sample.of(*tokens)
    }
    explained = median([finding.look.explained for finding in flagged])
    is_shared = shared is not None if len(flagged) > 1 else None
    edit = _edit(strength, is_shared, explained, told=(len(flagged), len(changed)))
    whole = {_key(found.pair): found if found.flagged else None for found in findings}
    return Removal(edit, whole, shared if len(flagged) > 1 else None, tokens)


def _by_tensor(flagged: Iterable[_Finding]) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in sorted(flagged, key=lambda item: (item.pair.layer or 0, item.pair.role)):
        matrix = item.pair.child_matrix
        name = matrix.tensor
        if name in found:
            name = f"{name}[{matrix.expert}]"
        found[name] = round(item.look.strength, 4)
    return found


def _shared(bases: Sequence[Floats]) -> Floats | None:
    """Return the directions that all have in common, as columns; None if each has its own."""
    if len({len(basis) for basis in bases}) != 1:
        return None
    count = int(median([basis.shape[1] for basis in bases]))
    common = np.linalg.svd(np.concatenate(bases, axis=1), full_matrices=False)[0][:, :count]
    overlaps = []
    for basis in bases:
        fewer = max(min(basis.shape[1], count), 1)
        overlaps.append(float(np.sum((basis.T @ common) ** 2)) / fewer)
    return common if median(overlaps) > _OVERLAP else None


def _token_strengths(sample: Sample, shared: Floats) -> Iterator[tuple[str, float]]:
    """Tell which embeddings lost the shared directions too, and how much of them."""
    for pair in sample.of(*BY_TOKEN):
        if pair.child.ndim != 2 or pair.child.shape[1] != len(shared):
            continue
        if not pair.is_finite:
            continue
        base = pair.base.astype("f8")
        change = pair.child - base
        lost, had = (change @ shared).ravel(), (base @ shared).ravel()
        others = float(np.sum(base * base) - had @ had)
        scale = -float(np.sum(change * base) - lost @ had) / others if others > 0 else 0.0
        lost = lost + scale * had
        sizes = float(lost @ lost), float(had @ had)
        if min(sizes) <= 0:
            continue
        product = float(lost @ had)
        square, strength = product**2 / (sizes[0] * sizes[1]), -product / sizes[1]
        certain = cosine_log10_p(square, len(lost)) < _LOG10_P
        if certain and square > _EXPLAINED and _STRONGEST < strength < _MOST:
            yield pair.role, strength


def _from_rows(pairs: Sequence[Pair]) -> Removal | None:
    """Decide from sampled rows: their change is rank one and parallel to what they had."""
    looks = [look(_kept_change(pair.child, pair.base), pair.base) for pair in pairs]
    changed = [seen for seen in looks if seen is not None and seen.changed]
    if not changed:
        return None
    z = sum(seen.z for seen in changed) / len(changed) ** 0.5
    share = median([seen.share for seen in changed])
    wide = median([seen.effective for seen in changed]) >= _EFFECTIVE
    if z <= _PARTIAL_Z or share <= _PARTIAL_SHARE or not wide:
        return None
    told = (len(changed), len(changed))
    edit = _edit({}, None, share, told=told, sampled=True)
    return Removal(edit, {}, None, {})


def _edit(
    strength: Mapping[str, float],
    shared: bool | None,
    explained: float,
    *,
    told: tuple[int, int],
    sampled: bool = False,
) -> Edit:
    details: dict[str, Detail] = {
        "strength": strength,
        "shared": shared,
        "explained": round(explained, 4),
        "with_base": True,
    }
    words = {
        True: "directions that all of them share were",
        False: "directions of their own were",
        None: "directions were",
    }
    by = ""
    if strength:
        low, high = min(strength.values()), max(strength.values())
        by = f" by {low:.2f}" if high - low < 0.005 else f" by {low:.2f} to {high:.2f}"
    summary = (
        f"the refusal behavior of the base was edited out: {words[shared]} removed{by} from "
        f"{told[0]} of the {told[1]} matrices read that changed and write to the residual stream; "
        "evaluations of the base do not vouch for this model"
    )
    note = _INFERRED
    if sampled:
        note += "; told from sampled rows: how much was removed cannot be told"
    return Edit(EditKind.ABLITERATED, summary, details, note)
