"""Files that are valid as two formats at once, told by their heads and ends.

One program sees a picture or tensors, another sees an archive or a pickle: what was checked is not
what is loaded. A zip is found by its end, so anything may stand before it; a pickle stops where it
says, so anything may stand behind it.

Source: Trail of Bits, "Fickling: polyglot files" (https://github.com/trailofbits/fickling) and
PKWARE APPNOTE.TXT 6.3.10, section 4.3.16 for the end of a zip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from steelyard.analyzers.code.archives import TAIL, zip_directory
from steelyard.analyzers.code.remarks import Remark
from steelyard.checkpoints.hdf5 import MAGIC as HDF5
from steelyard.checkpoints.pickles import looks_like_pickle
from steelyard.checkpoints.zip_members import NPY_MAGIC
from steelyard.sources.base import ByteReader

HEAD_BYTES: Final = 64
_TENSORS_TAIL: Final = 16_384
"""Bytes of the end of weights that are looked at: they are many, and read for little else. What
hides behind a longer comment lies in bytes that no tensor claims, which are told anyhow."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
_WEIGHTS: Final = frozenset({"safetensors", "gguf", "onnx", "numpy"})
_HEADS: Mapping[bytes, str] = MappingProxyType(
    {
        b"GGUF": "GGUF",
        NPY_MAGIC: "NumPy",
        HDF5: "HDF5",
        _PNG: "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF8": "GIF",
        b"RIFF": "RIFF",
        b"%PDF": "PDF",
        b"\x1f\x8b": "gzip",
        b"fLaC": "FLAC",
        b"OggS": "Ogg",
        b"ID3": "MP3",
        b"<svg": "SVG",
        b"<?xml": "XML",
        b"<!DOCTYPE": "HTML",
        b"<html": "HTML",
    }
)
"""First bytes of formats that end before a zip could begin."""
_INSIDE: Mapping[bytes, str] = MappingProxyType(
    {
        b"PK\x03\x04": "a zip archive",
        b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
        b"\x7fELF": "a program (ELF)",
        b"MZ": "a program (PE)",
        b"\x1f\x8b": "a gzip stream",
        b"#!/": "a script",
        b"GGUF": "a GGUF file",
    }
)
"""What may hide in bytes that belong to nothing."""


def examine(reader: ByteReader, head: bytes, format_name: str | None) -> Iterator[Remark]:
    """Say what a file is besides what it begins as.

    Args:
        reader: The file.
        head: Its first `HEAD_BYTES` bytes.
        format_name: What it was read as (`safetensors`), or None.
    """
    known = next((name for magic, name in _HEADS.items() if head.startswith(magic)), None)
    name = known or format_name or ("a pickle" if looks_like_pickle(head) else None)
    if name is None or head.startswith(b"PK"):
        return
    start = zip_start(reader, _TENSORS_TAIL if format_name in _WEIGHTS else TAIL)
    if start is not None:
        yield Remark("polyglot", f"is {name} and a zip archive as well", offset=start)
    if format_name == "safetensors" and head[:1] == b"\x80" and looks_like_pickle(head):
        yield Remark("polyglot", "is safetensors and a pickle as well", offset=0)
    if name == "PNG":
        yield from _behind_png(reader)


def at(reader: ByteReader, offset: int) -> Iterator[Remark]:
    """Say what lies at an offset whose bytes belong to nothing."""
    length = min(HEAD_BYTES, reader.size - offset)
    if offset < 0 or length < 2:
        return
    head = reader.read(offset, length)
    inside = next((name for magic, name in _INSIDE.items() if head.startswith(magic)), None)
    if inside is None and head[:1] == b"\x80" and looks_like_pickle(head):
        inside = "a pickle"
    if inside is not None:
        yield Remark("polyglot", f"holds {inside} in bytes that no tensor claims", offset=offset)


def zip_start(reader: ByteReader, longest: int = TAIL) -> int | None:
    """Find where a zip archive at the end of a file begins; None where there is none.

    Args:
        reader: The file.
        longest: Bytes of its end that are looked at.
    """
    directory = zip_directory(reader, longest)
    if directory is None or not directory.is_whole or directory.entries == 0:
        return None
    if reader.read(directory.start, min(4, reader.size - directory.start)) != b"PK\1\2":
        return None
    return max(directory.start - directory.stated, 0)


def _behind_png(reader: ByteReader) -> Iterator[Remark]:
    length = min(reader.size, TAIL)
    tail = reader.read(reader.size - length, length)
    found = tail.rfind(_PNG_END)
    behind = tail[found + len(_PNG_END) :] if found >= 0 else b""
    if behind[:1] == b"\x80" and looks_like_pickle(behind[:HEAD_BYTES]):
        yield Remark(
            "polyglot", "is PNG and holds a pickle behind its end", reader.size - len(behind)
        )
