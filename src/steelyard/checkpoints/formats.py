"""Which format a file is of, told by its first bytes; its name only says where to look.

A name can lie, so bytes decide. Where bytes cannot (a pickle of protocol 0, a protobuf), a
suffix narrows the choice and the reader refuses what does not fit.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath

from steelyard.checkpoints.filenames import PICKLE_SUFFIXES, is_tensorflow_js
from steelyard.checkpoints.onnx.recognizing import looks_like_onnx

HEAD_BYTES = 64
"""How many first bytes `identify` wants."""


class Format(StrEnum):
    """What a file of weights can be."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    ZIP = "zip"
    """A zip archive: a torch checkpoint, an `.npz`, or something else."""
    PICKLE = "pickle"
    """A pickle stream: a legacy torch checkpoint, or any pickle."""
    NPY = "npy"
    ONNX = "onnx"
    PACKED = "packed"
    """Compressed data or an archive: examined for code, but not read for tensors."""
    UNREAD = "unread"
    """A format of weights that is known but not read (HDF5, TensorFlow Lite, ...)."""


_MAGIC = {
    b"GGUF": Format.GGUF,
    b"PK\x03\x04": Format.ZIP,
    b"PK\x05\x06": Format.ZIP,
    b"\x93NUMPY": Format.NPY,
}
UNREAD_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "HDF5 (Keras)",
    b"ggjt": "GGML, before GGUF",
    b"tjgg": "GGML, before GGUF",
    b"lmgg": "GGML, before GGUF",
    b"fmgg": "GGML, before GGUF",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x84\xa5nodes": "spaCy",
}
"""First bytes of formats that hold weights but are not read, and their names."""
ARCHIVES = frozenset({"7-Zip", "RAR"})
"""Those in which anything may lie, so that not even code was looked for."""

PACKED_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"(\xb5/\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
}
"""First bytes of compressed data; it is examined for code, but not read for tensors."""
_PACKED_PICKLE = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"]\x00\x00")
"""First bytes of zlib and lzma, too few to tell them but in files named like pickles (joblib)."""


_GRAPH_STARTS = (b"\x08", b"\x0a", b"\x12", b"\x22")
"""First bytes of the fields with which a SavedModel or a GraphDef begins."""


def identify(head: bytes, size: int, path: str) -> Format | None:
    """Tell the format of a file from its first `HEAD_BYTES` bytes, its size and its name.

    Returns None when it is no format of weights that Steelyard knows.
    """
    suffix = PurePosixPath(path).suffix.lower()
    known = _by_magic(head, suffix)
    if known is not None:
        return known
    if _is_pickle(head, suffix):
        return Format.PICKLE
    if suffix == ".safetensors" or _is_safetensors(head, size):
        return Format.SAFETENSORS
    if suffix == ".gguf":
        return Format.GGUF
    if suffix == ".onnx":
        return Format.ONNX
    if looks_like_onnx(head) and suffix not in PICKLE_SUFFIXES:
        return Format.ONNX
    return Format.UNREAD if is_tensorflow_js(path) else None


def _by_magic(head: bytes, suffix: str) -> Format | None:
    for magic, known in _MAGIC.items():
        if head.startswith(magic):
            return known
    if _unread_by_bytes(head) is not None:
        return Format.UNREAD
    return Format.PACKED if _packed_by_bytes(head, suffix) is not None else None


def unread_name(head: bytes, path: str) -> str | None:
    """Name the format of a file, if it is one that is known but not read."""
    suffix = PurePosixPath(path).suffix.lower()
    return (
        _unread_by_bytes(head)
        or _packed_by_bytes(head, suffix)
        or ("TensorFlow.js" if is_tensorflow_js(path) else None)
    )


def is_tensorflow(head: bytes, path: str) -> bool:
    """Tell whether a `.pb` file that is of no other format begins as a TensorFlow graph does.

    What TensorFlow finds by its name may begin with anything: it skips fields unknown to it.
    """
    file = PurePosixPath(path)
    named = file.name in ("saved_model.pb", "keras_metadata.pb")
    return named or (file.suffix.lower() == ".pb" and head.startswith(_GRAPH_STARTS))


def _packed_by_bytes(head: bytes, suffix: str) -> str | None:
    if suffix in PICKLE_SUFFIXES and head.startswith(_PACKED_PICKLE):
        return "zlib or lzma"
    return next((name for magic, name in PACKED_MAGIC.items() if head.startswith(magic)), None)


def _unread_by_bytes(head: bytes) -> str | None:
    if _is_ctranslate2(head):
        return "CTranslate2"
    return next((name for magic, name in UNREAD_MAGIC.items() if head.startswith(magic)), None)


def _is_pickle(head: bytes, suffix: str) -> bool:
    """Tell a pickle; a file that may be safetensors as well is what its name lets be loaded."""
    marked = head[:1] == b"\x80" and suffix not in (".safetensors", ".gguf", ".onnx")
    if not marked and suffix not in PICKLE_SUFFIXES:
        return False
    # Most models have none, and what walks them takes long to import.
    from steelyard.checkpoints.pickles import looks_like_pickle

    return looks_like_pickle(head)


def _is_ctranslate2(head: bytes) -> bool:
    """Tell a CTranslate2 model: a version, then a counted name such as `WhisperSpec`."""
    version, length = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:6], "little")
    return 0 < version < 100 and head[6 : 6 + length].endswith(b"Spec\0")


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and 2 <= length <= size - 8 and head[8:9] == b"{"
