"""Whether bytes or a text within a pickle may be a file of their own.

This is asked of every string of a pickle, so it is a quick look at how the string begins: it may
say yes too often, and never says no where a file begins with what `examining` knows.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from steelyard.checkpoints.pickles.opcodes import OPCODES

HEAD: Final = 512
"""Bytes of a string that are looked at."""
SHORTEST_FILE: Final = 8
"""Bytes of the shortest string that is looked at; a call of anything takes more."""

_MAGIC: Final = (
    *(b"\x80" + bytes((protocol,)) for protocol in range(6)),
    b"PK\3\4",
    b"PK\5\6",
    b"\x93NUMPY",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"]\0\0",
    b"\x28\xb5\x2f\xfd",
    b"\4\x22\x4d\x18",
    b"x\1",
    b"x\x5e",
    b"x\x9c",
    b"x\xda",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
)
_IMPORT: Final = rb"[ci][A-Za-z_][\w.]*\r?\n[A-Za-z_]"
"""How an import is named by lines; a pickle without a protocol mark that matters has one."""
_STACK_GLOBAL: Final = rb"(?s)(?:[\w\x94]|[hq].|[jr]..\0\0)\x93"
"""An import that is named by texts: the last of them, or where it is remembered, comes before."""
_STARTS_TEXT: Final = frozenset(b"\x8cXUTVS(\x95]}K")
_BASE64: Final = r"[A-Za-z0-9+/_-]{16,}={0,2}"
_LATIN1_MARK: Final = "\x80"
_LOOK: Final = 64


def may_be_file(head: bytes) -> bool:
    """Say whether content that begins with `head` may be a file that can hold code."""
    if head.startswith(_MAGIC):
        return True
    if not head or head[0] not in OPCODES:
        return False
    if re.search(_IMPORT, head):
        return True
    return head[0] in _STARTS_TEXT and re.search(_STACK_GLOBAL, head) is not None


def may_be_file_in_text(text: str) -> bool:
    """Say whether a text may be such a file, as it is or in base64."""
    first = text[:1]
    if first == _LATIN1_MARK:
        return True
    if "\n" in text[:HEAD] and may_be_file(text[:HEAD].encode("utf-8", "replace")):
        return True
    return len(text) >= _LOOK // 4 and may_be_file(decoded_start(text))


def decoded_start(text: str) -> bytes:
    """Return the first bytes of a text that is base64; nothing if it is not."""
    start = text[:_LOOK].replace("\n", "")
    if re.fullmatch(_BASE64, start) is None:
        return b""
    start = start.rstrip("=")
    try:
        return binascii.a2b_base64(start[: len(start) // 4 * 4].translate(_URL_SAFE))
    except binascii.Error:
        return b""


def decoded(text: str) -> bytes:
    """Return the bytes of a text that is base64, up to where it stops being so; perhaps none."""
    whole = "".join(text.split()).translate(_URL_SAFE)
    match = re.match(_WHOLE_BASE64, whole)
    body = match[0] if match else ""
    try:
        return binascii.a2b_base64(body + "=" * (-len(body) % 4))
    except binascii.Error:
        return binascii.a2b_base64(body[: len(body) // 4 * 4])


_URL_SAFE: Final = str.maketrans("-_", "+/")
_WHOLE_BASE64: Final = r"[A-Za-z0-9+/]*"
