"""What cards and trainer states say of training, and what they say of something else."""

from __future__ import annotations

import pytest

from steelyard.analyzers import compute
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.facts import Fact, Interval
from tests.analyzers.documents import model
from tests.analyzers.facts_of import facts_of


def said(line: str) -> dict[str, Fact]:
    return by_name(model({"README.md": f"# A model\n\n{line}\n"}))


def by_name(examined: Model) -> dict[str, Fact]:
    return {fact.name: fact for fact in facts_of(compute.analyze, examined)}


def holds(fact: Fact, value: float) -> bool:
    assert isinstance(fact.value, Interval)
    return fact.value.low <= value <= fact.value.high and fact.value.factor < 1.2


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("Llama 3.1 was pretrained on ~15 trillion tokens of data.", 15e12),
        ("It was trained on 15T+ tokens.", 15e12),
        ("The model was trained for 1.4T tokens.", 1.4e12),
        ("Pretraining used 36 trillion tokens in 119 languages.", 36e12),
        ("OLMo 2 13B is trained on up to 5T tokens.", 5e12),
        ("| Training | 300B tokens |", 300e9),
        ("We pre-trained it on 14.8 trillion diverse and high-quality tokens.", 14.8e12),
    ],
)
def test_tokens(line: str, tokens: float) -> None:
    fact = said(line)["training.tokens"]
    assert holds(fact, tokens)
    assert fact.evidence[0].line == 3
    assert fact.evidence[0].file == "README.md"


@pytest.mark.parametrize(
    "line",
    [
        "It supports a context of 128k tokens.",
        "The context window was extended during training to 1M tokens.",
        "It generates 2 million tokens per second.",
        "Unlike Llama 3, which was trained on 15T tokens, ours is small.",
        "The tokenizer was trained on 2B tokens.",
        "Benchmarks hold 15B tokens.",
        "The batch size in training was 4M tokens.",
        "Trained with love.",
        "trained on 0T tokens",
    ],
)
def test_figures_about_something_else_are_not_taken(line: str) -> None:
    assert "training.tokens" not in said(line)


def test_hours_and_accelerators() -> None:
    found = said("Training utilized a cumulative of 370K H100-80GB GPU hours of computation.")
    assert holds(found["training.hardware.total_hours"], 370e3)
    assert found["training.hardware.type"].value == "H100 SXM"
    full = said("DeepSeek-V3 requires only 2.788M H800 GPU hours for its full training.")
    assert holds(full["training.hardware.total_hours"], 2.788e6)
    assert "training.hardware.total_hours" not in said("We worked for 300 hours.")
    assert "training.hardware.total_hours" not in said("Trained for 12 hours on a laptop.")


@pytest.mark.parametrize(
    ("line", "flop"),
    [
        ("It was trained with 3.8 \u00d7 10^25 FLOPs.", 3.8e25),
        ("Training took 6.74e24 FLOP.", 6.74e24),
        ("The training compute is 2.1x10^24 FLOPs.", 2.1e24),
    ],
)
def test_compute_as_declared(line: str, flop: float) -> None:
    assert holds(said(line)["training.compute"], flop)


def test_other_figures_of_compute_are_not_taken() -> None:
    assert "training.compute" not in said("Inference needs 1.2e12 FLOPs.")
    assert "training.compute" not in said("The teacher was trained with 2e25 FLOPs.")


def test_the_first_figure_is_taken() -> None:
    found = said("Trained on 10T tokens. It was then trained on 300B tokens of code.")
    assert holds(found["training.tokens"], 10e12)


def test_trainer_state_counts_this_training() -> None:
    state: dict[str, JsonValue] = {
        "total_flos": 1.5e18,
        "num_input_tokens_seen": 123456,
        "epoch": 3.0,
    }
    found = by_name(model(json={"trainer_state.json": state}))
    assert found["training.compute.own"].value == 1.5e18
    assert found["training.own_tokens"].value == 123456
    odd: tuple[JsonValue, ...] = (True, "1e18", -1, 0, float("inf"), None, [1.0])
    for value in odd:
        assert by_name(model(json={"trainer_state.json": {"total_flos": value}})) == {}


def test_hostile_cards_end_soon() -> None:
    for line in ("1" * 100_000, "trained on " + "9," * 50_000 + "T tokens", "x " * 100_000):
        assert said(line) == {}
