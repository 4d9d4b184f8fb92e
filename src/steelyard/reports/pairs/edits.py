"""What was done to the numbers, each edit in one line with what shows it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from steelyard.lineage.relation import Detail, Edit, EditKind
from steelyard.reports.pairs.figures import share, span
from steelyard.reports.text import counted, plain

REMOVED: Final = (
    "the refusal behavior of the base was edited out; "
    "evaluations of the base do not vouch for this model"
)
_LABELS: Final = {
    EditKind.IDENTICAL: "identical",
    EditKind.FINETUNE: "fine-tuned",
    EditKind.LORA: "LoRA",
    EditKind.MERGE: "merged",
    EditKind.ABLITERATED: "abliterated",
    EditKind.DEPTH_PRUNED: "layers dropped",
    EditKind.LAYERS_REPEATED: "layers repeated",
    EditKind.WIDTH_PRUNED: "neurons dropped",
    EditKind.SPARSIFIED: "sparsified",
    EditKind.VOCAB_EXTENDED: "vocabulary extended",
    EditKind.VOCAB_TRIMMED: "vocabulary trimmed",
    EditKind.VOCAB_PERMUTED: "vocabulary reordered",
    EditKind.DISGUISED: "disguised",
}
_MOST_PARENTS: Final = 8
_MOST_ROLES: Final = 12


@dataclass(frozen=True, slots=True)
class EditWords:
    """One edit, for a person."""

    kind: str
    label: str
    text: str
    """What was done, with the numbers."""
    caveats: tuple[str, ...] = ()
    """What cannot be told, or what the reading assumes."""
    strengths: tuple[tuple[str, float], ...] = ()
    """How much of the direction was removed from each matrix."""

    @property
    def warns(self) -> bool:
        """Tell whether the reader should be warned."""
        return self.kind == EditKind.ABLITERATED


def edit_words(edit: Edit, *, partly: bool = False) -> EditWords:
    """Say what an edit did.

    Args:
        edit: What was done.
        partly: Only a part of the model was compared, since no more of it is shared.
    """
    caveats = [plain(edit.note, 400)] if edit.note else []
    strengths: tuple[tuple[str, float], ...] = ()
    if edit.kind is EditKind.ABLITERATED:
        strengths = tuple(_strengths(edit.details.get("strength")))
    text = _text(edit, strengths) or plain(edit.summary, 400)
    if edit.kind is EditKind.IDENTICAL:
        text = _equal(edit, partly=partly)
    return EditWords(edit.kind.value, _LABELS[edit.kind], text, tuple(caveats), strengths)


def _text(edit: Edit, strengths: tuple[tuple[str, float], ...]) -> str:
    """Write what the details tell; empty where the edit's own summary says it best."""
    match edit.kind:
        case EditKind.FINETUNE:
            return _joined([_changed(edit.details), _nearest(edit.details)])
        case EditKind.LORA:
            return _low_rank(edit)
        case EditKind.MERGE:
            return _merge(edit.details)
        case EditKind.ABLITERATED:
            return _removed(edit.details, strengths)
        case EditKind.SPARSIFIED:
            return _sparse(edit.details)
        case _:
            return ""


def _equal(edit: Edit, *, partly: bool) -> str:
    what = "what is shared" if partly else "every weight that was read"
    return f"{what} is equal" + (", up to rounding" * (edit.details.get("equal") is False))


def _removed(details: Mapping[str, Detail], strengths: tuple[tuple[str, float], ...]) -> str:
    numbers: list[str] = []
    if strengths:
        values = span(tuple(value for _, value in strengths))
        noun = "matrix" if len(strengths) == 1 else "matrices"
        numbers.append(f"strength {values} over {len(strengths):,} {noun}")
    shared = details.get("shared")
    if isinstance(shared, bool):
        numbers.append("one direction for all" if shared else "not one direction for all")
    explained = _number(details, "explained")
    if explained is not None:
        numbers.append(f"explains {share(explained)} of the change")
    if details.get("with_base") is False:
        numbers.append("told without the base")
    return f"{REMOVED} ({_joined(numbers)})" if numbers else REMOVED


def _merge(details: Mapping[str, Detail]) -> str:
    parents, weights = details.get("parents"), details.get("coefficients")
    if not isinstance(parents, tuple) or not isinstance(weights, tuple | None):
        return ""
    terms = [
        f"{_weight(weight)} \N{MULTIPLICATION SIGN} {plain(str(parent), 60)}"
        for parent, weight in zip_longest(parents, weights or ())
        if parent is not None
    ]
    more = len(terms) - _MOST_PARENTS
    told = " + ".join(terms[:_MOST_PARENTS]) + (f" + {more} more" if more > 0 else "")
    method = details.get("method")
    return f"{told} ({plain(method, 40)})" if isinstance(method, str) and method else told


def _weight(value: object) -> str:
    known = isinstance(value, int | float) and math.isfinite(value)
    return f"{value:.3f}" if known else "?"


def _sparse(details: Mapping[str, Detail]) -> str:
    zeros, pattern = _number(details, "zeros"), details.get("pattern")
    if zeros is None:
        return ""
    told = f"{share(zeros)} of the weights were set to zero"
    return f"{told} ({plain(pattern, 40)})" if isinstance(pattern, str) and pattern else told


def _changed(details: Mapping[str, Detail]) -> str:
    change = _number(details, "change")
    return f"the weights moved by {share(change)} of their size" if change is not None else ""


def _nearest(details: Mapping[str, Detail]) -> str:
    nearest = details.get("nearest")
    told = isinstance(nearest, str) and nearest
    return f"the nearest known model is {plain(str(nearest), 60)}" if told else ""


def _low_rank(edit: Edit) -> str:
    rank = _number(edit.details, "rank")
    if rank is None:
        return ""
    # A note says that weak directions are hidden: then the rank is a lower bound.
    bound = " or more" if edit.note else ""
    where = _roles(edit.details)
    change = _number(edit.details, "change")
    moved = f", which moved them by {share(change)} of their size" if change is not None else ""
    return f"an update of rank {rank:g}{bound}{where}{moved}"


def _roles(details: Mapping[str, Detail]) -> str:
    roles = details.get("roles")
    if not isinstance(roles, tuple) or not roles:
        return ""
    named = ", ".join(plain(str(role), 30) for role in roles[:_MOST_ROLES])
    more = len(roles) - _MOST_ROLES
    return f" in {named}" + (f" and {counted(more, 'more role')}" if more > 0 else "")


def _strengths(value: Detail) -> Iterable[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, strength in value.items():
            if isinstance(strength, int | float) and math.isfinite(strength):
                yield plain(name, 100), float(strength)


def _number(details: Mapping[str, Detail], name: str) -> float | None:
    value = details.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)
