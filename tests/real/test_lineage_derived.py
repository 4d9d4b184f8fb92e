"""Edits of real weights: both axes are told on what was made of published models.

MiniLM is an encoder with layer norms and no gates; SmolLM2 a decoder whose numbers, decoded from
four bits, lie on a grid already.
"""

from __future__ import annotations

from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints.opening import read_model
from steelyard.lineage.comparing import compare_weights
from steelyard.lineage.edits.directions import BaseFreeVerdict, judge_without_base
from steelyard.lineage.reading.weights import open_weights
from steelyard.sources import Network, open_source
from tests.lineage.derivations import removals
from tests.lineage.derivations.cases import compositions, single_edits
from tests.lineage.derivations.checking import faults
from tests.lineage.derivations.packed import in_memory
from tests.lineage.derivations.truth import Arrays
from tests.lineage.memory import MemoryWeights
from tests.real.conftest import Assets

pytestmark = pytest.mark.real

_SEED = 5
_LAYERS = 5
_TOKENS = 6000
_LLAMA = {
    "embedding": "model.embed_tokens",
    "norm.final": "model.norm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.gate": "mlp.gate_proj",
    "mlp.down": "mlp.down_proj",
    "norm.attention": "input_layernorm",
    "norm.mlp": "post_attention_layernorm",
}
_CASES = (
    "identical",
    "bf16",
    "q8_0",
    "q4_0",
    "finetune",
    "lora-low",
    "sparsified-2-4",
    "abliterated",
    "norms-kept",
    "by-layer",
    "depth-pruned",
    "layers-repeated",
    "vocabulary-extended",
    "vocabulary-permuted",
    "merge-linear",
    "merge-dare",
    "finetune-q4",
    "finetune-abliterated-q8",
    "abliterated-finetune",
    "lora-q8",
    "merge-q8",
    "hidden-finetune",
)


@cache
def arrays(folder: Path) -> Arrays:
    """Read some layers of a model as Transformers would name them."""
    found: dict[str, np.ndarray] = {}
    source = open_source(str(folder), network=Network(offline=True))
    with closing(source), open_weights(read_model(source)) as weights:
        for matrix in weights.matrices():
            if matrix.layer is not None and matrix.layer >= _LAYERS:
                continue
            tensor = matrix.tensor
            if weights.format == "gguf":
                where = "" if matrix.layer is None else f"model.layers.{matrix.layer}."
                inner = _LLAMA[matrix.role].removeprefix("model.") if where else _LLAMA[matrix.role]
                tensor = f"{where}{inner}.{matrix.part}"
            values = matrix.whole()
            found[tensor] = values[:_TOKENS] if matrix.role == "embedding" else values
    return found


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "smollm2-135m-instruct"])
def test_both_axes_are_told(assets: Assets, name: str, case: str) -> None:
    held = arrays(assets(name))
    made = {**single_edits(held, _SEED), **compositions(held, _SEED)}[case]()
    candidates = {key: MemoryWeights(rows, name=key) for key, rows in made.candidates.items()}
    base = MemoryWeights(held, name="base", norm=None)
    found = compare_weights(base, in_memory(made.made), candidates=candidates)
    assert faults(found, made) == []


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "smollm2-135m-instruct"])
def test_removed_directions_show_without_the_base(assets: Assets, name: str) -> None:
    held = arrays(assets(name))
    norm = "layer" if "minilm" in name else "rms"
    clean = judge_without_base(MemoryWeights(held, norm=norm), budget=10**9)
    assert clean.verdict is BaseFreeVerdict.NOT_FOUND
    taken = removals.abliterate(held, seed=_SEED)
    removed = judge_without_base(MemoryWeights(taken.arrays, norm=norm), budget=10**9)
    assert removed.verdict is BaseFreeVerdict.REMOVED
    assert removed.directions == 1
