"""What a comparison of two models says, before it is drawn: the verdict first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from steelyard.lineage.relation import (
    Comparison,
    Component,
    EditKind,
    Encoding,
    EncodingKind,
    Related,
    Relatedness,
)
from steelyard.reports.pairs.edits import EditWords, edit_words
from steelyard.reports.pairs.figures import chance, names, share
from steelyard.reports.pairs.parts import (
    is_nameless,
    nameless,
    outside,
    part_name,
    place,
    stack_name,
    stacks,
)
from steelyard.reports.text import counted, plain, size

_TAGS: Final = {
    Related.RELATED: "related",
    Related.SHARES_COMPONENT: "shares a part",
    Related.NOT_FOUND: "no lineage found",
    Related.CANNOT_TELL: "cannot tell",
}
_NO_PROOF: Final = "that does not prove independence (distillation leaves nothing in the weights)"
_DIRECTION: Final = (
    "The numbers do not tell which of the two came first, nor whether both come from a third."
)
_NOTE: Final = 400
_FEW_NAMED: Final = 3
"""Matrices without a role are named up to so many."""
CHANGE: Final = "Change of each weight, as a share of the base's"
"""The heading of the picture."""


@dataclass(frozen=True, slots=True)
class PairReport:
    """A comparison, and how it is to be written."""

    comparison: Comparison
    version: str
    """Of Steelyard."""
    only_ascii: bool = False
    """Draw for a terminal that shows nothing else."""


@dataclass(frozen=True, slots=True)
class PairWords:
    """Everything that a report says, in the reader's order."""

    title: str
    verdict: Related
    tag: str
    sentence: str
    encoding: str
    edits: tuple[EditWords, ...]
    no_edits: str
    """What to say where no edit is told."""
    evidence: tuple[str, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    read: str


def words(said: Comparison) -> PairWords:
    """Say what was found, in the reader's order."""
    related = said.related
    return PairWords(
        title=f"{plain(said.child, 120)} against {plain(said.base, 120)}",
        verdict=related.verdict,
        tag=_TAGS[related.verdict],
        sentence=_sentence(said),
        encoding=_encoding(said.encoding),
        edits=tuple(
            edit_words(edit, partly=related.verdict is Related.SHARES_COMPONENT)
            for edit in said.edits
        ),
        no_edits=_no_edits(related.verdict),
        evidence=tuple(_evidence(related)),
        assumptions=_lines(related.assumptions),
        notes=_lines(dict.fromkeys((*_own_notes(said), *said.notes))),
        read=f"{size(said.bytes_read)} of both models in {counted(said.requests, 'request')}",
    )


def _lines(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(line for line in (plain(text, _NOTE) for text in texts) if line)


def _own_notes(said: Comparison) -> tuple[str, ...]:
    """Return the notes on relatedness, but for those that the verdict told."""
    return () if said.related.verdict is Related.CANNOT_TELL else said.related.notes


def _sentence(said: Comparison) -> str:
    base, child = names(said.base, said.child)
    match said.related.verdict:
        case Related.RELATED:
            return f"{_origin(said, base, child)}; {_agreement(said.related)}"
        case Related.SHARES_COMPONENT:
            shared = _shared(said.related)
            return f"{child} and {base} share {shared}; {_agreement(said.related)}"
        case Related.NOT_FOUND if said.same_configuration:
            return (
                f"{child} and {base}: same configuration, unrelated weights; "
                f"no weight lineage found: {_NO_PROOF}"
            )
        case Related.NOT_FOUND:
            return f"{child} and {base}: no weight lineage found: {_NO_PROOF}"
        case Related.CANNOT_TELL:
            why = "; ".join(_lines(said.related.notes)) or "there is too little to compare"
            return f"cannot tell whether {child} comes from {base}: {why}"


def _agreement(related: Relatedness) -> str:
    bound = f"at most {chance(related.log10_p)}"
    if not related.exact:
        bound = f"about {chance(related.log10_p)}, calibrated on known pairs"
    return f"chance that independent models agree this much: {bound}"


def _origin(said: Comparison, base: str, child: str) -> str:
    if any(edit.kind is EditKind.IDENTICAL for edit in said.edits):
        if said.encoding.kind is EncodingKind.SAME:
            return f"{child} is {base}: every weight that was read is equal"
        return f"{child} is {base} in another encoding"
    return f"{child} comes from {base}: {_matching(said)}"


def _matching(said: Comparison) -> str:
    """Say how many of the layers match, or which parts where no layer was compared."""
    layers = [part for part in said.related.components if place(part.name)]
    matched = sum(part.base is not None for part in layers)
    if not layers:
        parts = _found_outside(said.related)
        return f"{_listed(parts)} match" if parts else "its weights match"
    every = {change.component for change in said.changes if place(change.component)}
    compared = " that were compared" if len(every) > len(layers) else ""
    if matched == len(layers):
        return f"all {matched:,} layers{compared} match" if compared else "every layer matches"
    return f"{matched:,} of {counted(len(layers), 'layer')}{compared} match"


def _shared(related: Relatedness) -> str:
    """Name the parts that are shared, and say where no layer is."""
    shared = _found_outside(related)
    found = stacks(related.components)
    for stack in found:
        matched, count = len(stack.matched), len(stack.layers)
        if matched:
            amount = f"all {count:,}" if matched == count else f"{matched:,} of {count:,}"
            shared.append(f"{amount} {stack_name(stack.name, count)}")
    if not shared:
        return "a part"
    if all(stack.matched for stack in found):
        return _listed(shared)
    other = "other " if any(stack.matched for stack in found) else ""
    return f"{', '.join(shared)} and no {other}layer"


def _found_outside(related: Relatedness) -> list[str]:
    """Name what is shared outside of layers."""
    found = [f"the {part_name(p.name)}" for p in outside(related.components) if p.base is not None]
    every = nameless(related.components)
    matched = [part for part in every if part.base is not None]
    if matched:
        count = "all" if len(matched) == len(every) else f"{len(matched):,} of"
        many = f"{count} {len(every):,} matrices"
        found.append(f"{many if len(every) > 1 else 'the matrix'}{_named(matched)}")
    return found


def _named(parts: Sequence[Component]) -> str:
    """Name matrices in brackets where they are few."""
    if len(parts) > _FEW_NAMED:
        return ""
    return f" ({', '.join(part_name(part.name) for part in parts)})"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _no_edits(verdict: Related) -> str:
    if verdict is Related.NOT_FOUND:
        return "none to tell: no weights are shared"
    if verdict is Related.CANNOT_TELL:
        return "cannot tell"
    return "none that can be told from what was read"


def _encoding(said: Encoding) -> str:
    base, child = plain(said.base, 60) or "unknown", plain(said.child, 60) or "unknown"
    text = {
        EncodingKind.SAME: f"the same, {child}",
        EncodingKind.CAST: f"cast from {base} to {child}",
        EncodingKind.QUANTIZED: f"quantized from {base} to {child}",
        EncodingKind.DEQUANTIZED: f"stored as {child}, on the grid of a quantization of {base}",
        EncodingKind.CANNOT_TELL: f"cannot tell; the base is {base}, the child {child}"
        if said.base or said.child
        else "cannot tell",
    }[said.kind]
    before, after = (plain(name, 30) for name in said.containers)
    if before and after:
        text += f", {after}" if before == after else f", {before} to {after}"
    if said.noise and math.isfinite(said.noise):
        text += f"; rounding moved the weights by {share(said.noise)}"
    return f"{text}; {plain(said.note, _NOTE)}" if said.note else text


def rounding(said: Encoding) -> str:
    """Say, behind a heading, how much of every change the encoding makes; empty for none."""
    return f" (rounding: {share(said.noise)})" if said.noise and math.isfinite(said.noise) else ""


def _evidence(related: Relatedness) -> Iterable[str]:
    for part in outside(related.components):
        yield f"{part_name(part.name)}: {_agreeing([part])}, {_part_chance(part)}"
    for stack in stacks(related.components):
        layers = [(f"{stack_name(stack.name, 1)} {number}", part) for number, part in stack.layers]
        yield from _group(stack_name(stack.name), layers)
    yield from _group("matrices", [(part_name(p.name), p) for p in nameless(related.components)])
    if related.components or related.verdict is not Related.CANNOT_TELL:
        overall = chance(related.log10_p)
        if related.log10_p >= 0:
            yield "over all tests: no more agreement than chance brings"
        elif related.exact:
            yield f"over all tests, corrected for their number: at most {overall}, a proven bound"
        else:
            yield f"over all tests: about {overall}, calibrated on known pairs, which is no bound"
    if related.verdict in (Related.RELATED, Related.SHARES_COMPONENT):
        yield _DIRECTION


def _group(name: str, parts: Sequence[tuple[str, Component]]) -> Iterable[str]:
    """Tell of parts of one kind, each with the name that it has where it stands alone."""
    for own, part in parts if len(parts) == 1 else ():
        yield f"{own}: {_agreeing([part])}, {_part_chance(part)}"
    if len(parts) < 2:
        return
    matched = [part for _, part in parts if part.base is not None]
    rest = [part for _, part in parts if part.base is None]
    if matched:
        weakest = max(matched, key=lambda part: part.log10_p)
        named = _named(matched) if rest and is_nameless(matched[0].name) else ""
        told = f"{len(matched):,} of {len(parts):,} {name} match{named}"
        yield f"{told}: {_in_each(matched)}, {_part_chance(weakest)} or less"
    if rest:
        closest = min(rest, key=lambda part: part.log10_p)
        told = f"{len(rest):,} of {len(parts):,} {name} match none of the base"
        more = " or more" if closest.log10_p < 0 else ""
        yield f"{told}: {_in_each(rest)}, {_part_chance(closest)}{more}"


def _in_each(parts: Sequence[Component]) -> str:
    return _agreeing(parts) + (" in each" if len(parts) > 1 else "")


def _agreeing(parts: Sequence[Component]) -> str:
    """Say how many items match: `60 to 64 of 64 neurons agree`, `all 12 to 64 rows agree`."""
    low, high = min(part.agreeing for part in parts), max(part.agreeing for part in parts)
    fewest, most = min(part.items for part in parts), max(part.items for part in parts)
    noun = "dimensions"
    if place(parts[0].name) is not None:
        noun = "neurons"
    elif is_nameless(parts[0].name):
        noun = "rows"
    if fewest < most and all(part.agreeing == part.items for part in parts):
        return f"all {fewest:,} to {most:,} {noun} agree"
    ours = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    theirs = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{ours} of {theirs} {noun} agree"


def _part_chance(part: Component) -> str:
    calibrated = "" if part.exact else " (calibrated)"
    return f"chance {chance(part.log10_p)}{calibrated}"
