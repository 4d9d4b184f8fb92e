"""Is an audit of code alone quick enough for a hook that runs before every commit?

    python benchmarks/hook.py [--workdir FOLDER] [--repeat 9] [--dry-run]

Makes, once, a model folder: safetensors, a PyTorch archive of 200 tensors, configuration and card.
Each program is the command line as a hook runs it, start of Python included. The limit is what
starting Python with the libraries that every audit needs takes by itself. The peer is picklescan,
which looks at pickles alone; where it is not installed its row is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from safetensors.numpy import save_file

from record import ROOT, command_line, conditions, default_workdir, spread, table, write_section

sys.path.insert(0, str(ROOT))

from tests.checkpoints.torch_files import torch_zip, weight

TENSORS, WIDTH = 200, 256
TARGET = 1.0
SCRIPTS = Path(sysconfig.get_path("scripts"))
LIMIT = "import click, numpy, pydantic, rich.console, yaml"


def make_model(folder: Path) -> None:
    """Write a model in both containers, unless it is there."""
    if (folder / "README.md").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(20261126)
    arrays = {
        f"layer.{n}.weight": chance.standard_normal((WIDTH, WIDTH), np.float32)
        for n in range(TENSORS)
    }
    save_file(arrays, folder / "model.safetensors")
    tensors = {f"layer.{n}.weight": weight(str(n), WIDTH, WIDTH) for n in range(TENSORS)}
    (folder / "pytorch_model.bin").write_bytes(torch_zip(tensors))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n", encoding="utf-8")


def programs(folder: Path) -> dict[str, list[str]]:
    """Return what is run, by what it is called in the table."""
    audit = [str(SCRIPTS / "steelyard"), "audit", str(folder), "--quiet", "--fail-on", "never"]
    found = {
        "Python and the libraries alone": [sys.executable, "-c", LIMIT],
        "**`steelyard audit --only code`**": [*audit, "--only", "code"],
        "`steelyard audit --only card`": [*audit, "--only", "card"],
        "`steelyard audit --no-digest --no-lineage`": [*audit, "--no-digest", "--no-lineage"],
    }
    peer = SCRIPTS / "picklescan"
    if peer.exists():
        found["picklescan"] = [str(peer), "--path", str(folder)]
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a program took."""

    seconds: float
    cpu: float
    """Of the processor, whatever else the machine did meanwhile."""


def timed(command: Sequence[str]) -> Run:
    """Run a program once."""
    start = time.perf_counter()
    with TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        taken = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{command[0]} failed: {said.read().decode()}")
    return Run(taken, used.ru_utime + used.ru_stime)


def report(runs: dict[str, list[Run]], folder: Path) -> str:
    """Write the section of the page."""
    medians = {name: statistics.median(run.cpu for run in each) for name, each in runs.items()}
    limit = next(iter(medians.values()))
    rows = [
        [
            name,
            spread([run.cpu for run in each]),
            f"{medians[name] / limit:.2f}",
            spread([run.seconds for run in each]),
        ]
        for name, each in runs.items()
    ]
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    repeat = len(next(iter(runs.values())))
    return f"""
## An audit of code alone, as a hook before a commit

A model of {size:.0f} MB, as safetensors and as a PyTorch archive of {TENSORS} tensors; start of
Python included; median (and range) of {repeat}, page cache warm. Seconds of the processor do not
depend on what else the machine does. Target: `--only code` under {TARGET:.0f} s.

{table(["", "CPU seconds", "x the limit", "seconds"], rows)}

{conditions(command_line())}
"""


def main() -> None:
    """Make the model, run the programs in turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "hook")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    make_model(options.workdir)
    commands = programs(options.workdir)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(options.repeat):
        for name, command in commands.items():
            runs[name].append(timed(command))
    text = report(runs, options.workdir)
    print(text)
    if not options.dry_run:
        write_section("hook.py", text)


if __name__ == "__main__":
    main()
