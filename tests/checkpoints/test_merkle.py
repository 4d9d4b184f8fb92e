"""Order and containers do not matter to the root; every part of every leaf does."""

from __future__ import annotations

from dataclasses import replace

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints import merkle
from steelyard.checkpoints.digests import TensorDigest, identity

leaves = st.builds(
    TensorDigest,
    st.just("n"),
    st.text(max_size=6),
    st.sampled_from(["F32", "BF16", "F"]),
    st.sampled_from(["plain", "Q4_K", ""]),
    st.lists(st.integers(0, 2**64), max_size=3).map(tuple),
    st.binary(min_size=32, max_size=32),
)


@given(st.lists(leaves, min_size=1, max_size=20), st.randoms())
def test_order_does_not_matter(tensors: list[TensorDigest], random: object) -> None:
    shuffled = list(tensors)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert identity(shuffled) == identity(tensors)


@given(leaves, leaves)
def test_leaves_are_equal_only_when_every_part_is(a: TensorDigest, b: TensorDigest) -> None:
    assert (a.leaf == b.leaf) == (a == b)


@given(leaves)
def test_every_part_of_a_leaf_counts(tensor: TensorDigest) -> None:
    others = [
        replace(tensor, canonical=tensor.canonical + "a"),
        replace(tensor, dtype=tensor.dtype + "p", encoding=tensor.encoding),
        replace(tensor, encoding=tensor.encoding + "x"),
        replace(tensor, shape=(*tensor.shape, 1)),
        replace(tensor, digest=bytes([tensor.digest[0] ^ 1]) + tensor.digest[1:]),
    ]
    roots = {identity([each]) for each in (tensor, *others)}
    assert len(roots) == 6


def merkle_tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return blake3(b"").digest()
    if len(leaves) == 1:
        return blake3(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = merkle_tree(leaves[:split]), merkle_tree(leaves[split:])
    return blake3(b"\x01" + left + right).digest()


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_the_tree_has_the_shape_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == merkle_tree(leaves)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=8))
def test_an_inner_node_is_no_leaf(leaves: list[bytes]) -> None:
    nodes = [blake3(b"\x00" + each).digest() for each in leaves[:2]]
    assert merkle.root([b"".join(nodes), *leaves[2:]]) != merkle.root(leaves)
