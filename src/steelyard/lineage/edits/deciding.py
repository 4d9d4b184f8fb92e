"""What was done to the numbers, once removed directions and disguises are undone.

Zeros are told first, since they hide what else was done; then whether anything but rounding is
left; then whether candidates explain it, whether it has low rank, and else that training went on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from steelyard.lineage.aligning.pairs import Sample
from steelyard.lineage.edits.changes import Seen, deeper, look, relative_change, relative_rounding
from steelyard.lineage.edits.grids import Grids
from steelyard.lineage.edits.merge import Mixture, Nearest, Parent, decompose
from steelyard.lineage.edits.sparsity import judge_sparsity
from steelyard.lineage.relation import Detail, Edit, EditKind

_HALF: Final = 0.5
_SEEN: Final = 1e-3
"""Rounding, relative to the weights, above which it is said that it hides what is smaller."""
_FEW: Final = 0.02
"""Relative change below which quantization hides what kind of change it was."""


def explain(
    sample: Sample,
    *,
    parents: Sequence[Parent],
    base: str,
    budget: int = 0,
    grids: Grids | None = None,
) -> tuple[Edit, ...]:
    """Tell what was done to aligned numbers; `identical` alone if nothing but rounding was.

    Args:
        sample: Aligned rows of child and base; what was told before is undone in the base's.
        parents: Candidates that may have gone into a merge.
        base: What to call the base where it is a parent itself.
        budget: Most bytes to read where the rows at hand do not settle it.
        grids: What was found in pairs of the same models.
    """
    if not any(pair.child.size for pair in sample.pairs):
        return ()
    grids = grids or Grids()
    edits: list[Edit] = []
    sparse = judge_sparsity(sample, grids)
    if sparse is not None:
        edits.append(sparse.edit)
        sample = sparse.rest
    seen = look(sample, grids)
    changed = _changed(seen)
    if not changed and any(item.quantized for item in seen):
        seen = look(deeper(sample, budget=budget), grids) or seen
        changed = _changed(seen)
    if not changed:
        return tuple(edits) or (_identical(seen),)
    origin = decompose(sample, parents, base=base, grids=grids) if sparse is None else None
    if isinstance(origin, Mixture):
        return (*edits, _merged(origin), *_trained_on(origin))
    return (*edits, _low_rank(seen, changed) or _trained(seen, changed, origin))


def _changed(seen: Iterable[Seen]) -> frozenset[str]:
    """Return the roles that were edited, beyond what rounding explains.

    Where numbers are stored whole, one weight is enough. Behind a quantization, most of the
    matrices of a role must say so: one may stand out by chance.
    """
    exact: set[str] = set()
    noisy: dict[str, list[bool]] = {}
    for item in seen:
        role = item.pair.role if item.pair.part == "weight" else f"{item.pair.role}.bias"
        if not item.quantized:
            exact |= {role} if item.moved else set()
        elif item.spectrum is not None:
            noisy.setdefault(role, []).append(item.moved)
    return frozenset(exact | {role for role, said in noisy.items() if np.mean(said) > _HALF})


def _identical(seen: Sequence[Seen]) -> Edit:
    equal = all(np.array_equal(item.pair.child, item.pair.base) for item in seen)
    summary = "every number that was read is equal" if equal else (
        "every number that was read is the base's, up to rounding"
    )  # fmt: skip
    hidden = relative_rounding(seen)
    note = f"changes below about {hidden:.1%} of the weights are hidden by rounding"
    return Edit(EditKind.IDENTICAL, summary, {"equal": equal}, note if hidden > _SEEN else "")


def _merged(mixture: Mixture) -> Edit:
    terms = " + ".join(
        f"{value:.3f} x {name}"
        for name, value in zip(mixture.parents, mixture.coefficients, strict=True)
    )
    details: dict[str, Detail] = {
        "parents": mixture.parents,
        "coefficients": mixture.coefficients,
        "method": mixture.method,
        "explained": round(mixture.explained, 4),
    }
    return Edit(EditKind.MERGE, f"{terms} ({mixture.method})", details)


def _trained_on(mixture: Mixture) -> tuple[Edit, ...]:
    if mixture.left <= 0:
        return ()
    summary = (
        f"training went on after the merge: {mixture.left:.2%} of the weights is not explained"
    )
    details: dict[str, Detail] = {"change": round(mixture.left, 6)}
    return (Edit(EditKind.FINETUNE, summary, details),)


def _low_rank(seen: Sequence[Seen], changed: frozenset[str]) -> Edit | None:
    """Tell of an update of low rank, if all that changed has one and norms did not change."""
    touched = [item for item in seen if item.pair.role in changed and item.pair.part == "weight"]
    if any(item.pair.child.ndim != 2 for item in touched) or any(
        role.startswith("norm.") or role.endswith(".bias") for role in changed
    ):
        return None
    looked = [item for item in touched if item.spectrum is not None and item.moved]
    ranks = [item.low_rank for item in looked]
    known = [rank for rank in ranks if rank is not None]
    if not known or len(known) < len(ranks):
        return None
    roles = tuple(sorted(changed))
    change = relative_change(touched)
    summary = f"an update of rank {max(known)} or more in {', '.join(roles)}"
    details: dict[str, Detail] = {
        "rank": max(known),
        "roles": roles,
        "change": round(change, 6),
    }
    note = "rounding hides weak directions: the rank is a lower bound"
    exact = all(not item.quantized and item.exact for item in looked)
    return Edit(EditKind.LORA, summary, details, "" if exact else note)


def _trained(seen: Sequence[Seen], changed: frozenset[str], near: Nearest | None) -> Edit:
    matrices = [item for item in seen if item.pair.child.ndim == 2]
    change = relative_change(matrices or seen)
    details: dict[str, Detail] = {"change": round(change, 6), "roles": tuple(sorted(changed))}
    summary = f"training went on: the weights moved by {change:.2%} of their size"
    if near is not None:
        details["nearest"] = near.name
        share = f"{near.name} explains {near.explained:.0%} of it"
        summary += f"; they are those of {near.name}" if near.is_it else f"; {share}"
    hidden = all(item.quantized for item in matrices) and change < _FEW
    note = "rounding hides whether the change has low rank" if hidden else ""
    return Edit(EditKind.FINETUNE, summary, details, note)


def settled(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Drop `identical` beside anything that was done, and merge what was told twice."""
    kept = list(edits)
    if any(edit.kind is not EditKind.IDENTICAL for edit in kept):
        kept = [edit for edit in kept if edit.kind is not EditKind.IDENTICAL]
    merged = any(edit.kind is EditKind.MERGE for edit in kept)
    return tuple(
        replace(edit, note=edit.note or "the layers are those of several models")
        if merged and edit.kind is EditKind.LAYERS_REPEATED
        else edit
        for edit in kept
    )
