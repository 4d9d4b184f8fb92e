"""The laws of Kleene's three-valued logic."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from steelyard.facts import Truth, conjoin, disjoin, negate

TRUTHS: tuple[Truth, ...] = (True, False, None)
truths = st.lists(st.sampled_from(TRUTHS), max_size=6)


def test_tables() -> None:
    assert [negate(a) for a in TRUTHS] == [False, True, None]
    conjunctions = [conjoin(pair) for pair in product(TRUTHS, repeat=2)]
    assert conjunctions == [True, False, None, False, False, False, None, False, None]
    disjunctions = [disjoin(pair) for pair in product(TRUTHS, repeat=2)]
    assert disjunctions == [True, True, True, True, False, None, True, None, None]


@given(truths)
def test_de_morgan(values: list[Truth]) -> None:
    assert negate(conjoin(values)) is disjoin([negate(value) for value in values])


@given(truths, truths)
def test_associative(a: list[Truth], b: list[Truth]) -> None:
    assert conjoin([*a, *b]) is conjoin([conjoin(a), conjoin(b)])


@given(truths, st.data())
def test_learning_never_flips_a_definite_answer(values: list[Truth], data: st.DataObject) -> None:
    learned = [data.draw(st.booleans()) if value is None else value for value in values]
    for join in (conjoin, disjoin):
        before = join(values)
        assert before is None or join(learned) is before
