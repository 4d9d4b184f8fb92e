"""One digest for many: a Merkle tree in the shape of RFC 6962, with BLAKE3.

A leaf is hashed with a 0x00 before it and a pair of nodes with a 0x01, so neither can be passed
off as the other. Everything in a leaf that varies in length says how long it is, so two leaves
are equal only when every part of them is. With the tree, membership of one tensor can be shown
with a handful of digests, without the other tensors.

Source: RFC 6962 section 2.1 (the shape and the prefixes; its SHA-256 is BLAKE3 here).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blake3 import blake3


def leaf(name: str, dtype: str, encoding: str, shape: Sequence[int], digest: bytes) -> bytes:
    """Encode what identifies one tensor, unambiguously.

    Every text is UTF-8 after its length in bytes; every number is 8 bytes, little-endian
    (16 for a dimension, so that no claimed shape fails to fit).

    Args:
        name: Canonical name.
        dtype: Element type, a key of `DTYPE_BITS`.
        encoding: How elements are packed.
        shape: Row-major, slowest dimension first.
        digest: BLAKE3 of the tensor's canonical bytes, 32 bytes.
    """
    parts: list[bytes] = []
    for text in (name, dtype, encoding):
        written = text.encode("utf-8", "surrogatepass")
        parts += (len(written).to_bytes(8, "little"), written)
    parts.append(len(shape).to_bytes(8, "little"))
    parts += [size.to_bytes(16, "little") for size in shape]
    parts.append(digest)
    return b"".join(parts)


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over `leaves` in the order given, 32 bytes.

    Pairing neighbors level by level and handing an odd last one up unchanged gives the same
    tree as RFC 6962's split at the largest power of two.
    """
    nodes = [blake3(b"\x00" + each).digest() for each in leaves]
    if not nodes:
        return blake3(b"").digest()
    while len(nodes) > 1:
        last = [nodes[-1]] if len(nodes) % 2 else []
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        nodes = [blake3(b"\x01" + left + right).digest() for left, right in pairs] + last
    return nodes[0]
