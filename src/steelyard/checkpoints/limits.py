"""How much a hostile file may ask for before a reader refuses.

Real models stay far below these; a file that does not is refused with a `LimitExceeded` that
names the limit. Memory is bounded by these numbers, never by what a file claims.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False, repr=False)
class Limits:
    """Bounds on one file. All sizes in bytes.

    Nothing compares or prints them, and every method of a class this wide costs a start-up.
    """

    header_bytes: int = 100_000_000
    """Longest header; safetensors' own bound."""
    json_nodes: int = 2_000_000
    """Most values in one JSON document, and in all documents of one model; each costs about 100
    bytes of memory."""
    json_memory: int = 350_000_000
    """Most memory that one JSON document may take while it is parsed, as estimated before."""
    depth: int = 64
    """Deepest nesting of any structure."""
    tensors: int = 250_000
    """Most tensors in one file, and in all files of one model."""
    rank: int = 32
    """Most dimensions of one tensor."""
    name_bytes: int = 4096
    """Longest name or key."""
    string_bytes: int = 16_000_000
    """Longest single string (a chat template, a tokenizer model)."""
    metadata_keys: int = 100_000
    """Most metadata entries."""
    array_items: int = 16_000_000
    """Most items in one metadata array; arrays are skipped over, not kept, past `kept_items`."""
    kept_items: int = 64
    """Items of a metadata array that are kept in `Checkpoint.metadata`."""
    opcodes: int = 2_000_000
    """Most steps in one file, and in all files of one model: pickle opcodes interpreted, protobuf
    fields walked, nested arrays passed over. Each takes one to three microseconds."""
    examined_opcodes: int = 50_000_000
    """Most pickle opcodes that all files of one model may take to be examined for code; each takes
    about half a microsecond, and nothing of what they make is kept."""
    examined_values: int = 4_000_000
    """Most values that one pickle may have at hand while it is examined; each takes about 100
    bytes of memory."""
    unpacked_bytes: int = 2_000_000_000
    """Most bytes that may come out of all compressed data of one model while it is examined."""
    nested: int = 12
    """Most containers within one another (archives, compressed data, pickles in strings)."""
    inner_files: int = 200_000
    """Most members, streams and strings that are looked into within one file."""
    members: int = 100_000
    """Most members of one archive."""
    document_bytes: int = 16_000_000
    """Longest JSON, YAML or text document."""


DEFAULT_LIMITS = Limits()
"""What every reader uses unless it is told otherwise."""
