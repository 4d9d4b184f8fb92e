"""Tell files of compiled code, which nobody can read: by their name, or by their first bytes.

A model that is a program (a llamafile, an engine built ahead of time) is run, not loaded: what it
does is not told by the weights that it holds.

Source: ELF, "Object Files"; Microsoft, "PE Format"; Mach-O, `mach-o/loader.h` and `mach-o/fat.h`;
the Java virtual machine specification, 4.1; the WebAssembly core specification, 5.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

_BYTECODE: Final = "bytecode of Python"
_LIBRARY: Final = "a library of native code"
_BY_SUFFIX: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".pyc": _BYTECODE,
        ".pyo": _BYTECODE,
        ".pyd": _LIBRARY,
        ".so": _LIBRARY,
        ".dll": _LIBRARY,
        ".dylib": _LIBRARY,
    }
)
_BY_HEAD: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"\x7fELF": "a program for Linux (ELF)",
        b"MZqFpD='\n": "a program for many systems (APE), such as a llamafile",
        b"jartsr='\n": "a program for many systems (APE), such as a llamafile",
        b"\xcf\xfa\xed\xfe": "a program for macOS (Mach-O)",
        b"\xce\xfa\xed\xfe": "a program for macOS (Mach-O)",
        b"\xca\xfe\xba\xbe": "a program for macOS or Java",
        b"\0asm": "a program of WebAssembly",
    }
)
_PE_PLACE: Final = slice(0x3C, 0x40)
_LARGEST_STUB: Final = 1024
"""Bytes before the header of a Windows program; linkers write some hundred."""


def program(path: str, head: bytes) -> str | None:
    """Say what kind of compiled code a file is; None if it is none.

    Args:
        path: Its name tells bytecode and libraries.
        head: Its first bytes, 512 of them, or none where they are not at hand.
    """
    named = _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
    if named is not None:
        return named
    return next((kind for magic, kind in _BY_HEAD.items() if head.startswith(magic)), _pe(head))


def _pe(head: bytes) -> str | None:
    """Tell a program for Windows: two letters say too little, so its header is looked for."""
    at = int.from_bytes(head[_PE_PLACE], "little")
    if not head.startswith(b"MZ") or not 0x40 <= at <= _LARGEST_STUB:
        return None
    # A header behind the bytes that are at hand is taken for granted.
    beyond = at + 4 > len(head)
    return "a program for Windows (PE)" if beyond or head[at : at + 4] == b"PE\0\0" else None
