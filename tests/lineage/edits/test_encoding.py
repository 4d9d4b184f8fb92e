"""How numbers are stored, and how they were before: both show, whatever was edited."""

from __future__ import annotations

from functools import partial

import pytest

from steelyard.lineage.aligning.alignment import Alignment, sample
from steelyard.lineage.aligning.pairs import Sample
from steelyard.lineage.edits.encoding import judge_encoding, unaligned
from steelyard.lineage.relation import Encoding, EncodingKind
from tests.lineage.derivations import numbers
from tests.lineage.derivations.packed import in_memory, quantized
from tests.lineage.derivations.truth import Arrays, Step, chain
from tests.lineage.memory import MemoryWeights, random_arrays

BASE = random_arrays(11)
SAME = Alignment((0, 1, 2, 3))
BF16 = partial(numbers.cast, dtype="BF16")
TUNED = partial(numbers.finetune, change=0.03)


def judged(*steps: Step, base: Arrays = BASE) -> Encoding:
    child = in_memory(chain(base, *steps))
    return judge_encoding(sample(child, MemoryWeights(base), SAME), "safetensors", "safetensors")


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((), EncodingKind.SAME),
        ((TUNED,), EncodingKind.SAME),
        ((BF16,), EncodingKind.CAST),
        ((TUNED, BF16), EncodingKind.CAST),
        ((partial(quantized, kind="Q8_0"),), EncodingKind.QUANTIZED),
        ((TUNED, partial(quantized, kind="Q4_0")), EncodingKind.QUANTIZED),
        ((numbers.fake_int8,), EncodingKind.DEQUANTIZED),
        ((TUNED, numbers.fake_int4), EncodingKind.DEQUANTIZED),
    ],
)
def test_kinds(steps: tuple[Step, ...], kind: EncodingKind) -> None:
    assert judged(*steps).kind is kind


def test_numbers_that_were_cast_and_stored_wide_again() -> None:
    child = MemoryWeights(numbers.cast(BASE, "BF16").arrays)
    found = judge_encoding(sample(child, MemoryWeights(BASE), SAME), "safetensors", "safetensors")
    assert found.kind is EncodingKind.CAST
    assert found.note == "stored as F32, but the numbers are those of BF16"


@pytest.mark.parametrize(("kind", "size"), [("Q8_0", 0.005), ("Q4_0", 0.08)])
def test_how_far_rounding_moves_the_weights(kind: str, size: float) -> None:
    noise = judged(partial(quantized, kind=kind)).noise
    assert noise == pytest.approx(size, rel=0.3)


def test_nothing_is_said_of_nothing() -> None:
    assert judge_encoding(Sample(()), "gguf", "onnx").kind is EncodingKind.CANNOT_TELL
    assert unaligned(MemoryWeights(BASE), MemoryWeights(BASE)).base == "F32"
