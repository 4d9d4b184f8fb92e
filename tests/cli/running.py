"""Run the command line: in this process, where exit codes and streams are watched, or as one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("steelyard")
"""The program as it is installed beside this Python."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def process(
    *arguments: str, cwd: Path | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the program as a process of its own."""
    command = [str(PROGRAM), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, timeout=60, check=False
    )
