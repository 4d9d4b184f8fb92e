"""While fuzz tests run, reading a damaged file may do nothing but read.

An audit hook (PEP 578) sees what Python does below any library: starting programs, unpickling,
networks, and files that are written or moved. Whatever of this happens with a function of
Steelyard on the stack fails the test. Importing a module may write its bytecode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import steelyard

_PACKAGE: Final = str(Path(steelyard.__file__).parent)
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FAMILIES: Final = (
    "socket.",
    "subprocess.",
    "pty.",
    "shutil.",
    "tempfile.",
    "ctypes.",
    "webbrowser.",
)
_REFUSED: Final = frozenset(
    {
        "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
        "os.startfile", "os.kill", "os.putenv", "os.chdir", "os.chmod", "os.chown", "os.link",
        "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime",
        "pickle.find_class", "code.__new__", "function.__new__", "sqlite3.connect",
    }
)  # fmt: skip
seen: list[str] = []
_armed: list[bool] = [False]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what should not happen; an exception might be caught by what is tested."""
    if not _armed[0]:
        return
    refused = event in _REFUSED or event.startswith(_FAMILIES)
    if event == "open":
        _, mode, flags = arguments
        refused = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & _WRITING)
    if refused and _by_steelyard():
        seen.append(f"{event}{arguments!r}"[:300])


def _by_steelyard() -> bool:
    """Tell whether a function of Steelyard does this, and not the import of a module."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return False
        if name.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False


sys.addaudithook(_hook)


@pytest.fixture(autouse=True)
def nothing_but_reading(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which reading did more, unless it is one of `temporary` files."""
    seen.clear()
    _armed[0] = request.node.get_closest_marker("temporary") is None
    yield
    _armed[0] = False
    assert seen == []
