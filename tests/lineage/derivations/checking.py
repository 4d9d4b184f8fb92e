"""Whether what was said of a derived model is what was done to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from steelyard.lineage.relation import Comparison, Edit, EditKind
from tests.lineage.derivations.cases import Case

COEFFICIENTS = 0.02
STRENGTH = 0.03


def faults(found: Comparison, case: Case) -> list[str]:
    """Return what is wrong, in words; nothing if all is right."""
    truth = case.made.truth
    wanted = set(truth.edits) or {EditKind.IDENTICAL}
    told = {edit.kind for edit in found.edits}
    wrong = []
    if told != wanted:
        wrong.append(f"edits {sorted(told)}, not {sorted(wanted)}")
    if found.encoding.kind is not truth.encoding:
        wrong.append(f"encoding {found.encoding.kind}, not {truth.encoding}")
    for edit in found.edits:
        wrong += _numbers(edit, case)
    return wrong


def _numbers(edit: Edit, case: Case) -> Iterator[str]:  # noqa: C901  one case for each kind
    truth, details = case.made.truth, edit.details
    match edit.kind:
        case EditKind.MERGE if truth.coefficients:
            parents, values = details["parents"], details["coefficients"]
            assert isinstance(parents, tuple)
            assert isinstance(values, tuple)
            said = {str(k): float(v or 0) for k, v in zip(parents, values, strict=True)}
            yield from _off("coefficient", said, truth.coefficients, COEFFICIENTS)
            # An arc between models that lie close together is a straight line.
            short = truth.method == "slerp" and sum(truth.coefficients.values()) < 1.001
            if details["method"] != ("linear" if short else truth.method):
                yield f"method {details['method']}, not {truth.method}"
        case EditKind.ABLITERATED if truth.exact_strength:
            strength = details["strength"]
            assert isinstance(strength, Mapping)
            known = {k: v for k, v in truth.strength.items() if k in strength}
            said = {str(k): float(v) for k, v in strength.items() if isinstance(v, int | float)}
            yield from _off("strength", said, known, STRENGTH)
        case EditKind.LORA if truth.rank is not None and truth.encoding == "same":
            # A removal bends an update of low rank by one direction more.
            most = truth.rank + (1 if EditKind.ABLITERATED in truth.edits else 0)
            if not truth.rank <= float(str(details["rank"])) <= most:
                yield f"rank {details['rank']}, not {truth.rank}"
        case EditKind.DEPTH_PRUNED | EditKind.LAYERS_REPEATED:
            if details["layer_map"] != truth.layer_map:
                yield f"layers {details['layer_map']}, not {truth.layer_map}"
        case EditKind.WIDTH_PRUNED:
            if details.get("kept") != {str(k): v for k, v in truth.kept.items()}:
                yield "the neurons that were kept"
        case EditKind.VOCAB_EXTENDED | EditKind.VOCAB_TRIMMED:
            if details["rows"] != abs(truth.rows):
                yield f"rows {details['rows']}, not {abs(truth.rows)}"
        case EditKind.DISGUISED:
            if set(truth.means) != set(details["means"] or ()):  # type: ignore[arg-type]  # names
                yield f"means {details['means']}, not {truth.means}"
        case EditKind.SPARSIFIED:
            if details["pattern"] != truth.pattern:
                yield f"pattern {details['pattern']}, not {truth.pattern}"


def _off(
    what: str, said: Mapping[str, float], true: Mapping[str, float], limit: float
) -> Iterator[str]:
    for name, value in true.items():
        if abs(said.get(name, 0.0) - value) > limit:
            yield f"{what} of {name}: {said.get(name, 0.0):.3f}, not {value:.3f}"
