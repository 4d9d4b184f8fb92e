"""Examine pickles, beside picklescan and modelscan: time, and peak memory.

    python benchmarks/pickle_scanning.py --peers        # installs the peers, each on its own
    python benchmarks/pickle_scanning.py --dry-run

Three loads: a torch zip of 524 MB, a thousand small pickles of which every tenth calls
`posix.system`, and one pickle of 100 MB. Each program runs in a process of its own, as a user would
run it, and the programs take turns. Ours is the examination alone, by its API, with the grades of
all imports; `steelyard audit` does more and takes longer to start.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lineage_programs import Answer, Program, scripts_of
from record import (
    ROOT,
    command_line,
    conditions,
    default_workdir,
    spread,
    table,
    write_section,
)

sys.path.insert(0, str(ROOT))

from tests.checkpoints.torch_files import Storage, Weight, torch_zip

TENSORS, SIDE = 125, 1024
SMALL, BAD_EVERY = 1000, 10
RECORDS = 900_000
MOST_MEMORY_MIB = 60
OURS = """
import sys
from steelyard.checkpoints.examining import examine
from steelyard.checkpoints.examining.grades import DANGEROUS, grade
from steelyard.sources.local import open_local

found = examine(open_local(sys.argv[1]))
bad = {item.file for item in found.imports if grade(item.name) == DANGEROUS}
print(len(found.pickles), "pickles,", len(bad), "dangerous,", len(found.problems), "not fully read")
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one program."""

    seconds: float
    processor: float
    """Seconds of processor time, which other programs on the machine stretch less."""
    mebibytes: float


def _no_answer(_: Mapping[str, object], __: Sequence[str]) -> Answer:
    return Answer("", None)


PEERS = (
    Program("picklescan", "picklescan 1.0.5", lambda *_: [], _no_answer, "picklescan==1.0.5"),
    Program("modelscan", "modelscan 0.8.8", lambda *_: [], _no_answer, "modelscan==0.8.8"),
)
ARGUMENTS = {
    "picklescan": lambda path: ["--path", str(path)],
    "modelscan": lambda path: ["--path", str(path)],
}


def make_loads(folder: Path) -> dict[str, tuple[str, Path, int]]:
    """Make what is scanned; return a title, a path and the number of rounds for each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(1)  # noqa: S311  the same files each time, no secret
    big, small, raw = folder / "big.pt", folder / "small", folder / "raw.pkl"
    if not big.exists():
        data = rng.randbytes(4 * SIDE * SIDE)
        big.write_bytes(
            torch_zip(
                {
                    f"layers.{n}.weight": Weight(
                        Storage(str(n), "FloatStorage", data), (SIDE, SIDE)
                    )
                    for n in range(TENSORS)
                }
            )
        )
    if not small.exists():
        small.mkdir()
        for number in range(SMALL):
            value = {"name": f"model {number}", "layers": [rng.random() for _ in range(20)],
                     "settings": {f"key{n}": n for n in range(20)}}  # fmt: skip
            bad = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R."
            data = bad if number % BAD_EVERY == 0 else pickle.dumps(value, 4)
            (small / f"{number}.pkl").write_bytes(data)
    if not raw.exists():
        records = [
            {"id": n, "text": f"word {n} of many", "score": n / 7, "tags": ["a", "b", str(n)],
             "blob": rng.randbytes(40)}
            for n in range(RECORDS)
        ]  # fmt: skip
        raw.write_bytes(pickle.dumps(records, 4))
    size = raw.stat().st_size / 1e6
    return {
        "big": (f"torch zip, {big.stat().st_size / 1e6:.0f} MB", big, 9),
        "small": (f"{SMALL} small pickles", small, 9),
        "raw": (f"one pickle, {size:.0f} MB", raw, 1),
    }


def run(command: Sequence[str]) -> Run | None:
    """Run a program to its end; None where it does not come to one in time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if child.returncode < 0:
        return None
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(loads: Mapping[str, tuple[str, Path, int]], programs: Mapping[str, Path | None],
            only: Sequence[str]) -> dict[str, dict[str, list[Run]]]:  # fmt: skip
    """Let the programs take turns on each load."""
    results: dict[str, dict[str, list[Run]]] = {}
    for load, (title, path, rounds) in loads.items():
        if only and load not in only:
            continue
        print(title, "...", file=sys.stderr)
        results[load] = {program: [] for program in programs}
        for _ in range(rounds):
            for program, scripts in programs.items():
                command = (
                    [sys.executable, "-c", OURS, str(path)]
                    if scripts is None
                    else [str(scripts / program), *ARGUMENTS[program](path)]
                )
                found = run(command)
                if found is not None:
                    results[load][program].append(found)
    return results


def report(
    loads: Mapping[str, tuple[str, Path, int]], results: Mapping[str, Mapping[str, list[Run]]]
) -> str:
    """Write the section of the page."""
    rows = []
    for load, programs in results.items():
        base = programs.get("picklescan", [])
        for program, runs in programs.items():
            if not runs:
                rows.append([loads[load][0], program, "failed", "", "", ""])
                continue
            rows.append(
                [
                    loads[load][0],
                    program,
                    spread([one.seconds for one in runs]),
                    _ratio([one.seconds for one in runs], [one.seconds for one in base]),
                    _ratio([one.processor for one in runs], [one.processor for one in base]),
                    f"{max(one.mebibytes for one in runs):.0f}",
                ]
            )
    head = ["load", "program", "seconds", "x picklescan", "x its processor time", "peak MiB"]
    return f"""
## Pickles

Files examined for what they would run when they are loaded, beside two scanners; median (and range)
of 9 rounds (1 for the large pickle), each in a process of its own, page cache warm. Ours is the
examination by its API, with the grades of all imports. Targets: at most picklescan's time, and
{MOST_MEMORY_MIB} MiB on the torch zip and the small pickles.

{table(head, rows)}

{conditions(command_line())}
"""


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the median, over the rounds, of one program's time by another's."""
    if not theirs:
        return ""
    pairs = zip(ours, theirs, strict=False)
    return f"{statistics.median(one / other for one, other in pairs):.2f}"


def main() -> None:
    """Make the loads, let all programs take turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "pickles")
    parser.add_argument("--peers", action="store_true", help="install peers that are not there")
    parser.add_argument("--only", action="append", default=[], choices=("big", "small", "raw"))
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    if options.make:
        make_loads(options.workdir)
        return
    programs: dict[str, Path | None] = {"steelyard": None}
    for peer in PEERS:
        scripts = scripts_of(peer, options.workdir, install=options.peers)
        if isinstance(scripts, Path):
            programs[peer.key] = scripts
        else:
            print(f"{peer.title}: {scripts}", file=sys.stderr)
    # What this process has held counts as the memory of its children, so another one makes them.
    again = [sys.executable, __file__, "--make", "--workdir", str(options.workdir)]
    subprocess.run(again, check=True)
    loads = make_loads(options.workdir)
    text = report(loads, measure(loads, programs, options.only))
    print(text)
    if not options.dry_run:
        write_section("pickle_scanning.py", text)


if __name__ == "__main__":
    main()
