"""What counts toward training compute, the methods for models of other kinds, and hardware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.compute import (
    break_even,
    by_architecture,
    by_hardware,
    by_passes,
    derive,
    estimates,
    own_estimates,
)
from steelyard.compute.hardware import accelerator, peak_of
from steelyard.facts import Basis, Fact, FactBook, Interval, Value
from tests.compute.test_methods import book, bounds, derived

DENSE: dict[str, Value] = {"model__parameters__total": 10**10, "training__tokens": 1e13}


# --- the guidelines' examples (annex A), as printed ---------------------------------------


@pytest.mark.parametrize(
    ("letter", "facts", "printed"),
    [
        ("A", {"model__parameters__total": 3_800_000_000, "training__tokens": 3.3e12}, 7.5e22),
        ("C", {"model__parameters__total": 600_000_000, "training__tokens": 36e12}, 1.3e23),
        ("D", {"model__parameters__total": 1_540_000_000, "training__tokens": 18e12}, 1.6e23),
        ("E", {"model__parameters__total": 1_700_000_000, "training__tokens": 36e12}, 3.7e23),
        ("F", {"model__parameters__total": 2_500_000_000, "training__tokens": 12e12}, 1.8e23),
        (
            "G",
            {
                "model__parameters__total": 2_600_000_000,
                "training__dataset_tokens": 61e9,
                "training__epochs": 164.0,
            },
            1.5e23,
        ),
        (
            "B",
            {
                "training__hardware__total_hours": 200_000.0,
                "training__hardware__peak": 300e12,
                "training__hardware__utilization": 0.5,
            },
            1e23,
        ),
        (
            "H",
            {
                "training__hardware__total_hours": 370_000.0,
                "training__hardware__peak": 989e12,
                "training__hardware__utilization": 0.5,
            },
            6.5e23,
        ),
    ],
)
def test_the_examples_as_printed(letter: str, facts: dict[str, Value], printed: float) -> None:
    (one,) = estimates(book(**facts))
    assert one.flop.low <= printed <= one.flop.high, letter
    total = bounds(derived(**facts)["training.compute"].value)
    assert total == one.flop


def test_example_h_has_two_methods_tenfold_apart() -> None:
    found = derived(
        model__parameters__total=1_230_000_000,
        training__tokens=9e12,
        training__hardware__type="H100",
        training__hardware__total_hours=370_000.0,
        training__hardware__utilization=0.5,
    )["training.compute"]
    assert bounds(found.value).low < 6.7e22
    assert bounds(found.value).high > 6.5e23
    assert found.note.count("FLOP") >= 2


# --- models of other kinds ----------------------------------------------------------------


def test_an_encoder_decoder_takes_a_half_of_all_or_more() -> None:
    whole = by_architecture(book(**DENSE))
    shared = by_architecture(book(**DENSE, model__design="encoder-decoder"))
    assert whole is not None
    assert shared is not None
    assert shared.flop.low == pytest.approx(whole.flop.low / 2)
    assert shared.flop.high == whole.flop.high
    assert any("encoder or the decoder" in text for text in shared.assumptions)


def test_a_mixture_whose_active_parameters_are_unknown_gives_a_range() -> None:
    found = by_architecture(book(**DENSE, model__experts=64, model__experts__active=8))
    dense = by_architecture(book(**DENSE))
    assert found is not None
    assert dense is not None
    assert found.flop.low == pytest.approx(dense.flop.low / 8)
    assert found.flop.high == dense.flop.high


def test_diffusion_counts_passes_over_samples() -> None:
    facts: dict[str, Value] = {
        "model__parameters__total": 2 * 10**9,
        "training__sample_positions": 1024.0,
        "training__steps": 500_000.0,
        "training__batch_samples": 2048.0,
    }
    found = by_passes(book(**facts))
    assert found is not None
    product = 6 * 2e9 * 1024 * 500_000 * 2048
    assert found.flop.low <= product <= found.flop.high
    assert found.flop.factor < 1.7
    stated = by_passes(book(training__samples=1e9, training__forward_flop=1.7e12))
    assert stated is not None
    assert stated.flop.low <= 3 * 1.7e12 * 1e9 <= stated.flop.high
    assert by_passes(book(training__samples=1e9)) is None
    assert by_passes(book(training__forward_flop=1e12, training__steps=1000.0)) is None
    assert "passes" in derived(**facts)["training.compute"].note


# --- what a modifier adds -----------------------------------------------------------------

MODIFIED: dict[str, Value] = {
    "lineage__declared_base": frozenset({"org/base"}),
    "model__parameters__total": 7 * 10**9,
    "training__compute__base": 8e22,
}


def test_a_fine_tune_is_estimated_from_its_own_tokens() -> None:
    found = derived(**MODIFIED, training__own_tokens=1e10, training__tokens=2e12)
    own = bounds(found["training.compute.own"].value)
    assert own.low <= 6 * 7e9 * 1e10 <= own.high < 6e20
    assert bounds(found["training.compute"].value) == own + 8e22
    assert found["training.compute.own"].evidence[0].parents == (
        "model.parameters.total",
        "training.own_tokens",
    )


def test_an_adapter_passes_through_a_base_that_it_does_not_change() -> None:
    facts: dict[str, Value] = {
        "lineage__declared_relation": "adapter",
        "lineage__declared_base": frozenset({"org/base"}),
        "model__parameters__adapter": 20_000_000,
        "training__own_tokens": 1e9,
    }
    found = derived(**facts, training__frozen_parameters=7 * 10**9)["training.compute.own"]
    own = bounds(found.value)
    assert own.low <= (4 * 7e9 + 6 * 2e7) * 1e9 <= own.high
    assert own.high < 6 * 7e9 * 1e9, "less than training all parameters"
    assert "training.compute.own" not in derived(**facts), "the base's size is unknown"


def test_own_hours_and_own_tokens_stand_side_by_side() -> None:
    facts: dict[str, Value] = {
        **MODIFIED,
        "training__own_tokens": 1e10,
        "training__own_hours": 1000.0,
        "training__hardware__type": "A100",
    }
    methods = {one.method: one.flop for one in own_estimates(book(**facts))}
    assert methods.keys() == {"architecture", "hardware"}
    assert bounds(derived(**facts)["training.compute.own"].value) == Interval.hull(
        *methods.values()
    )


def test_hours_that_may_be_those_of_the_base_are_not_taken_for_own() -> None:
    found = derived(
        **MODIFIED, training__hardware__total_hours=370_000.0, training__hardware__type="H100"
    )
    assert "training.compute.own" not in found


def test_what_a_trainer_counted_stands_beside_the_estimates() -> None:
    found = derived(**DENSE, training__compute__own=4e23)["training.compute.own"]
    assert bounds(found.value).low == 4e23
    assert bounds(found.value).high > 6e23
    assert "declared" in found.note
    assert "architecture" in found.note


# --- what counts --------------------------------------------------------------------------

GENERATED = 100 * 1000.0
KEPT = 10 * 1000.0


def generated(**facts: Value) -> dict[str, Fact]:
    return derived(
        model__parameters__total=10**9,
        training__tokens=KEPT,
        training__synthetic__generated_tokens=GENERATED,
        training__synthetic__generator_parameters=7e9,
        **facts,
    )


def test_t36_discarded_samples_count_when_the_data_is_not_public() -> None:
    found = generated(training__synthetic__public=False)
    assert bounds(found["training.compute.synthetic"].value) == Interval.of(2 * 7e9 * GENERATED)
    total, direct = found["training.compute"], found["training.compute.direct"]
    assert bounds(total.value) == bounds(direct.value) + 2 * 7e9 * GENERATED


def test_t37_public_synthetic_data_may_be_left_out() -> None:
    found = generated(training__synthetic__public=True)
    assert bounds(found["training.compute.synthetic"].value) == Interval.of(0)
    assert found["training.compute"].value == found["training.compute.direct"].value


def test_t38_the_teachers_training_does_not_count_but_its_private_output_does() -> None:
    student: dict[str, Value] = {**DENSE, "training__compute__teacher": 2e25}
    alone = derived(**student)
    assert bounds(alone["training.compute"].value).high < 1e24
    fed = derived(
        **student,
        training__synthetic__generated_tokens=1e13,
        training__synthetic__generator_parameters=4e11,
        training__synthetic__public=False,
    )
    assert bounds(fed["training.compute"].value) == bounds(alone["training.compute"].value) + 8e24


def test_synthetic_data_of_an_unknown_generator_does_not_vanish() -> None:
    facts: dict[str, Value] = {
        **DENSE,
        "training__synthetic__generated_tokens": 1e13,
        "training__synthetic__public": False,
    }
    found = derived(**facts)
    synthetic = found["training.compute.synthetic"]
    assert synthetic.basis is Basis.ASSUMED
    assert bounds(synthetic.value).low == 0
    total, direct = (bounds(found[name].value)
                     for name in ("training.compute", "training.compute.direct"))  # fmt: skip
    assert total.low == direct.low
    assert total.high > direct.high
    assert "generator is unknown" in found["training.compute"].note


def test_t32_active_parameters_decide() -> None:
    found = derived(
        model__parameters__total=671 * 10**9,
        model__parameters__active=37 * 10**9,
        training__tokens=14.8e12,
    )["training.compute"]
    assert bounds(found.value).low <= 3.3e24 <= bounds(found.value).high < 6e24


def test_t40_break_even() -> None:
    assert round(break_even(1e25, 41e9) / 1e12, 1) == 40.7
    for nothing in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="parameters"):
            break_even(1e25, nothing)


# --- hardware -----------------------------------------------------------------------------


def test_several_kinds_of_accelerators_give_the_range_of_their_peaks() -> None:
    both = peak_of("NVIDIA A100 and H100 SXM", None)
    assert both is not None
    assert both.flop_per_second == Interval(312e12, 989.4e12)
    assert any("share" in text for text in both.said)
    assert peak_of("A100, abacus", None) is None, "the abacus may have done most of it"
    assert peak_of("", None) is None
    assert peak_of(" and , ", None) is None


def test_the_number_format_decides_the_peak() -> None:
    for form, peak in (("BF16", 989.4e12), ("fp8", 1978.9e12), ("TF32", 494.7e12)):
        found = peak_of("H100", form)
        assert found is not None
        assert found.flop_per_second == Interval.of(peak)
        assert found.by_format
    unknown = peak_of("H100", "INT3")
    assert unknown is not None
    assert not unknown.by_format
    assert unknown.said


def test_eight_bits_use_less_of_a_peak_twice_as_high() -> None:
    facts: dict[str, Value] = {
        "training__hardware__type": "H800",
        "training__hardware__total_hours": 2.788e6,
    }
    wide = by_hardware(book(**facts, training__hardware__format="FP8"))
    usual = by_hardware(book(**facts))
    assert wide is not None
    assert usual is not None
    assert wide.flop.low == pytest.approx(usual.flop.low, rel=0.01)
    assert wide.flop.low <= 3.3e24 <= wide.flop.high


@pytest.mark.parametrize(
    ("name", "form", "peak"),
    [
        # As printed in the vendors' data sheets, without sparsity.
        ("NVIDIA H100 80GB HBM3", None, None),
        ("H100 SXM5 80GB", "BF16", 989.4e12),
        ("A100-SXM4-40GB", "BF16", 312e12),
        ("V100", "FP16", 125e12),
        ("Tesla V100 PCIe 16 GB", "FP16", 112e12),
        ("P100 PCIe", "FP32", 9.3e12),
        ("Amazon Trainium1", "BF16", 190e12),
        ("AMD Instinct MI250", "BF16", 362.1e12),
        ("TPU v4 chips", "BF16", 275e12),
    ],
)
def test_peaks_of_vendors(name: str, form: str | None, peak: float | None) -> None:
    found = accelerator(name)
    if peak is None:
        assert found is None, "an unknown variant is not guessed"
    else:
        assert found is not None
        assert found.peaks[str(form)] == peak


def test_a_share_of_more_than_the_peak_is_not_believed() -> None:
    facts: dict[str, Value] = {
        "training__hardware__type": "A100",
        "training__hardware__total_hours": 1000.0,
    }
    odd = by_hardware(book(**facts, training__hardware__utilization=41.0))
    assumed = by_hardware(book(**facts))
    assert odd is not None
    assert assumed is not None
    assert odd.flop == assumed.flop


# --- laws ---------------------------------------------------------------------------------

_AMOUNTS = st.floats(1e3, 1e15)
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "model__parameters__total": st.integers(0, 10**13),
        "model__parameters__active": st.integers(0, 10**12),
        "model__experts": st.integers(0, 512),
        "model__layers": st.integers(0, 200),
        "model__hidden_size": st.integers(0, 20_000),
        "model__design": st.sampled_from(["decoder", "encoder", "encoder-decoder", "other"]),
        "training__tokens": _AMOUNTS,
        "training__own_tokens": _AMOUNTS,
        "training__own_hours": _AMOUNTS,
        "training__sequence_length": st.integers(0, 10**6),
        "training__samples": _AMOUNTS,
        "training__sample_positions": st.floats(1, 1e5),
        "training__compute": st.floats(1e15, 1e28),
        "training__compute__own": st.floats(1e15, 1e28),
        "training__compute__base": st.floats(1e15, 1e28),
        "training__hardware__total_hours": _AMOUNTS,
        "training__hardware__type": st.sampled_from(["A100", "H100 and A100", "nothing"]),
        "training__hardware__utilization": st.floats(0, 2),
        "training__synthetic__generated_tokens": _AMOUNTS,
        "training__synthetic__public": st.booleans(),
        "lineage__declared_base": st.just(frozenset({"org/base"})),
        "adapter__present": st.booleans(),
    },
)


@given(_FACTS)
def test_any_facts_give_facts_that_hold_together(facts: dict[str, Value]) -> None:
    before = book(**facts)
    found = list(derive(before))
    known = FactBook([*before, *found])  # raises for what does not fit the vocabulary
    assert [fact.name for fact in before] == [fact.name for fact in book(**facts)]
    names = [fact.name for fact in found]
    assert len(names) == len(set(names))
    derivative = "lineage__declared_base" in facts or "training__compute__base" in facts
    own = known.value("training.compute.own")
    for one in (own_estimates if derivative else estimates)(before):
        assert own is not None
        assert bounds(own).low <= one.flop.low <= one.flop.high <= bounds(own).high
    new = {fact.name: bounds(fact.value) for fact in found}
    if "training.compute" in new and "training.compute.direct" in new:
        assert new["training.compute"].high >= new["training.compute.direct"].high


@given(_FACTS, st.floats(1, 1e3))
def test_more_of_anything_never_gives_less_compute(facts: dict[str, Value], more: float) -> None:
    few = bounds_of(facts)
    for name in ("training__tokens", "training__samples", "training__synthetic__generated_tokens"):
        amount = facts.get(name)
        if isinstance(amount, float):
            many = bounds_of({**facts, name: amount * more})
            if few is not None and many is not None:
                assert many.high >= few.high


def bounds_of(facts: dict[str, Value]) -> Interval | None:
    found = derived(**facts).get("training.compute")
    return None if found is None or found.basis is Basis.ASSUMED else bounds(found.value)
