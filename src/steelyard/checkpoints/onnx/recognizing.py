"""Tell ONNX by its first bytes: protobuf has no magic number, but a ModelProto has few fields.

Source: ModelProto in https://github.com/onnx/onnx/blob/main/onnx/onnx.in.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from steelyard.checkpoints.onnx.protobuf import LARGEST_MESSAGE, LEN, VARINT, decode_varint, tag

HEAD_BYTES: Final = 256
"""Bytes that `looks_like_onnx` wants to see; fewer will do."""
IR_VERSION, DOC_STRING, GRAPH, OPSET, METADATA, TRAINING, FUNCTION = 1, 6, 7, 8, 14, 20, 25
"""Numbers of fields."""
TEXTS: Final[Mapping[int, str]] = MappingProxyType(
    {2: "producer_name", 3: "producer_version", 4: "domain"}
)

_HIGHEST_IR_VERSION: Final = 255
"""Far above any that exists (14 in 2026); to tell ONNX from chance."""
_LONGEST_LABEL: Final = 4096
"""Longest name of a producer, and longest opset entry, that a model is thought to have."""
_FIRST_BYTES: Final[Mapping[int, frozenset[int]]] = MappingProxyType(
    {
        GRAPH: frozenset(tag(number, LEN) for number in (1, 2, 5, 10, 11, 12, 13, 14, 15)),
        OPSET: frozenset({tag(1, LEN), tag(2, VARINT)}),
        METADATA: frozenset({tag(1, LEN), tag(2, LEN)}),
    }
)
"""What the first byte of a ModelProto's messages can be."""
_MESSAGES: Final = frozenset({TRAINING, FUNCTION, 26})


def looks_like_onnx(head: bytes) -> bool:
    """Tell whether a file that begins with `head` may be an ONNX model.

    True only if every field in sight is one of a ModelProto with a value that makes sense, the
    format's version among them, and another field besides. At least 16 bytes are needed to tell.
    """
    at, seen = 0, set[int]()
    while at < len(head):
        key = decode_varint(head, at)
        number = decode_varint(head, key[1]) if key else None
        if key is None or number is None:
            break
        (label, _), (value, at) = key, number
        wire = label & 7
        if not _plausible(label >> 3, wire, value, head[at : at + value] if wire == LEN else b""):
            return False
        seen.add(label >> 3)
        at += value if wire == LEN else 0
    return IR_VERSION in seen and len(seen) > 1


def _plausible(number: int, wire: int, value: int, payload: bytes) -> bool:
    """Tell whether a field may be one of a ModelProto; `payload` may be cut short."""
    if wire == VARINT:
        return number == 5 or (number == IR_VERSION and 0 < value <= _HIGHEST_IR_VERSION)
    if wire != LEN or value > LARGEST_MESSAGE:
        return False
    if number in TEXTS or number == DOC_STRING:
        text = payload.decode("utf-8", "replace").rstrip("\ufffd")
        whole = "\ufffd" not in text and all(c.isprintable() or c.isspace() for c in text)
        return whole and (number == DOC_STRING or value <= _LONGEST_LABEL)
    if number in _FIRST_BYTES:
        if number == OPSET and value > _LONGEST_LABEL:
            return False
        return not payload or payload[0] in _FIRST_BYTES[number]
    return number in _MESSAGES
