"""How often is lineage right? Scored on zoos of ground truth that no threshold was tuned on.

    python benchmarks/lineage_accuracy.py [--zoos micro:11 ...] [--tuned micro:0 ...] [--dry-run]

Needs torch (`pip install --group zoo`) to make zoos that are not in the cache yet. Every child is
compared with its base beside possible parents, every model with all roots that it shares nothing
with, and every model is asked alone whether directions were removed from it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from record import ROOT, command_line, conditions, table

# One thread each: zoos are scored side by side.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(ROOT))

from tests.zoo.building import Entry, load_zoo
from tests.zoo.scoring import LIMITS, Scorer

from steelyard.lineage.edits.directions import BaseFreeVerdict
from steelyard.lineage.relation import EditKind, Related

PAGE = ROOT / "docs" / "lineage-report.md"
HELD_OUT = ("micro:11", "micro:12")
TUNED = ("micro:0", "micro:1")
LEVELS = (0.05, 0.01, 1e-4)
FOUND = -6.0
SINGLES, COMPOSITIONS, CLEAN = 0.97, 0.90, 200
_WRONG_LISTED = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One child beside its base."""

    zoo: str
    name: str
    group: str
    truth: tuple[str, ...]
    """Kinds of edits, in the order in which they were done."""
    true: str
    said: str
    right: tuple[bool, bool]
    """Encoding, edits."""
    verdict: str
    log10_p: float
    exact: bool
    numbers: tuple[tuple[str, float | bool], ...]
    alarm: bool
    """Whether an abliteration was told."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alone:
    """One model asked without its base whether directions were removed from it."""

    zoo: str
    name: str
    abliterated: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured on one zoo."""

    zoo: str
    models: int
    cases: tuple[Case, ...]
    unrelated: tuple[tuple[float, str, str], ...]
    """log10 p, child, base of each pair that shares nothing."""
    untold: int
    """Pairs that share nothing, and had nothing to compare."""
    alone: tuple[Alone, ...]


def measure(name: str, folder: Path | None) -> Result:
    """Score one zoo, built first if it is not there."""
    size, _, seed = name.partition(":")
    zoo = load_zoo(size, int(seed), folder)
    with Scorer(zoo) as scorer:
        cases = tuple(scored(scorer, name, each) for each in zoo.entries if each.base is not None)
        unrelated, untold = [], 0
        for child, base in scorer.unrelated():
            found = scorer.log10_p(child, base).related
            if found.verdict is Related.CANNOT_TELL:
                untold += 1
            else:
                unrelated.append((found.log10_p, child.name, base.name))
        alone = tuple(
            Alone(
                name,
                entry.name,
                EditKind.ABLITERATED in entry.truth.edits,
                scorer.base_free(entry).verdict.value,
            )
            for entry in zoo.entries
        )
    return Result(name, len(zoo.entries), cases, tuple(sorted(unrelated)), untold, alone)


def scored(scorer: Scorer, zoo: str, entry: Entry) -> Case:
    """Score one child; an exception is as wrong as can be."""
    truth = tuple(kind.value for kind in entry.truth.edits)
    try:
        done = scorer.related(entry)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is a fault to be told)
        said = f"{type(error).__name__}: {error}"
        return Case(
            zoo, entry.name, entry.group, truth, "", said, (False, False), "", 0.0, True, (), False
        )
    related = done.found.related
    return Case(
        zoo,
        entry.name,
        entry.group,
        truth,
        done.true,
        done.said,
        (done.encoding, done.edits),
        related.verdict.value,
        related.log10_p,
        related.exact,
        tuple(done.numbers.items()),
        any(edit.kind is EditKind.ABLITERATED for edit in done.found.edits),
        related.notes,
    )


def share(right: int, total: int) -> str:
    """Write a share with its count."""
    return f"{right} of {total} ({right / total:.1%})" if total else "none"


def zoos_section(held: Sequence[Result], tuned: Sequence[Result]) -> Iterator[str]:
    """Say what was measured on what."""
    yield "## What was measured"
    rows = [
        [each.zoo, what, str(each.models), str(len(each.cases)), str(len(each.unrelated))]
        for what, results in (("held out", held), ("tuned on", tuned))
        for each in results
    ]
    yield table(["zoo", "used", "models", "children", "unrelated pairs"], rows)


def independent_section(held: Sequence[Result], tuned: Sequence[Result]) -> Iterator[str]:
    """Set the share of unrelated pairs below each level beside the level."""
    yield "## Models that share nothing"
    yield (
        "Every model beside every root that it shares no initialization with: other seeds, the "
        "same data in the same order, the same configuration, other architectures, students of "
        "the main model beside their teacher, untrained models. A share may not exceed its level. "
        "Pairs of one zoo have models in common, so they are not independent of each other; the "
        "guarantee is the bound, this is its check."
    )
    rows = []
    for what, results in [
        *((each.zoo, [each]) for each in (*held, *tuned)),
        ("held out, together", list(held)),
    ]:
        values = [value for each in results for value, _, _ in each.unrelated]
        below = [sum(10**value <= level for value in values) for level in LEVELS]
        smallest = f"{10 ** min(values, default=0.0):.2g}"
        untold = str(sum(each.untold for each in results))
        rows.append([what, str(len(values)), *map(str, below), smallest, untold])
    head = [f"p ≤ {level:g}" for level in LEVELS]
    yield table(["zoo", "pairs", *head, "smallest p", "nothing to compare"], rows)
    closest = sorted(pair for each in held for pair in each.unrelated)[:5]
    told = "; ".join(f"{child} and {base} ({10**value:.2g})" for value, child, base in closest)
    yield f"The smallest, held out: {told}."


def related_section(held: Sequence[Result]) -> Iterator[str]:
    """Count the related pairs that were found."""
    yield "## Models that share weights"
    rows = []
    for group, what in GROUPS.items():
        cases = [case for case in everything(held) if case.group == group]
        if not cases or group == "distilled":
            continue
        found = sum(case.log10_p <= FOUND and case.exact for case in cases)
        also = sum(case.log10_p <= FOUND and not case.exact for case in cases)
        related = sum(case.verdict == Related.RELATED.value for case in cases)
        weakest = max(case.log10_p for case in cases)
        rows.append([what, str(len(cases)), str(found), str(also), str(related), f"{weakest:.0f}"])
    head = ["", "pairs", "exact p ≤ 1e-6", "by tests that are no bounds", "said to be related",
            "largest log10 p"]  # fmt: skip
    yield table(head, rows)


GROUPS = {
    "single": "one edit or encoding",
    "composition": "several",
    "shared_init": "the same start, other training",
    "scrambled": "hidden space and neurons both scrambled",
    "distilled": "trained on the outputs of the other",
}


def everything(results: Iterable[Result]) -> Iterator[Case]:
    """Yield the children of some zoos."""
    for result in results:
        yield from result.cases


def kinds_section(held: Sequence[Result], tuned: Sequence[Result]) -> Iterator[str]:
    """Count how often both axes are right."""
    yield "## What was done"
    yield (
        "The encoding is right if its kind is, and, where it is another than the base's, the type "
        "or scheme that it names. The edits are right if the set of kinds is: none left out, none "
        "too many (`identical` is none). Models with the same start and other training are right "
        "if a fine-tune is told, as two models alone do not show which it was; those trained on "
        "outputs, if no weight lineage is found. Scrambled models are told apart: nothing but "
        "that they are disguised can be said of most."
    )
    rows = []
    for group, what in GROUPS.items():
        row = [what]
        for results in (held, tuned):
            cases = [case for case in everything(results) if case.group == group]
            right = [is_right(case) for case in cases]
            row.append(share(sum(right), len(right)))
        cases = [case for case in everything(held) if case.group == group]
        row += [share(sum(case.right[axis] for case in cases), len(cases)) for axis in (0, 1)]
        if group == "distilled":
            row[-2:] = ["", ""]
        rows.append(row)
    head = ["", "both axes right, held out", "tuned on", "encoding, held out", "edits, held out"]
    yield table(head, rows)
    yield f"Targets: {SINGLES:.0%} of single edits, {COMPOSITIONS:.0%} of compositions."
    yield from _by_edit(held)


def is_right(case: Case) -> bool:
    """Tell whether what was said of a child is right."""
    if case.group == "distilled":
        return case.verdict == Related.NOT_FOUND.value
    return all(case.right)


def _by_edit(held: Sequence[Result]) -> Iterator[str]:
    yield "By what was done, in that order (held out):"
    counts: dict[str, list[bool]] = {}
    for case in everything(held):
        if case.group in ("single", "composition"):
            counts.setdefault(" + ".join(case.truth) or "encoding only", []).append(is_right(case))
    rows = [[what, str(len(each)), str(sum(each))] for what, each in sorted(counts.items())]
    yield table(["edits", "models", "right"], rows)


def numbers_section(held: Sequence[Result]) -> Iterator[str]:
    """Tell how well coefficients, strengths, maps and neurons were recovered."""
    yield "## The numbers of edits"
    rows = []
    for what, meaning in (
        ("coefficients", "coefficients of linear, task-arithmetic and spherical merges"),
        ("strength", "strength of removals, pure edits, each matrix"),
        ("layer_map", "layer maps"),
        ("kept", "neurons kept"),
        ("method", "methods of merges"),
        ("rank", "ranks of adapters, told as a bound from below"),
    ):
        values = [v for case in everything(held) for key, v in case.numbers if key == what]
        errors = sorted(float(value) for value in values)
        if what in LIMITS:
            right = sum(error <= LIMITS[what] for error in errors)
            middle, worst = (errors[len(errors) // 2], errors[-1]) if errors else (0.0, 0.0)
            rows.append([meaning, share(right, len(errors)), f"{middle:.4f}", f"{worst:.4f}"])
        else:
            rows.append([meaning, share(sum(map(bool, values)), len(values)), "", ""])
    yield table(["", "within limit, or exact", "median of the errors", "largest error"], rows)
    yield (
        f"Limits: {LIMITS['coefficients']} for coefficients, {LIMITS['strength']} for strengths. "
        "A model whose edit was not told at all counts above, not here."
    )


def abliteration_section(held: Sequence[Result]) -> Iterator[str]:
    """Count alarms on clean models, and removals that were found."""
    yield "## Removed directions"
    rows = []
    abliterated = EditKind.ABLITERATED.value
    cases = [case for case in everything(held) if case.group != "strained"]
    clean = [case for case in cases if abliterated not in case.truth]
    dirty = [case for case in cases if abliterated in case.truth]
    rows.append(["with the base", share(sum(c.alarm for c in clean), len(clean)),
                 share(sum(c.alarm for c in dirty), len(dirty)), ""])  # fmt: skip
    alone = [one for each in held for one in each.alone]
    removed = BaseFreeVerdict.REMOVED.value
    unknown = BaseFreeVerdict.NOT_DECIDABLE.value
    parts = []
    for wanted in (False, True):
        some = [one for one in alone if one.abliterated is wanted]
        parts.append(share(sum(one.verdict == removed for one in some), len(some)))
    parts.append(str(sum(one.verdict == unknown for one in alone)))
    rows.append(["without", *parts])
    head = ["", "alarms on clean models", "found where it was done", "not decidable"]
    yield table(head, rows)
    yield (
        f"Target: no alarm on {CLEAN} clean models or more. Without the base, removals in part, "
        "reflections and shares that differ by layer may leave no trace that can be seen; not "
        "finding them is no error."
    )
    yield _without_base([one for one in alone if one.abliterated], removed)
    names = sorted({one.name for one in alone if one.verdict == removed and not one.abliterated})
    if names:
        yield f"Alarms without the base: {', '.join(names)}."


def _without_base(alone: Sequence[Alone], removed: str) -> str:
    """Tell how often each way of removing directions shows without the base."""
    counts: dict[str, list[bool]] = {}
    for one in alone:
        recipe = one.name.partition("_")[2]
        counts.setdefault(recipe, []).append(one.verdict == removed)
    rows = [[name, str(len(each)), str(sum(each))] for name, each in sorted(counts.items())]
    return table(["made by", "models", "found without the base"], rows)


def strained_section(results: Sequence[Result]) -> Iterator[str]:
    """Tell what becomes of the p-value where numbers of units mean something."""
    yield "## Where numbers of units mean something"
    yield (
        "The p-value rests on it that the units of one of two models could be renumbered. In each "
        "row, two models were initialized, trained or sorted so that this is in doubt: `zeros` "
        "(blocks begin by writing nothing), `orthogonal` (random orthogonal matrices), `identity` "
        "(stacked identities and noise), `fixed` (the same cosine transforms, no chance at all, "
        "other data), `neurons` and `hidden` (nested training of prefixes), `sinusoidal` (fixed "
        "positions), `sorted` (units sorted by norm). All are independent but `fixed`, which "
        "shares its start by construction; `_ft` are true children of the first."
    )
    rows = []
    for result in results:
        for case in result.cases:
            if case.group == "strained":
                told = (re.sub(r"layers\.\d+", "layers", note) for note in case.notes)
                notes = "; ".join(dict.fromkeys(told))
                rows.append([case.name, result.zoo, f"{case.log10_p:.1f}", case.verdict, notes])
    yield table(["pair", "zoo", "log10 p", "verdict", "notes"], sorted(rows))


def faults_section(held: Sequence[Result]) -> Iterator[str]:
    """List everything that is wrong on zoos that were held out."""
    yield "## Everything that is wrong"
    rows = [
        [case.name, case.zoo, case.true or "+".join(case.truth), case.said, case.verdict]
        for case in everything(held)
        if case.group in GROUPS and not is_right(case)
    ]
    yield f"Held out: {len(rows)} models."
    if rows:
        yield table(["model", "zoo", "is", "said", "verdict"], rows[:_WRONG_LISTED])
    unsure = [
        f"{case.name} of {case.zoo} ({case.verdict or 'failed'})"
        for case in everything(held)
        if case.group in GROUPS and case.group != "distilled" and case.verdict != Related.RELATED
    ]
    if unsure:
        yield f"Children that were not said to be related: {', '.join(unsure)}."
    off = [
        [case.name, case.zoo, what, "wrong" if value is False else f"{value:.3f}"]
        for case in everything(held)
        for what, value in case.numbers
        if value is False or (value is not True and value > LIMITS.get(what, 1.0))
    ]
    if off:
        yield "Numbers that are off:"
        yield table(["model", "zoo", "what", "error"], off[:_WRONG_LISTED])


INTRODUCTION = """# How often lineage is right

Written by `benchmarks/lineage_accuracy.py`; `make zoo` runs it from nothing. A zoo is a set of
tiny models, trained for real on the sources of Python's standard library, and everything that may
be done to them, each with a record of what was done: micro (3 layers, 64 dimensions, 1,024 tokens)
and tiny (6 layers, 128 dimensions, 2,048 tokens), in seven architectures (Llama with untied and
tied heads, Qwen, Gemma, Mixtral, GPT-2, BERT). Hyper-parameters (learning rates, ranks,
coefficients, densities, strengths, layers, widths) are drawn at random in every zoo but those of
seed 0. Thresholds were set on the zoos "tuned on" and reported on those "held out", which were
scored once, after all thresholds were fixed.

Zoos are small and briefly trained. Real fine-tunes move less, relative to the weights; trillions
of tokens of further pretraining move more, and are not tested here."""


def report(held: Sequence[Result], tuned: Sequence[Result]) -> str:
    """Write the page."""
    parts = [
        INTRODUCTION,
        *zoos_section(held, tuned),
        *independent_section(held, tuned),
        *related_section(held),
        *kinds_section(held, tuned),
        *numbers_section(held),
        *abliteration_section(held),
        *strained_section(held),
        *faults_section(held),
    ]
    parts.append(conditions(command_line()))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Build, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoos", nargs="*", default=HELD_OUT, help="held out, as SIZE:SEED")
    parser.add_argument("--tuned", nargs="*", default=TUNED, help="those of the thresholds")
    parser.add_argument("--folder", type=Path, help="where zoos are kept")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dry-run", action="store_true", help="do not write the page")
    options = parser.parse_args()
    names = [*options.zoos, *options.tuned]
    with ProcessPoolExecutor(options.workers) as pool:
        results = list(pool.map(measure, names, [options.folder] * len(names)))
    count = len(options.zoos)
    text = report(results[:count], results[count:])
    print(text)
    if not options.dry_run:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
