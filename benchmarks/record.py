"""What every benchmark needs: the facts of the machine, and a place in docs/benchmarks.md.

A section of that page lies between two markers that name the script which writes it; running
the script again replaces that section and nothing else.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
_INTRODUCTION = """# Benchmarks

Each section is written by the script that it names. All figures of one table come from one run,
in which the programs took turns, so that whatever else the machine did befell them alike.
"""


def default_workdir() -> Path:
    """Return the folder in which benchmarks keep the models that they make."""
    return Path(platformdirs.user_cache_dir("steelyard")) / "benchmarks"


def _first(path: str, pattern: str) -> str:
    """Return what `pattern` finds in a file of /proc; `unknown` where there is none."""
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def conditions(command: str) -> str:
    """Describe the machine, the day and the command, as one paragraph."""
    memory = _first("/proc/meminfo", r"MemTotal:\s+(\d+)")
    size = f"{int(memory) / 2**20:.0f} GiB memory" if memory.isdigit() else "memory unknown"
    processor = _first("/proc/cpuinfo", r"model name\s*:\s*(.+)")
    machine = (
        f"{processor}, {len(os.sched_getaffinity(0))} cores, {size}, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    load = os.getloadavg()[0]
    day = datetime.now(UTC).date()
    return f"{day}, {machine}; load {load:.1f} at the end of the run. Command: `{command}`."


def command_line() -> str:
    """Return the command that runs this script, as a user would write it."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return " ".join(["python", str(script), *sys.argv[1:]])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table; every column but the first is aligned to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def spread(seconds: Sequence[float]) -> str:
    """Write a median and the range that it was taken from."""
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the section between the markers of `name`, or add it at the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    old = page.read_text(encoding="utf-8") if page.exists() else _INTRODUCTION
    start, stop = old.find(begin), old.find(end)
    if 0 <= start < stop:
        new = old[:start] + section + old[stop + len(end) :]
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(new, encoding="utf-8")
