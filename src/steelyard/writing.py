"""Files that are written whole, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copymode
from threading import get_ident
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write beside a file, and put what was written in its place once nothing more can fail.

    A link is followed, and a file that is there keeps its mode. A device or a pipe is written to,
    never replaced.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be written; what was there before is still there.
    """
    final = path.resolve()
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        # A folder refuses.
        with path.open("wb") as stream:
            yield stream
        return
    temporary = final.with_name(f".{final.name}.{os.getpid()}.{get_ident()}.partial")
    try:
        with temporary.open("xb") as stream:
            yield stream
        if final.exists():
            copymode(final, temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
