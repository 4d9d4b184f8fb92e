"""A book keeps every claim, answers with the strongest, and finds what cannot all be true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import FactError
from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval, agree

NAME = "model.parameters.total"
amounts = st.one_of(
    st.integers(0, 10**12),
    st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)).map(
        lambda pair: Interval(min(pair), max(pair))
    ),
)
claims = st.lists(st.builds(Fact, st.just(NAME), amounts, st.sampled_from(list(Basis))), max_size=6)


@given(claims)
def test_no_claim_is_lost_and_the_strongest_answers(facts: list[Fact]) -> None:
    book = FactBook(facts)
    assert set(book.claims(NAME)) == set(facts)
    answer = book.resolve(NAME)
    if not facts:
        assert answer is None
    else:
        assert answer is not None
        assert answer.basis.strength == max(fact.basis.strength for fact in facts)


@given(claims, st.randoms())
def test_the_order_of_claims_of_different_strength_does_not_matter(
    facts: list[Fact], random: object
) -> None:
    by_basis = {fact.basis: fact for fact in facts}
    forward = FactBook(by_basis.values()).resolve(NAME)
    backward = FactBook(reversed(by_basis.values())).resolve(NAME)
    assert forward == backward


@given(claims)
def test_a_contradiction_names_claims_that_disagree_and_only_those(facts: list[Fact]) -> None:
    found = FactBook(facts).contradiction(NAME)
    held = [fact for fact in facts if fact.basis is not Basis.ASSUMED]
    torn = {a for a in held for b in held if not agree(a.value, b.value)}
    assert set(found.claims if found else ()) == torn


def test_declared_size_against_count() -> None:
    book = FactBook(
        [
            Fact(NAME, Interval(6.65e9, 7.35e9), Basis.DECLARED, (Evidence("README.md", line=3),)),
            Fact(NAME, 6_600_000_000, Basis.MEASURED),
        ]
    )
    found = book.contradiction(NAME)
    assert found is not None
    assert [claim.basis for claim in found.claims] == [Basis.MEASURED, Basis.DECLARED]
    assert book.value(NAME) == 6_600_000_000
    assert book.contradictions() == (found,)


def test_an_assumption_contradicts_nobody() -> None:
    book = FactBook([Fact(NAME, 1, Basis.ASSUMED), Fact(NAME, 2, Basis.MEASURED)])
    assert book.contradictions() == ()


def test_sets_of_the_strongest_basis_are_joined() -> None:
    name = "lineage.declared_base"
    book = FactBook(
        [
            Fact(name, frozenset({"a/b"}), Basis.DECLARED, (Evidence("README.md"),)),
            Fact(name, frozenset({"c/d"}), Basis.DECLARED, (Evidence("model.gguf"),)),
            Fact(name, frozenset({"e/f"}), Basis.ASSUMED),
        ]
    )
    joined = book.resolve(name)
    assert joined is not None
    assert joined.value == {"a/b", "c/d"}
    assert [evidence.file for evidence in joined.evidence] == ["README.md", "model.gguf"]
    assert book.contradictions() == ()


def test_the_same_claim_twice_is_one() -> None:
    fact = Fact(NAME, 5, Basis.MEASURED, (Evidence("model.gguf"),))
    assert FactBook([fact, fact]).claims(NAME) == (fact,)


def test_a_name_outside_the_vocabulary_is_refused_with_a_suggestion() -> None:
    with pytest.raises(FactError) as caught:
        FactBook([Fact("model.parameter.total", 5, Basis.MEASURED)])
    assert "model.parameters.total" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (NAME, "many"),
        (NAME, -1),
        (NAME, 1.5),
        (NAME, True),
        ("weights.public", 1),
        ("model.design", "encoder decoder"),
        ("model.modalities.output", frozenset({"smell"})),
        ("release.date", "2026-11-23"),
        ("license.declared", frozenset({"MIT"})),
        ("training.compute", float("inf")),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(FactError):
        FactBook([Fact(name, value, Basis.DECLARED)])  # type: ignore[arg-type]  # the point of it


def test_iterating_yields_each_name_once_in_order() -> None:
    book = FactBook([Fact(NAME, 5, Basis.MEASURED), Fact("files.count", 2, Basis.MEASURED)])
    assert [fact.name for fact in book] == ["files.count", NAME]
    assert NAME in book
    assert "model.layers" not in book
