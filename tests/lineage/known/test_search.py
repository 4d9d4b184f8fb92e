"""Signatures: relatives agree whatever was done to them, independent models do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.lineage.known.search import (
    BITS,
    WORDS,
    Parts,
    Signature,
    agreements,
    candidates,
    cosine,
    signature,
    threshold,
)
from steelyard.lineage.matrix import Floats


def normal(seed: int, rows: int = 64, columns: int = 384) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def model(seed: int, columns: int = 384) -> Parts:
    tokens = normal(seed, 64, columns)
    neurons = [normal(seed + step, 64, columns) for step in (1000, 2000)]
    return Parts(tokens, neurons, [rows @ tokens.T for rows in neurons])


def between(own: Parts, other: Parts) -> float:
    return float(agreements(signature(own), signature(other)[:, None])[0])


def drifted(matrix: Floats, wanted: float, seed: int) -> Floats:
    noise = normal(seed, *matrix.shape)
    moved: Floats = wanted * matrix + math.sqrt(1 - wanted**2) * noise
    return moved


def in_eight_bits(matrix: Floats) -> Floats:
    step = np.abs(matrix).max(axis=1, keepdims=True) / 7
    rounded: Floats = np.round(matrix / step) * step
    return rounded


@given(st.integers(0, 10_000))
def test_a_model_agrees_with_itself_and_with_no_other(seed: int) -> None:
    assert between(model(seed), model(seed)) == 1
    assert between(model(seed), model(seed + 10_001)) < threshold(100_000)


@pytest.mark.parametrize("wanted", [0.99, 0.95, 0.7, 0.5])
@pytest.mark.parametrize("columns", [64, 384, 512])
def test_the_agreement_tells_the_cosine(wanted: float, columns: int) -> None:
    base = normal(1, 64, columns)
    found = between(Parts(base), Parts(drifted(base, wanted, 2)))
    assert cosine(found) == pytest.approx(wanted, abs=0.1)
    assert found > threshold(100_000)


def test_four_bits_hardly_change_a_signature() -> None:
    base = normal(3)
    assert between(Parts(base), Parts(in_eight_bits(base))) > 0.9


def test_what_one_disguise_breaks_another_part_keeps() -> None:
    base = model(4)
    assert base.embedding is not None
    chance = np.random.default_rng(0)
    tokens, neurons, columns = (chance.permutation(n) for n in (64, 64, 384))
    rotation = np.linalg.qr(normal(5, 384, 384))[0].astype(np.float32)
    disguised = {
        "tokens": Parts(base.embedding[tokens], base.neurons, [t[:, tokens] for t in base.answers]),
        "neurons": Parts(
            base.embedding, [n[neurons] for n in base.neurons], [t[neurons] for t in base.answers]
        ),
        "columns": Parts(
            base.embedding[:, columns], [n[:, columns] for n in base.neurons], base.answers
        ),
        "rotation": Parts(
            base.embedding @ rotation, [n @ rotation for n in base.neurons], base.answers
        ),
        "scaled": Parts(
            None, [n * np.arange(1, 65, dtype=np.float32)[:, None] for n in base.neurons]
        ),
        "layer dropped": Parts(None, base.neurons[1:]),
    }
    for means, parts in disguised.items():
        assert between(parts, base) > 0.95, means


def test_what_all_rows_share_is_not_likeness() -> None:
    common = 5 + 3 * normal(6, 1)
    own, other = normal(7) + common, normal(8) + common
    assert abs(between(Parts(own), Parts(other))) < threshold(100_000)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((0, 0)), np.zeros((64, 384)), np.ones((64, 384)), np.full((64, 384), np.nan),
        np.full((64, 384), 3e38), np.full((64, 384), np.inf), np.zeros(9000), np.ones((3, 3)),
    ],
)  # fmt: skip
def test_what_says_nothing_has_no_bits(matrix: Floats) -> None:
    assert not signature(Parts(matrix.astype(np.float32))).any()


def test_a_model_without_parts_finds_nothing() -> None:
    block = signature(model(1))[:, None]
    places, hits, agreeing = candidates(signature(Parts()), block, 5)
    assert (len(places), hits, len(agreeing)) == (0, 0, 0)
    assert candidates(signature(model(1)), np.zeros((WORDS, 0), np.uint64), 5)[1] == 0


def test_an_entry_without_parts_is_not_found() -> None:
    assert between(model(1), Parts()) < threshold(100_000)


def noise(entries: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    chance = np.random.default_rng(11)
    return np.frombuffer(chance.bytes(8 * WORDS * entries), np.uint64).reshape(WORDS, entries)


def test_relatives_come_first_among_many() -> None:
    block = noise(40_000).copy()
    base = model(20)
    assert base.embedding is not None
    planted = {17: 0.5, 39_999: 0.95, 20_000: 0.7}
    for at, wanted in planted.items():
        block[:, at] = signature(Parts(drifted(base.embedding, wanted, at)))
    places, hits, agreeing = candidates(signature(base), block, 10)
    assert places[:3].tolist() == [39_999, 20_000, 17]
    assert 3 <= hits <= 4
    assert len(places) == 10
    assert (np.diff(agreeing) <= 0).all()


def test_the_threshold_bounds_false_hits() -> None:
    """At the threshold for one false hit, 20 queries of 20,000 entries may have 20 of them."""
    block = noise(20_000)
    found = sum(candidates(signature(model(seed)), block, 1)[1] for seed in range(20))
    assert found <= 20


def test_the_bits_are_those_that_the_format_names() -> None:
    """A change here is a new version of the file format."""
    tokens = np.arange(64 * 64, dtype=np.float64).reshape(64, 64) ** 2 % 97
    bits: Signature = signature(Parts(tokens.astype(np.float32)))
    assert bits[:2].tolist() == EXPECTED
    assert not bits[BITS // 64 :].any()


EXPECTED = [4228442938036775872, 10221588095837234220]
