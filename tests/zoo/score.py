"""Score a zoo, or some models of it, and tell what is wrong.

python -m tests.zoo.score --seed 0 [--size micro] [--only NAME ...] [--independent]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.zoo.building import Entry, load_zoo
from tests.zoo.scoring import LIMITS, Scored, Scorer, command


def main(arguments: Sequence[str] | None = None) -> None:
    """Read options, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="micro")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", help="models, as patterns; all with a base if not given"
    )
    parser.add_argument("--independent", action="store_true", help="compare unrelated pairs too")
    parser.add_argument("--folder", type=Path, help="where zoos are kept")
    options = parser.parse_args(arguments)
    zoo = load_zoo(options.size, options.seed, options.folder)
    with Scorer(zoo) as scorer:
        wanted = [entry for entry in zoo.entries if entry.base is not None]
        if options.only:
            wanted = [
                entry for entry in wanted if any(fnmatch(entry.name, only) for only in options.only)
            ]
        for line in scored_lines(scorer, wanted, verbose=bool(options.only)):
            sys.stdout.write(line + "\n")
        if options.independent:
            for line in independent_lines(scorer):
                sys.stdout.write(line + "\n")


def scored_lines(scorer: Scorer, wanted: Sequence[Entry], *, verbose: bool) -> Iterator[str]:
    """Yield a line for each model that is wrong (all if verbose), then sums by group."""
    rights: Counter[tuple[str, bool]] = Counter()
    for entry in wanted:
        start = time.perf_counter()
        try:
            done = scorer.related(entry)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a fault to be told)
            rights[entry.group, False] += 1
            yield f"{entry.group} {entry.name}: {type(error).__name__}: {error}"
            yield f"    {command(scorer.zoo, entry.name)}"
            continue
        taken = time.perf_counter() - start
        rights[entry.group, done.right] += 1
        wrong = list(faults(done))
        if wrong or verbose:
            yield f"{entry.group} {entry.name}: {'; '.join(wrong) or 'right'}"
            yield f"    {command(scorer.zoo, entry.name)}"
        if verbose:
            yield f"    {taken:.2f} s, log10 p {done.found.related.log10_p:.1f}"
            yield f"    encoding {done.found.encoding}"
            yield from (f"    {edit}" for edit in done.found.edits)
        free = scorer.base_free(entry)
        if free.verdict.value == "removed" and "abliterated" not in entry.truth.edits:
            yield f"{entry.group} {entry.name}: alarm without the base: {free.sentence}"
    for group in sorted({group for group, _ in rights}):
        right, total = rights[group, True], rights[group, True] + rights[group, False]
        yield f"{group}: both axes right for {right} of {total}"


def faults(done: Scored) -> Iterator[str]:
    """Yield what is wrong with what was said of a model."""
    related, group = done.found.related, done.entry.group
    if group == "distilled" or (group == "strained" and not done.entry.truth.edits):
        if related.log10_p <= -4:
            yield f"log10 p {related.log10_p:.1f} ({related.verdict.value}) {related.notes}"
        return
    if related.log10_p > -6:
        yield f"not found: log10 p {related.log10_p:.1f} ({related.verdict.value})"
    elif related.verdict.value != "related":
        yield related.verdict.value
    if not done.right:
        yield f"is {done.true} | said {done.said}"
    yield from _off(done)


def _off(done: Scored) -> Iterator[str]:
    for what, value in done.numbers.items():
        if value is False:
            yield f"{what} wrong"
        elif value is not True and value > LIMITS[what]:
            yield f"{what} off by {value:.3f}"


def independent_lines(scorer: Scorer) -> Iterator[str]:
    """Yield the smallest p-values of unrelated pairs, and their shares."""
    found = sorted(
        (scorer.log10_p(child, base).related.log10_p, child.name, base.name)
        for child, base in scorer.unrelated()
    )
    for value, child, base in found[:10]:
        yield f"unrelated {child} and {base}: log10 p {value:.2f}"
    for level in (-1.301, -2.0, -4.0):
        count = sum(value <= level for value, _, _ in found)
        yield f"p <= {10**level:.2g}: {count} of {len(found)}"


if __name__ == "__main__":
    main()
