"""JSON, YAML and text that a stranger wrote: bounded, checked, with the place of what is wrong."""

from steelyard.checkpoints.documents.reader import (
    decode_text,
    open_text,
    parse_json,
    parse_yaml,
    read_json,
    read_text,
    starts_with_mark,
)
from steelyard.checkpoints.documents.values import JsonValue, count_values, is_encodable, shown

__all__ = [
    "JsonValue",
    "count_values",
    "decode_text",
    "is_encodable",
    "open_text",
    "parse_json",
    "parse_yaml",
    "read_json",
    "read_text",
    "shown",
    "starts_with_mark",
]
