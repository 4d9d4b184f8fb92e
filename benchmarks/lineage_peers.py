"""Who tells rightly whose weights a model has, and at what cost?

    python benchmarks/lineage_peers.py [--peers] [--workdir FOLDER] [--repeat 3] [--dry-run]

Makes, once, pairs of models whose relation is known (`lineage_pairs.py`; 11 GB). Then Steelyard,
modelDNA and Cisco's provenance kit are asked about every pair, each time in a process of its own,
taking turns. The clock runs from the start of the process to its end; memory is the peak of the
largest process. `--peers` makes a virtual environment for each of the other two under FOLDER, from
the package registry (the kit takes 6 GB and Python 3.12); without it, one that is not there is a
line in the table that says so. Nothing here touches the project's own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineage_programs import (
    PROGRAMS,
    WEAK_MATCH,
    Answer,
    Pair,
    Program,
    scripts_of,
    surroundings,
)
from record import command_line, conditions, default_workdir, spread, table, write_section

PATIENCE_S = 300
_WHERE = re.compile(r"\S*/\S*")
TARGET_S, TARGET_MB = 1.0, 200


@dataclass(frozen=True, slots=True)
class Run:
    """One answer of one program, and what it took."""

    answer: Answer
    wall: float
    processor: float
    peak: float
    """Bytes."""


Results = Mapping[tuple[str, str], Sequence[Run]]
"""Runs by program and pair."""


def ask(program: Program, scripts: Path, pair: Pair, surrounding: Mapping[str, str]) -> Run:
    """Let one program answer for one pair."""
    wall = processor = peak = 0.0
    outputs = []
    failure = ""
    for command in program.commands(scripts, pair):
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
            start = time.perf_counter()
            child = subprocess.Popen(command, stdout=output, stderr=messages, env=surrounding)
            watch = threading.Timer(PATIENCE_S, child.kill)
            watch.start()
            _, status, usage = os.wait4(child.pid, 0)
            watch.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
            wall += time.perf_counter() - start
            processor += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss * 1024)
            output.seek(0)
            messages.seek(0)
            outputs.append(output.read())
            if child.returncode != 0:
                failure = last_line(messages.read()) or f"exit code {child.returncode}"
    return Run(understood(program, pair, outputs, failure), wall, processor, peak)


def last_line(text: str) -> str:
    """Return the last line that says something, cut to what fits a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:80].replace("|", "/") if lines else ""


def understood(program: Program, pair: Pair, outputs: Sequence[str], failure: str) -> Answer:
    """Read what a program wrote; what cannot be read is an answer that failed."""
    done = False if pair["related"] and program.key != "cisco" else None
    if not failure:
        try:
            return program.read(pair, outputs)
        except (ValueError, LookupError, TypeError) as error:
            failure = f"unreadable answer: {last_line(str(error))}"
    # Where the pairs lie on this machine is nobody's matter.
    return Answer(f"failed: {_WHERE.sub('', failure)}", None, done)


def verdict(answer: Answer, pair: Pair) -> str:
    """Mark an answer: related or not, and what was done."""
    marks = {True: "✓", False: "✗", None: "·"}
    first = "?" if answer.related is None else marks[answer.related == pair["related"]]
    return f"{first} {marks[answer.done]}"


def pair_rows(
    pairs: Sequence[Pair], programs: Sequence[Program], results: Results
) -> list[list[str]]:
    """Write a row for each pair: what each program said, and its median seconds."""
    rows = []
    for pair in pairs:
        row = [pair["title"]]
        for program in programs:
            runs = results[program.key, pair["name"]]
            row.append(f"{verdict(runs[0].answer, pair)} {runs[0].answer.words}")
            row.append(f"{statistics.median(run.wall for run in runs):.2f}")
        rows.append(row)
    return rows


def summary_row(program: Program, pairs: Sequence[Pair], results: Results) -> list[str]:
    """Count right answers of one program, and write what a pair took."""
    answers = [(pair, results[program.key, pair["name"]][0].answer) for pair in pairs]
    right = sum(answer.related == pair["related"] for pair, answer in answers)
    silent = sum(answer.related is None for _, answer in answers)
    claims = [answer.done for _, answer in answers if answer.done is not None]
    runs = [run for pair in pairs for run in results[program.key, pair["name"]]]
    return [
        program.title,
        f"{right} of {len(answers)}",
        str(len(answers) - right - silent),
        str(silent),
        f"{sum(claims)} of {len(claims)}" if claims else "not claimed",
        spread([run.wall for run in runs]),
        f"{statistics.median(run.processor for run in runs):.2f}",
        f"{max(run.peak for run in runs) / 1e6:.0f}",
    ]


def by_weights_alone(pairs: Sequence[Pair], results: Results) -> str:
    """Tell how often the kit would be right if its score of the weights decided."""
    scored = [
        (answer.score > WEAK_MATCH) == pair["related"]
        for pair in pairs
        if ("cisco", pair["name"]) in results
        and (answer := results["cisco", pair["name"]][0].answer).score is not None
    ]
    if not scored:
        return ""
    return (
        "The kit lets equal configurations decide before the weights are asked. Its score of the "
        f"weights alone, with its own limit of {WEAK_MATCH}, would be right on {sum(scored)} of "
        f"the {len(scored)} pairs that it could read.\n"
    )


def beaten(pairs: Sequence[Pair], programs: Sequence[Program], results: Results) -> str:
    """Name the pairs on which another program is right and Steelyard is not."""
    ours, others = programs[0], programs[1:]
    found = []
    for pair in pairs:
        mine = results[ours.key, pair["name"]][0].answer
        for other in others:
            theirs = results[other.key, pair["name"]][0].answer
            better = theirs.related == pair["related"] != mine.related
            if better or (theirs.done and not mine.done):
                what = "whether it is related" if better else "what was done"
                found.append(f"{pair['title']} ({other.title}, {what})")
    return "; ".join(found) if found else "none of these pairs"


def report(
    pairs: Sequence[Pair], programs: Sequence[Program], results: Results, missing: Mapping[str, str]
) -> str:
    """Write the section of the page."""
    head = ["pair: what the child is", *(cell for p in programs for cell in (p.title, "s"))]
    sums = ["", "related or not: right", "wrong", "abstains", "what was done: right",
            "seconds for a pair", "CPU seconds", "peak MB"]  # fmt: skip
    rows = [summary_row(program, pairs, results) for program in programs]
    rows += [[title, why, *[""] * (len(sums) - 2)] for title, why in missing.items()]
    repeat = len(next(iter(results.values())))
    rounds = "1 round" if repeat == 1 else f"{repeat} rounds"
    return f"""
## Lineage, beside other programs

{len(pairs)} pairs whose relation is known, made from SmolLM2-135M-Instruct (real weights, synthetic
edits, no training; {rounds}, programs taking turns, everything in the page cache), and one
of two packages with the same encoder. Every answer is a process of its own, timed from start to
end. Target for Steelyard: {TARGET_S} s and {TARGET_MB} MB.

Two marks for each answer. The first: is the child made from the base (✓ right, ✗ wrong, ? abstains
or fails). The second: is what the program says was done true (· where it claims nothing). Each is
judged by what it claims to answer. modelDNA: a verdict whose own description holds; for edits that
it has no word for, any verdict of one parent counts; for the merge, `decompose` is asked as well
and its shares must be within .02. It claims language models alone, and has a verdict for what it
cannot read (INSUFFICIENT), so that NO_MATCH of an encoder is wrong. The kit answers only whether
the two match. Steelyard: the encoding and the whole set of edits, with nothing missing and nothing
added, and their numbers: shares of a merge and of zeros within .02, strengths of a removal (of the
matrices that it says it read) within .03, layer maps, ranks, rows and disguises exact.

{table(sums, rows)}

{table(head, pair_rows(pairs, programs, results))}

{by_weights_alone(pairs, results)}
Another program is right and Steelyard is not on: {beaten(pairs, programs, results)}.

{conditions(command_line())}
"""


def main() -> None:
    """Make the pairs, let all programs take turns, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "lineage_peers")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="install the other programs")
    parser.add_argument("--pair", action="append", help="only this pair; repeat for several")
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    workdir: Path = options.workdir
    # In a process of its own: memory that this one has taken would count as the programs' own.
    maker = [sys.executable, str(Path(__file__).with_name("lineage_pairs.py"))]
    subprocess.run([*maker, str(workdir / "pairs")], check=True)
    pairs = json.loads((workdir / "pairs" / "pairs.json").read_text(encoding="utf-8"))["pairs"]
    pairs = [pair for pair in pairs if not options.pair or pair["name"] in options.pair]
    had = {program: scripts_of(program, workdir, install=options.peers) for program in PROGRAMS}
    missing = {program.title: why for program, why in had.items() if isinstance(why, str)}
    ready = {program: where for program, where in had.items() if isinstance(where, Path)}
    surrounding = surroundings(workdir)
    results: dict[tuple[str, str], list[Run]] = {}
    for turn in range(options.repeat):
        for place, pair in enumerate(pairs):
            print(f"round {turn + 1}, pair {place + 1}: {pair['title']}", file=sys.stderr)
            for program, scripts in ready.items():
                run = ask(program, scripts, pair, surrounding)
                results.setdefault((program.key, pair["name"]), []).append(run)
    text = report(pairs, list(ready), results, missing)
    print(text)
    if not options.dry_run:
        write_section("lineage_peers.py", text)


if __name__ == "__main__":
    main()
