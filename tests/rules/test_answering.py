"""Three-valued answers: Kleene's laws, intervals, monotonicity, and explanations."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.facts import Basis, Fact, FactBook, Interval, Truth, Value
from steelyard.rules import Answer, answer, parse_expression


def ask(text: str, **facts: Value) -> Answer:
    """Ask a condition; double underscores stand for dots."""
    book = FactBook(
        Fact(name.replace("__", "."), value, Basis.MEASURED) for name, value in facts.items()
    )
    return answer(parse_expression(text), book)


def truth(text: str, **facts: Value) -> Truth:
    return ask(text, **facts).truth


_FLAGS = ("card.valid", "card.present", "card.contact")


def with_flags(text: str, *values: Truth) -> Truth:
    known = {name: v for name, v in zip(_FLAGS, values, strict=False) if v is not None}
    book = FactBook(Fact(name, v, Basis.DECLARED) for name, v in known.items())
    for index, name in enumerate("abc"):
        text = text.replace(name.upper(), _FLAGS[index])
    return answer(parse_expression(text), book).truth


ALL: tuple[Truth, ...] = (True, False, None)


@pytest.mark.parametrize(("a", "b", "c"), list(product(ALL, ALL, ALL)))
def test_kleene_laws(a: Truth, b: Truth, c: Truth) -> None:
    def same(left: str, right: str) -> bool:
        return with_flags(left, a, b, c) is with_flags(right, a, b, c)

    assert same("not (A and B)", "not A or not B")
    assert same("not (A or B)", "not A and not B")
    assert same("not not A", "A")
    assert same("A and B", "B and A")
    assert same("A or (B or C)", "(A or B) or C")
    assert same("A and (B or C)", "A and B or A and C")
    assert same("A or (B and C)", "(A or B) and (A or C)")
    assert same("A and True", "A")
    assert same("A or False", "A")
    assert with_flags("A and False", a, b, c) is False
    assert with_flags("A or True", a, b, c) is True
    assert with_flags("A and B", a, b) is (
        False if False in (a, b) else None if None in (a, b) else True
    )


@pytest.mark.parametrize(
    ("compute", "more", "at_least"),
    [
        (1e25, False, True),
        (1.0000001e25, True, True),
        (9.99e24, False, False),
        (Interval(1e24, 1e25), False, None),
        (Interval(1e25, 1e26), None, True),
        (Interval(1e24, 1e26), None, None),
        (Interval(2e25, 1e26), True, True),
    ],
)
def test_strict_and_inclusive_differ_at_the_threshold(
    compute: Value, more: Truth, at_least: Truth
) -> None:
    assert truth("training.compute > 1e25", training__compute=compute) is more
    assert truth("training.compute >= 1e25", training__compute=compute) is at_least
    assert truth("not training.compute <= 1e25", training__compute=compute) is more
    assert truth("1e25 < training.compute", training__compute=compute) is more


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.layers == 32", True),
        ("model.layers != 32", False),
        ("model.layers in (12, 32)", True),
        ("model.layers not in (12, 24)", True),
        ("model.heads == 32", None),
        ("model.heads in (1, 2)", False),
        ("model.heads in (1, 31)", None),
        ("30 <= model.heads <= 34", True),
        ("model.kv_heads == 8", None),
        ("model.layers * 2 == 64", True),
        ("model.layers - model.layers == 0", True),
        ("model.layers / 0 > 1", None),
        ("model.layers / (model.heads - 32) > 1", None),
        ("model.heads + 1 > 30", True),
        ('"text" in model.modalities.output', True),
        ('"image" not in model.modalities.output', True),
        ('model.modalities.output <= {"text", "image"}', True),
        ('model.modalities.output >= {"text", "image"}', False),
        ('model.modalities.output < {"text"}', False),
        ('model.modalities.output == ("text",)', True),
        ("empty(model.modalities.output)", False),
        ("count(model.modalities.output) == 1", True),
        ('license.declared in {"MIT", "ISC"}', True),
        ('license.declared != "MIT"', False),
        ('"MIT" == license.declared', True),
        ('model.design == "encoder"', None),
        ('release.date < date("2026-08-02")', True),
        ('release.date >= date("2026-08-01")', True),
        ("weights.public == True", True),
        ("weights.public != weights.public", False),
        ("known(weights.public)", True),
        ("known(model.design)", False),
        ("contradicted(weights.public)", False),
        ("contradicted(model.design)", False),
    ],
)
def test_answers(text: str, expected: Truth) -> None:
    facts: dict[str, Value] = {
        "model__layers": 32,
        "model__heads": Interval(30, 34),
        "model__modalities__output": frozenset({"text"}),
        "license__declared": "MIT",
        "release__date": date(2026, 8, 1),
        "weights__public": True,
    }
    assert truth(text, **facts) is expected


def test_amounts_past_all_bounds_are_unknown() -> None:
    huge = 10**400
    assert truth("model.layers * 1.5 > 1", model__layers=huge) is True
    assert truth("model.layers - model.layers == 0", model__layers=huge) is None
    assert truth("model.layers > 1e308", model__layers=huge) is True
    endless = Interval(0, float("inf"))
    assert truth("training.compute - training.compute > 1", training__compute=endless) is None


def test_contradiction() -> None:
    book = FactBook(
        [Fact("model.layers", 32, Basis.MEASURED), Fact("model.layers", 30, Basis.DECLARED)]
    )
    found = answer(parse_expression("contradicted(model.layers)"), book)
    assert found == Answer(True, ("model.layers",))
    assert answer(parse_expression("model.layers == 32"), book).truth is True


@pytest.mark.parametrize(
    ("text", "because", "missing"),
    [
        # A definite answer: what was needed, and no more.
        ("card.present and card.valid", ("card.present", "card.valid"), ()),
        ("card.present and model.layers < 3 and card.contact", ("model.layers",), ()),
        ("card.contact or card.valid", ("card.valid",), ()),
        ("not card.valid and model.heads > 1", ("card.valid",), ()),
        (
            "(model.layers * model.hidden_size > 1 and card.present) or card.valid",
            ("card.valid",),
            (),
        ),
        ("model.layers < 3 or not card.valid", ("model.layers", "card.valid"), ()),
        ("not (card.present and card.valid) and card.contact", ("card.present", "card.valid"), ()),
        # An unknown one: what would settle it.
        ("card.present and card.contact", (), ("card.contact",)),
        ("card.contact and model.heads > 1", (), ("card.contact", "model.heads")),
        ("card.contact and card.limitations or model.heads > 1", (), ("model.heads",)),
        ("not (card.contact and card.limitations)", (), ("card.contact",)),
        ("training.compute > 1e25", (), ("training.compute",)),
        ("training.compute > training.compute.base / 3", (), ("training.compute.base",)),
        ("model.layers in (1, 32) and empty(card.datasets)", (), ("card.datasets",)),
        ("known(card.contact) and card.contact", ("card.contact",), ()),
    ],
)
def test_explains(text: str, because: tuple[str, ...], missing: tuple[str, ...]) -> None:
    found = ask(
        text,
        card__present=True,
        card__valid=True,
        model__layers=32,
        model__hidden_size=4096,
        training__compute=Interval(1e24, 1e26),
    )
    assert (found.because, found.missing) == (because, missing)


# --- monotonicity -------------------------------------------------------------------------

_MODALITIES = ("text", "image", "audio")
_ATOMS = st.one_of(
    st.sampled_from(_FLAGS),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["model.kv_heads", "model.heads", "model.kv_heads + model.heads"]),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        st.sampled_from(["3", "model.heads", "5 - model.kv_heads", "12 / model.heads"]),
    ),
    st.sampled_from(
        [
            '"text" in model.modalities.output',
            'model.modalities.output <= {"text", "image"}',
            "empty(model.modalities.output)",
            "count(model.modalities.output) >= 2",
            "model.kv_heads in (1, 3, 5)",
        ]
    ),
)
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
    ),
    max_leaves=6,
)
_WHOLE: dict[str, st.SearchStrategy[Value]] = {
    **{name: st.booleans() for name in _FLAGS},
    "model.kv_heads": st.integers(0, 7),
    "model.heads": st.integers(0, 7),
    "model.modalities.output": st.frozensets(st.sampled_from(_MODALITIES)),
}


def _widened(value: Value, below: int, above: int) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):
        return Interval(max(0, value - below), value + above)
    return value


@settings(max_examples=300)
@given(text=_EXPRESSIONS, data=st.data())
def test_learning_never_flips_a_definite_answer(text: str, data: st.DataObject) -> None:
    """A book with unknown names and wide intervals, then the same with all of it settled."""
    expression = parse_expression(text)
    exact = {name: data.draw(values) for name, values in _WHOLE.items()}
    vague = {
        name: _widened(value, data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3)))
        for name, value in exact.items()
        if data.draw(st.booleans())
    }
    before = answer(expression, FactBook(Fact(n, v, Basis.DECLARED) for n, v in vague.items()))
    after = answer(expression, FactBook(Fact(n, v, Basis.DECLARED) for n, v in exact.items()))
    if before.truth is not None:
        assert after.truth is before.truth
        assert not before.missing
        # What decided it decides it alone.
        alone = FactBook(Fact(n, vague[n], Basis.DECLARED) for n in before.because)
        assert answer(expression, alone).truth is before.truth
    else:
        assert before.missing
        assert not before.because
        for name in before.missing:
            assert name not in vague or isinstance(vague[name], Interval) or "/" in text
