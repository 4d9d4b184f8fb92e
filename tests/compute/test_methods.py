"""Estimates of training compute: the guidelines' own examples, and the laws of the methods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.compute import break_even, by_architecture, by_hardware, derive, estimates
from steelyard.compute.hardware import accelerator, accelerators
from steelyard.facts import Basis, Fact, FactBook, Interval, Value


def book(**facts: Value) -> FactBook:
    return FactBook(
        Fact(name.replace("__", "."), value, Basis.DECLARED) for name, value in facts.items()
    )


def derived(**facts: Value) -> dict[str, Fact]:
    return {fact.name: fact for fact in derive(book(**facts))}


def bounds(value: Value) -> Interval:
    assert isinstance(value, int | float | Interval)
    return Interval.of(value)


@pytest.mark.parametrize(
    ("parameters", "tokens", "printed"),
    [
        (3.8e9, 3.3e12, 7.5e22),
        (0.6e9, 36e12, 1.3e23),
        (1.54e9, 18e12, 1.6e23),
        (1.7e9, 36e12, 3.7e23),
        (2.5e9, 12e12, 1.8e23),
        (2.6e9, 61e9 * 164, 1.5e23),
        (37e9, 14.8e12, 3.3e24),
    ],
)
def test_the_examples_by_architecture(parameters: float, tokens: float, printed: float) -> None:
    found = by_architecture(
        book(model__parameters__active=round(parameters), training__tokens=tokens)
    )
    assert found is not None
    product = 6 * parameters * tokens
    assert found.flop.low <= product <= found.flop.high
    assert product == pytest.approx(printed, rel=0.06)


@pytest.mark.parametrize(
    ("hours", "peak", "utilization", "printed"),
    [(370_000, 989e12, 0.5, 6.5e23), (200_000, 300e12, 0.5, 1e23)],
)
def test_the_examples_by_hardware(
    hours: float, peak: float, utilization: float, printed: float
) -> None:
    found = by_hardware(
        book(
            training__hardware__total_hours=hours,
            training__hardware__peak=peak,
            training__hardware__utilization=utilization,
        )
    )
    assert found is not None
    assert found.flop.low <= printed <= found.flop.high
    assert found.flop.middle == pytest.approx(printed, rel=0.1)


def test_a_mixture_of_experts_counts_its_active_parameters() -> None:
    found = by_architecture(
        book(
            model__parameters__total=671 * 10**9,
            model__parameters__active=37 * 10**9,
            training__tokens=14.8e12,
        )
    )
    assert found is not None
    assert found.parents[0] == "model.parameters.active"
    assert found.flop.high < 6e24


def test_two_methods_stand_side_by_side_and_the_hull_holds_both() -> None:
    facts: dict[str, Value] = {
        "model__parameters__total": 1_230_000_000,
        "training__tokens": 9e12,
        "training__hardware__type": "NVIDIA H100 SXM",
        "training__hardware__total_hours": 370_000,
        "training__hardware__utilization": 0.5,
    }
    methods = {one.method: one.flop for one in estimates(book(**facts))}
    assert methods["architecture"].high < 1e23 < methods["hardware"].low
    found = derived(**facts)
    total = bounds(found["training.compute"].value)
    assert total == Interval.hull(*methods.values())
    assert "architecture" in found["training.compute"].note
    assert "hardware" in found["training.compute"].note
    assert bounds(found["training.compute.highest"].value) == methods["hardware"]


def test_tokens_are_data_times_passes() -> None:
    once = by_architecture(book(model__parameters__total=10**9, training__tokens=1e12))
    twice = by_architecture(
        book(
            model__parameters__total=10**9,
            training__dataset_tokens=0.25e12,
            training__epochs=4.0,
        )
    )
    assert once is not None
    assert twice is not None
    assert once.flop == twice.flop
    assert by_architecture(book(model__parameters__total=10**9, training__epochs=4.0)) is None


def test_attention_adds_what_the_sequence_length_asks_for() -> None:
    plain: dict[str, Value] = {"model__parameters__total": 10**9, "training__tokens": 1e12}
    longer: dict[str, Value] = {
        **plain,
        "model__layers": 24,
        "model__hidden_size": 2048,
        "training__sequence_length": 32768,
    }
    without, with_it = by_architecture(book(**plain)), by_architecture(book(**longer))
    assert without is not None
    assert with_it is not None
    assert with_it.flop.low > without.flop.low
    encoder = by_architecture(book(**longer, model__design="encoder"))
    assert encoder is not None
    assert encoder.flop.low > with_it.flop.low, "an encoder attends to both sides"


def test_unknown_utilization_is_an_assumption_and_named() -> None:
    found = by_hardware(
        book(
            training__hardware__type="A100",
            training__hardware__units=1000,
            training__hardware__hours=240.0,
        )
    )
    assert found is not None
    assert found.flop.factor > 2
    assert any("utilization" in text for text in found.assumptions)
    assert by_hardware(book(training__hardware__type="abacus",
                            training__hardware__total_hours=5)) is None  # fmt: skip


def test_every_accelerator_has_a_source_and_a_plausible_peak() -> None:
    known = accelerators()
    assert len(known) >= 40
    for item in known:
        assert item.source
        assert item.usual[0] in item.peaks
        assert all(1e12 < peak < 2e16 for peak in item.peaks.values())
    for name in (
        "H100",
        "NVIDIA H100 SXM5 80GB",
        "h100",
        "A100-SXM4-80GB",
        "Google TPU v4",
        "TPU v5p",
    ):
        assert accelerator(name), name


def test_break_even() -> None:
    assert break_even(1e25, 41e9) == pytest.approx(40.7e12, rel=0.002)


# --- what counts --------------------------------------------------------------------------


def test_base_and_own_add_up() -> None:
    found = derived(training__compute__own=1.11e24, training__compute__base=3.8e25)
    assert bounds(found["training.compute"].value) == Interval.of(1.11e24 + 3.8e25)


@pytest.mark.parametrize("relation", ["quantized", "merge"])
def test_what_is_not_trained_further_has_the_compute_of_its_base(relation: str) -> None:
    declared = [
        Fact("lineage.declared_relation", relation, Basis.DECLARED),
        Fact("training.compute.base", 3e24, Basis.DECLARED),
    ]
    found = {fact.name: fact for fact in derive(FactBook(declared))}
    assert found["training.compute"].value == 3e24
    assert "training.compute.own" not in found, "nobody said that it is nothing"


def test_a_derivative_is_not_estimated_from_the_figures_of_its_base() -> None:
    found = derived(
        model__parameters__total=7 * 10**9,
        training__tokens=2e12,
        lineage__declared_base=frozenset({"a/b"}),
    )
    assert "training.compute.own" not in found
    assert "training.compute" not in found


def test_synthetic_data_counts_unless_it_is_public() -> None:
    facts: dict[str, Value] = {
        "model__parameters__total": 10**10,
        "training__tokens": 1e13,
        "training__synthetic__generated_tokens": 1e13,
        "training__synthetic__generator_parameters": 1e11,
    }
    kept = derived(**facts, training__synthetic__public=False)
    public = derived(**facts, training__synthetic__public=True)
    unknown = derived(**facts)
    assert bounds(kept["training.compute.synthetic"].value) == Interval.of(2e24)
    assert bounds(public["training.compute.synthetic"].value) == Interval.of(0)
    assert bounds(unknown["training.compute"].value) == Interval.hull(
        bounds(kept["training.compute"].value), bounds(public["training.compute"].value)
    )
    assert kept["training.compute.direct"].value == public["training.compute.direct"].value


def test_a_teacher_is_not_counted() -> None:
    facts: dict[str, Value] = {"model__parameters__total": 8 * 10**9, "training__tokens": 15e12}
    alone, taught = derived(**facts), derived(**facts, training__compute__teacher=2e25)
    assert alone["training.compute"].value == taught["training.compute"].value


def test_a_stated_figure_alone_is_taken_as_direct_and_says_so() -> None:
    found = derived(training__compute=3e24)
    assert found.keys() == {"training.compute.direct"}
    assert found["training.compute.direct"].basis is Basis.ASSUMED


def test_without_any_figure_a_plausible_range_is_assumed() -> None:
    small = derived(model__parameters__total=135_000_000)["training.compute"]
    assert small.basis is Basis.ASSUMED
    assert bounds(small.value).high < 1e23
    large = derived(model__parameters__total=41 * 10**9)["training.compute"]
    assert bounds(large.value).low == 0
    assert bounds(large.value).high > 1e25
    assert derived() == {}


# --- laws ---------------------------------------------------------------------------------

_PARAMETERS = st.integers(10**6, 10**12)
_TOKENS = st.floats(1e8, 1e14)


@given(_PARAMETERS, _TOKENS, st.floats(1, 10))
def test_more_tokens_never_give_less_compute(parameters: int, tokens: float, more: float) -> None:
    few = by_architecture(book(model__parameters__total=parameters, training__tokens=tokens))
    many = by_architecture(
        book(model__parameters__total=parameters, training__tokens=tokens * more)
    )
    assert few is not None
    assert many is not None
    assert many.flop.low >= few.flop.low
    assert many.flop.high >= few.flop.high


@given(_PARAMETERS, _TOKENS, st.floats(1e3, 1e8), st.floats(0.1, 0.9))
def test_the_hull_holds_every_estimate(
    parameters: int, tokens: float, hours: float, utilization: float
) -> None:
    facts: dict[str, Value] = {
        "model__parameters__total": parameters,
        "training__tokens": tokens,
        "training__hardware__type": "A100",
        "training__hardware__total_hours": hours,
        "training__hardware__utilization": utilization,
    }
    total = bounds(derived(**facts)["training.compute"].value)
    for one in estimates(book(**facts)):
        assert total.low <= one.flop.low <= one.flop.high <= total.high


@given(st.floats(1e20, 1e27), _PARAMETERS)
def test_break_even_is_the_inverse_of_the_estimate(threshold: float, parameters: int) -> None:
    tokens = break_even(threshold, parameters)
    found = by_architecture(book(model__parameters__total=parameters, training__tokens=tokens))
    assert found is not None
    assert found.flop.low <= threshold <= found.flop.high
