"""What cards and trainer states say of training, and what they say of something else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers import compute
from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.facts import Fact, FactBook, Interval
from tests.analyzers.documents import SHARED, model
from tests.analyzers.facts_of import facts_of

HOURS = "training.hardware.total_hours"
KIND = "training.hardware.type"
TOKENS = "training.tokens"


def said(line: str, title: str = "A model") -> dict[str, Fact]:
    return by_name(model({"README.md": f"# {title}\n\n{line}\n"}))


def by_name(examined: Model) -> dict[str, Fact]:
    return {fact.name: fact for fact in facts_of(compute.analyze, examined)}


def holds(fact: Fact, value: float) -> bool:
    assert isinstance(fact.value, Interval)
    return fact.value.low <= value <= fact.value.high and fact.value.factor < 1.2


def of_size(examined: Model, parameters: int) -> Model:
    """Give the model one tensor of so many elements; nothing reads it."""
    (part,) = examined.weights
    tensor = replace(part.tensors[0], shape=(parameters,))
    return replace(examined, weights=(replace(part, tensors=(tensor,)),))


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
        ("The model was trained on fifteen trillion tokens.", 15e12),
        ("- **Training tokens:** 3T", 3e12),
        ("| Training tokens | 36T |", 36e12),
        ("It was trained on **8.2** trillion tokens.", 8.2e12),
        ("We trained a 1T parameter mixture of experts on 15.5T tokens.", 15.5e12),
        ("Training took ten days and 250 million tokens.", 250e6),
    ],
)
def test_tokens(line: str, tokens: float) -> None:
    fact = said(line)[TOKENS]
    assert holds(fact, tokens)
    assert fact.evidence[0].line == 3
    assert fact.evidence[0].file == "README.md"


def test_a_sentence_may_run_over_lines() -> None:
    fact = said("This model is small. It was trained\non a corpus, which held\n4.5T tokens.")[
        TOKENS
    ]
    assert holds(fact, 4.5e12)
    assert fact.evidence[0].line == 5


@pytest.mark.parametrize(
    "line",
    [
        "It supports a context of 128k tokens.",
        "It has a context of 1M tokens and was trained with love.",
        "Trained with a context length of 1M tokens.",
        "The context window was extended during training to 1M tokens.",
        "It generates 2 million tokens per second.",
        "Unlike Llama 3, which was trained on 15T tokens, ours is small.",
        "Our model is fine-tuned from Llama-3-8B, which was trained on 15T tokens.",
        "Built on a base that was itself pretrained on 2T tokens.",
        "The teacher was trained on 18T tokens.",
        "The tokenizer was trained on 2B tokens.",
        "Benchmarks hold 15B tokens.",
        "The batch size in training was 4M tokens.",
        "All models are trained with a global batch-size of 4M tokens.",
        "Each step of training sees 2M tokens per batch.",
        "The vocabulary of 0.2M tokens was trained with care.",
        "Training sequences held up to 1M tokens.",
        "Trained with love.",
        "trained on 0T tokens",
        "trained on 1e400 tokens",
        "Trained on 15T words.",
        "```\nThe model was trained on 15T tokens.\n```",
        "<!-- The model was trained on 15T tokens. -->",
    ],
)
def test_figures_about_something_else_are_not_taken(line: str) -> None:
    assert TOKENS not in said(line)


def test_figures_of_another_family_are_not_taken() -> None:
    assert TOKENS not in said("Llama 3 was trained on 15T tokens.", title="Tortoise 7B")
    assert holds(said("Llama 3 was trained on 15T tokens.", title="Llama 3 8B")[TOKENS], 15e12)
    both = said("GPT-3 was trained on 300B tokens; ours on 1.4T tokens.", title="Tortoise")
    assert holds(both[TOKENS], 1.4e12)


def test_only_the_card_of_the_weights_is_read() -> None:
    found = by_name(
        model(
            {"README.md": "# A\n\nNo word.\n", "old/README.md": "# B\n\nTrained on 15T tokens.\n"}
        )
    )
    assert TOKENS not in found


def test_data_and_passes_over_it() -> None:
    found = said("It was trained for 3 epochs on a dataset of 1.5B tokens.")
    assert holds(found["training.dataset_tokens"], 1.5e9)
    assert found["training.epochs"].value == 3
    assert TOKENS not in found


def test_later_stages_widen_and_do_not_replace() -> None:
    found = said("Trained on 10T tokens. It was then trained on 300B tokens of code.")[TOKENS]
    assert holds(found, 10e12)
    assert holds(found, 10.3e12)


# --- families -----------------------------------------------------------------------------

FAMILY = """\
# Tortoise

| | Training time (GPU hours) | Power (W) |
|---|---|---|
| Tortoise 1B | 370k | 700 |
| Tortoise 3B | 46,000 | 700 |
| Tortoise 1B Quick | 1.7 | 700 |
| Total | 833k | |

All were trained on H100-80GB accelerators. The 1B model was trained on 9T tokens, the 3B model on
4.5T tokens. Training utilized a cumulative 833k GPU hours.
"""


def family(parameters: int | None = None, name: str = "models/somewhere") -> dict[str, Fact]:
    examined = model({"README.md": FAMILY}, spec=name)
    return by_name(of_size(examined, parameters) if parameters else examined)


def test_the_row_of_this_model_is_taken() -> None:
    for found in (family(1_240_000_000), family(name="hf://org/Tortoise-1B")):
        assert holds(found[HOURS], 370e3)
        assert holds(found[TOKENS], 9e12)
        assert found[KIND].value == "H100 SXM"
        assert found[HOURS].evidence[0].line == 5
    for found in (family(3_200_000_000), family(name="hf://org/Tortoise-3B")):
        assert holds(found[HOURS], 46e3)
        assert holds(found[TOKENS], 4.5e12)
    assert holds(family(name="hf://org/Tortoise-1B-Quick")[HOURS], 1.7)


def test_figures_that_cannot_be_told_apart_give_a_range_and_say_so() -> None:
    found = family()[TOKENS]
    assert isinstance(found.value, Interval)
    assert found.value.low < 4.5e12
    assert found.value.high > 9e12
    assert "several figures" in found.note


def test_the_figure_of_another_size_is_not_taken() -> None:
    text = {"README.md": "# Tortoise\n\nThe 70B model was trained on 2T tokens.\n"}
    assert TOKENS not in by_name(of_size(model(text), 7_000_000_000))
    assert TOKENS in by_name(of_size(model(text), 69_000_000_000))


def test_names_tell_members_of_a_family_apart() -> None:
    text = {"README.md": "# Info\n\nTortoise 4 Scout was pretrained on ~40 trillion tokens and "
                         "Tortoise 4 Rider was pretrained on ~22 trillion tokens.\n"}  # fmt: skip
    for name, tokens in (("Tortoise-4-Scout-17B", 40e12), ("Tortoise-4-Rider-17B", 22e12)):
        assert holds(by_name(model(text, spec=f"hf://org/{name}"))[TOKENS], tokens)


def test_stages_in_one_cell_add_up() -> None:
    cell = "Stage 1: 147K H100 hours Stage 2: 98K H100 hours SFT: 896 H100 hours"
    found = said(f"| | GPU hours |\n|---|---|\n| A | {cell} |")
    assert holds(found[HOURS], 245_896)


def test_tables_in_html() -> None:
    rows = "".join(
        f"<tr>\n<td>Tortoise {size}\n</td>\n<td>{hours}\n</td>\n</tr>\n"
        for size, hours in (("8B", "1.46M"), ("405B", "30.84M"))
    )
    head = "<tr>\n<td>\n</td>\n<td><strong>Training Time (GPU hours)</strong>\n</td>\n</tr>\n"
    text = {"README.md": f"# Tortoise\n\n<table>\n{head}{rows}</table>\n"}
    found = by_name(of_size(model(text), 405_000_000_000))[HOURS]
    assert holds(found, 30.84e6)
    assert found.evidence[0].line == 16


# --- hardware -----------------------------------------------------------------------------


def test_hours_and_accelerators() -> None:
    found = said("Training utilized a cumulative of 370K H100-80GB GPU hours of computation.")
    assert holds(found[HOURS], 370e3)
    assert found[KIND].value == "H100 SXM"
    full = said("DeepSeek-V3 requires only 2.788M H800 GPU hours for its full training.")
    assert holds(full[HOURS], 2.788e6)
    assert holds(said("Training used 2.1M H100-hours.")[HOURS], 2.1e6)


@pytest.mark.parametrize(
    "line",
    [
        "We worked for 300 hours.",
        "Trained for 12 hours on a laptop.",
        "Trained on 680,000 hours of audio.",
        "Pre-training takes 180K H800 GPU hours for each trillion tokens.",
        "The teacher was trained in 2M GPU hours.",
    ],
)
def test_other_hours_are_not_taken(line: str) -> None:
    assert HOURS not in said(line)


def test_units_time_format_and_utilization() -> None:
    found = said("We trained on 512 H100 GPUs for 21 days in bf16 mixed precision, MFU of 41%.")
    assert found["training.hardware.units"].value == 512
    assert holds(found["training.hardware.hours"], 504)
    assert found["training.hardware.format"].value == "BF16"
    assert holds(found["training.hardware.utilization"], 0.41)
    weeks = said("Trained on 1,024 TPU v5p chips over three weeks.")
    assert weeks["training.hardware.units"].value == 1024
    assert weeks[KIND].value == "TPU v5p"
    nodes = said("We trained on 64 nodes of 8 A100 GPUs.")
    assert "training.hardware.units" not in nodes
    assert nodes[KIND].value == "A100"
    mixed = said("Trained on A100s. Later training ran on H100s.")
    assert mixed[KIND].value == "A100 and H100 SXM"
    assert "training.hardware.format" not in said("After training, FP8 checkpoints are offered.")


def test_sequence_length() -> None:
    length = "training.sequence_length"
    assert said("It was trained on sequences of 8,192 tokens.")[length].value == 8192
    assert said("Training sequence length: 4k")[length].value == Interval(4000, 4096)
    assert length not in said("The context length is 8192.")


# --- compute ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "flop"),
    [
        ("It was trained with 3.8 \u00d7 10^25 FLOPs.", 3.8e25),
        ("Training took 6.74e24 FLOP.", 6.74e24),
        ("The training compute is 2.1x10^24 FLOPs.", 2.1e24),
        ("Training compute: 2.1 x 10<sup>24</sup> FLOPs.", 2.1e24),
        ("Total training compute was 3.8\u00d710\u00b2\u2075 FLOPs.", 3.8e25),
        ("Trained for 3,640 petaflop/s-days.", 3640 * 8.64e19),
        ("Training took 5.1 zettaFLOPs.", 5.1e21),
    ],
)
def test_compute_as_declared(line: str, flop: float) -> None:
    assert holds(said(line)["training.compute"], flop)


@pytest.mark.parametrize(
    "line",
    [
        "Inference needs 1.2e12 FLOPs.",
        "The teacher was trained with 2e25 FLOPs.",
        "Models trained with more than 1e25 FLOPs are regulated.",
        "Its training lies below the threshold of 10^25 FLOPs.",
        "Its training lies below the threshold of 1 x 10^25 FLOPs.",
        "Trained on a cluster of 1.5e18 FLOP/s.",
        "Training with 9e99 FLOPs.",
    ],
)
def test_other_figures_of_compute_are_not_taken(line: str) -> None:
    assert "training.compute" not in said(line)


# --- what trainers leave ------------------------------------------------------------------


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


def test_the_state_of_an_earlier_checkpoint_is_not_taken() -> None:
    found = by_name(model(json={"checkpoint-500/trainer_state.json": {"total_flos": 1e18}}))
    assert found == {}


# --- strangers' text ----------------------------------------------------------------------


def test_hostile_cards_end_soon() -> None:
    for line in (
        "1" * 100_000,
        "trained on " + "9," * 50_000 + "T tokens",
        "x " * 100_000,
        "<table" * 20_000,
        "<table>" + "<td" * 50_000,
        "|" * 100_000,
        "trained based on " * 10_000,
        "trained on 5T a b c d " * 10_000,
    ):
        assert said(line).keys() <= {TOKENS}


_WORDS = st.sampled_from(
    ["trained", "on", "15T", "tokens", "|", "<table>", "<tr><td>", "</table>", "GPU hours", "2M",
     "H100", "3.8e25 FLOPs", "Llama", "stage", "\n", "\n\n", ": ", "9" * 400, "for", "21 days"]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=40))
def test_any_card_gives_facts_that_fit_the_vocabulary(words: list[str]) -> None:
    FactBook(compute.analyze(model({"README.md": "# A\n\n" + " ".join(words)})))


# --- real cards ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "name", "hours", "tokens"),
    [
        ("meta/llama2_MODEL_CARD.md", "Llama-2-70b", 1_720_320, 2e12),
        ("meta/llama3_1_MODEL_CARD.md", "Llama-3.1-405B", 30.84e6, 15e12),
        ("meta/llama3_2_MODEL_CARD.md", "Llama-3.2-1B", 370e3, 9e12),
        ("meta/llama4_MODEL_CARD.md", "Llama-4-Scout-17B-16E", 5e6, 40e12),
        ("meta/llama4_MODEL_CARD.md", "Llama-4-Maverick-17B-128E", 2.38e6, 22e12),
        ("other/repo_deepseek-ai+DeepSeek-V3_README.md", "DeepSeek-V3", 2.788e6, 14.8e12),
    ],
)
def test_real_cards(card: str, name: str, hours: float, tokens: float) -> None:
    path = SHARED / "model_cards" / card
    if not path.is_file():
        pytest.skip(f"{path.name} is not there: it is others' data")
    text = path.read_text(encoding="utf-8")
    found = by_name(model({"README.md": text}, spec=f"hf://org/{name}"))
    assert holds(found[HOURS], hours)
    assert holds(found[TOKENS], tokens)
