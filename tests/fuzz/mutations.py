"""Deterministic damage for fuzz tests: from one valid file, many almost valid ones.

`mutations(data, seed, count)` yields `count` damaged copies of `data`. The same arguments give
the same copies on every machine, so a failure is repeated by its seed and number alone. Each
copy has one to three wounds, of the kinds in `WOUNDS`.

    for number, damaged in enumerate(mutations(valid, seed=7, count=300)):
        try:
            read(BytesReader("fuzz", damaged))
        except CheckpointError:
            pass
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

EXTREMES: tuple[int, ...] = (0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1)
"""What a length, a count or an offset is overwritten with; cut to 4 bytes where it must fit."""

MOST_COPIED = 256
"""Longest slice that is duplicated or deleted, and four times the longest random splice."""

Wound = Callable[[bytearray, Random], None]


def _place(data: bytearray, rng: Random) -> int:
    """Choose a position; half of them in the first 512 bytes, where headers are."""
    if rng.random() < 0.5:
        return rng.randrange(min(len(data), 512))
    return rng.randrange(len(data))


def flip_bit(data: bytearray, rng: Random) -> None:
    """Flip one bit."""
    data[_place(data, rng)] ^= 1 << rng.randrange(8)


def set_byte(data: bytearray, rng: Random) -> None:
    """Set one byte to any value."""
    data[_place(data, rng)] = rng.randrange(256)


def truncate(data: bytearray, rng: Random) -> None:
    """Cut the end off."""
    del data[_place(data, rng) :]


def duplicate_slice(data: bytearray, rng: Random) -> None:
    """Insert a copy of a slice right after it."""
    start = _place(data, rng)
    piece = data[start : start + rng.randint(1, MOST_COPIED)]
    data[start + len(piece) : start + len(piece)] = piece


def delete_slice(data: bytearray, rng: Random) -> None:
    """Take a slice out."""
    start = _place(data, rng)
    del data[start : start + rng.randint(1, MOST_COPIED)]


def overwrite_integer(data: bytearray, rng: Random) -> None:
    """Overwrite 4 or 8 bytes with an extreme integer, in either byte order."""
    width = rng.choice((4, 8))
    value = rng.choice(EXTREMES) % 2 ** (8 * width)
    start = _place(data, rng)
    packed = value.to_bytes(width, rng.choice(("little", "big")))
    data[start : start + width] = packed


def splice_random(data: bytearray, rng: Random) -> None:
    """Insert random bytes."""
    start = _place(data, rng)
    data[start:start] = rng.randbytes(rng.randint(1, MOST_COPIED // 4))


WOUNDS: tuple[Wound, ...] = (
    flip_bit,
    set_byte,
    truncate,
    duplicate_slice,
    delete_slice,
    overwrite_integer,
    splice_random,
)
"""Every kind of damage; each is chosen equally often."""


def mutations(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield `count` damaged copies of `data`, the same ones for the same `seed`."""
    rng = Random(seed)  # noqa: S311  repeatable damage, not a secret
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            if copy:
                rng.choice(WOUNDS)(copy, rng)
        yield bytes(copy)
