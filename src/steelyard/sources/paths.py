"""Names that others give to files, checked before they are believed.

A hub, a URL or a folder may name a file `../../etc/passwd`, hide a NUL or a terminal's control
sequence in it, or use bytes that are not text. A path within a source is POSIX, relative, free
of `.` and `..` parts, and plain text; `path_trouble` says which of these a name breaks.
"""

from __future__ import annotations

import re

from steelyard.errors import SourceNotFound

MAX_PATH_BYTES = 4096
"""Longest path within a source, as on Linux."""
# C0 and C1 controls, and the marks that make text read in another order than it is stored.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def path_trouble(path: str) -> str | None:
    """Say why `path` may not name a file within a source; None when it may."""
    if _UNSAFE.search(path):
        return "the name holds control characters, or bytes that are not UTF-8"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"the name is longer than {MAX_PATH_BYTES} bytes"
    if "\\" in path:
        return "the name holds a backslash"
    if any(part in {"", ".", ".."} for part in path.split("/")):
        return "the path is absolute, or has an empty, `.` or `..` part"
    return None


def printable(text: str) -> str:
    """Return `text` with whatever may not be printed escaped, cut to a bounded length."""
    shown = text[:MAX_PATH_BYTES]
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), shown)


def no_such_file(spec: str, path: str) -> SourceNotFound:
    """Return the error for a path that a source does not list."""
    return SourceNotFound(
        f"there is no file {printable(path)} in {printable(spec)}",
        fix="name a file that the source lists; names are case-sensitive",
        file=printable(path),
    )
