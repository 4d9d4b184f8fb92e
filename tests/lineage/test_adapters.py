"""Adapters: rank, roles and size from their own matrices, and whether they fit a base."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError
from steelyard.lineage.adapters import Adapter, find_adapter, refuse_adapter
from steelyard.lineage.comparing import compare
from steelyard.lineage.relation import Comparison, Edit, EditKind, EncodingKind, Related
from steelyard.sources import Network, open_source
from tests.checkpoints.torch_files import Storage, Weight, torch_zip
from tests.containers import as_safetensors, model_folder
from tests.lineage.memory import random_arrays

Arrays = dict[str, np.ndarray[Any, Any]]
LAYERS, WIDTH, RANK = 3, 64, 4
BASE = random_arrays(31, layers=LAYERS, width=WIDTH, feed_forward=96, vocabulary=200)
SETTINGS = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8}
PREFIX = "base_model.model."


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def factors(
    outputs: int = WIDTH, inputs: int = WIDTH, *, seed: int = 0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw A (r x inputs) and B (outputs x r)."""
    chance = np.random.default_rng(seed)
    return (
        chance.standard_normal((RANK, inputs), np.float32) / 10,
        chance.standard_normal((outputs, RANK), np.float32) / 10,
    )


def lora(*targets: str, outputs: int = WIDTH, inputs: int = WIDTH) -> Arrays:
    """Make updates for modules, named as PEFT names them."""
    made = {}
    for seed, target in enumerate(targets):
        down, up = factors(outputs, inputs, seed=seed)
        made[f"{PREFIX}{target}.lora_A.weight"] = down
        made[f"{PREFIX}{target}.lora_B.weight"] = up
    return made


QUERIES = tuple(f"model.layers.{layer}.self_attn.q_proj" for layer in range(LAYERS))


def opened(
    stack: ExitStack, place: Path, weights: Mapping[str, bytes], settings: Any = None
) -> Model:
    extra = {} if settings is None else {"adapter_config.json": json.dumps(settings)}
    folder = model_folder(
        place, weights=weights, config=None, card=None, license_text=None, extra=extra
    )
    source = open_source(str(folder), network=Network(offline=True))
    stack.callback(source.close)
    return read_model(source)


def adapter_file(arrays: Arrays) -> dict[str, bytes]:
    return {"adapter_model.safetensors": safetensors.numpy.save(arrays)}


def compared(
    stack: ExitStack,
    tmp_path: Path,
    arrays: Arrays,
    settings: Any = SETTINGS,
    base: Arrays = BASE,
    **given: Any,
) -> Comparison:
    theirs = opened(stack, tmp_path / "base", as_safetensors(base))
    ours = opened(stack, tmp_path / "adapter", adapter_file(arrays), settings)
    return compare(theirs, ours, names=("base", "adapter"), **given)


def only(said: Comparison) -> Edit:
    (edit,) = said.edits
    return edit


def test_rank_roles_and_change(stack: ExitStack, tmp_path: Path) -> None:
    said = compared(stack, tmp_path, lora(*QUERIES))
    assert said.related.verdict is Related.CANNOT_TELL
    assert said.encoding.kind is EncodingKind.CANNOT_TELL
    edit = only(said)
    assert edit.kind is EditKind.LORA
    assert (edit.details["rank"], edit.details["roles"]) == (RANK, ("attention.q",))
    moved = size = 0.0
    for seed, name in enumerate(QUERIES):
        down, up = factors(seed=seed)
        moved += float(np.linalg.norm(8 / RANK * up @ down)) ** 2
        size += float(np.linalg.norm(BASE[f"{name}.weight"])) ** 2
    assert edit.details["change"] == pytest.approx((moved / size) ** 0.5, rel=0.02)
    assert [change.component for change in said.changes] == [f"layers.{n}" for n in range(LAYERS)]
    assert said.bytes_read > 0
    assert said.requests > 0


def test_what_it_tells_is_what_a_merge_would_show(stack: ExitStack, tmp_path: Path) -> None:
    arrays = lora(*QUERIES)
    alone = only(compared(stack, tmp_path, arrays))
    merged = dict(BASE)
    for seed, name in enumerate(QUERIES):
        down, up = factors(seed=seed)
        merged[f"{name}.weight"] = np.asarray(BASE[f"{name}.weight"] + 8 / RANK * up @ down, "f4")
    theirs = opened(stack, tmp_path / "again", as_safetensors(BASE))
    ours = opened(stack, tmp_path / "merged", as_safetensors(merged))
    seen = only(compare(theirs, ours))
    assert seen.kind is EditKind.LORA
    assert seen.details["rank"] == alone.details["rank"]
    assert seen.details["roles"] == alone.details["roles"]
    assert seen.details["change"] == pytest.approx(alone.details["change"], rel=0.05)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        (SETTINGS, 2.0),
        ({**SETTINGS, "use_rslora": True}, 4.0),
        ({**SETTINGS, "lora_alpha": 4}, 1.0),
        ({"peft_type": "LORA"}, 1.0),
        (None, 1.0),
    ],
)
def test_how_updates_are_scaled(
    settings: Any, scale: float, stack: ExitStack, tmp_path: Path
) -> None:
    said = compared(stack, tmp_path, lora(QUERIES[0]), settings)
    down, up = factors()
    expected = scale * np.linalg.norm(up @ down) / np.linalg.norm(BASE[f"{QUERIES[0]}.weight"])
    assert only(said).details["change"] == pytest.approx(expected, rel=0.05)
    unknown = any("how its updates are scaled" in note for note in said.notes)
    assert unknown is (settings is None or "lora_alpha" not in settings)


def test_a_rank_that_is_not_used_up(stack: ExitStack, tmp_path: Path) -> None:
    arrays = lora(QUERIES[0])
    arrays[f"{PREFIX}{QUERIES[0]}.lora_B.weight"][:, 2:] = 0
    assert only(compared(stack, tmp_path, arrays)).details["rank"] == 2


def test_one_that_was_never_trained(stack: ExitStack, tmp_path: Path) -> None:
    arrays = {n: a * 0 if "lora_B" in n else a for n, a in lora(*QUERIES).items()}
    said = compared(stack, tmp_path, arrays)
    assert only(said).details["rank"] == 0
    assert "its updates are zero: it changes nothing" in said.notes


def test_updates_of_a_fused_matrix(stack: ExitStack, tmp_path: Path) -> None:
    start = "model.layers.0.self_attn"
    three = [BASE[f"{start}.{name}.weight"] for name in ("q_proj", "k_proj", "v_proj")]
    arrays = lora(f"{start}.qkv_proj", outputs=sum(len(each) for each in three))
    said = compared(stack, tmp_path, arrays)
    assert "all 1 of its updates fit" in " ".join(said.related.notes)
    change = only(said).details["change"]
    assert isinstance(change, float)
    assert change > 0


def test_updates_of_embeddings_and_experts(stack: ExitStack, tmp_path: Path) -> None:
    down, up = factors(WIDTH, 200)
    arrays = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": down,
        f"{PREFIX}model.embed_tokens.lora_embedding_B": up,
        **lora("lm_head", outputs=200),
    }
    said = compared(stack, tmp_path, arrays)
    assert only(said).details["roles"] == ("embedding", "output_head")
    assert "all 2 of its updates fit" in " ".join(said.related.notes)
    assert [change.component for change in said.changes] == ["embedding", "output_head"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (lora("model.layers.0.self_attn.q_proj", outputs=128), "none of its 1 updates fits"),
        (lora("model.layers.9.self_attn.q_proj"), "none of its 1 updates fits"),
        (lora("bert.encoder.layer.0.intermediate.dense", inputs=32), "none of its 1 updates"),
        (lora(QUERIES[0], "model.layers.9.self_attn.q_proj"), "1 of its 2 updates fit no matrix"),
    ],
)
def test_what_does_not_fit(arrays: Arrays, words: str, stack: ExitStack, tmp_path: Path) -> None:
    said = compared(stack, tmp_path, arrays)
    assert words in " ".join(said.related.notes)
    assert only(said).details["rank"] == RANK


def test_what_else_it_does_is_said(stack: ExitStack, tmp_path: Path) -> None:
    arrays = {
        **lora(*QUERIES),
        f"{PREFIX}{QUERIES[0]}.lora_magnitude_vector": np.ones(WIDTH, np.float32),
        f"{PREFIX}lm_head.weight": np.ones((200, WIDTH), np.float32),
    }
    settings = {**SETTINGS, "base_model_name_or_path": "org/base"}
    notes = " ".join(compared(stack, tmp_path, arrays, settings).notes)
    assert "its settings say that it was trained on org/base" in notes
    assert "DoRA" in notes
    assert "replaces weights whole, which were not compared: output_head" in notes


def test_a_budget_is_kept(stack: ExitStack, tmp_path: Path) -> None:
    said = compared(stack, tmp_path, lora(*QUERIES), budget=5_000)
    assert "1 of its 3 updates were read" in said.notes
    none = compared(stack, tmp_path / "none", lora(*QUERIES), budget=1)
    assert only(none).details["rank"] == RANK
    assert "change" not in only(none).details


def test_a_torch_file(stack: ExitStack, tmp_path: Path) -> None:
    state: dict[object, object] = {
        name: Weight(Storage(str(n), "FloatStorage", array.tobytes()), array.shape)
        for n, (name, array) in enumerate(lora(*QUERIES).items())
    }
    theirs = opened(stack, tmp_path / "base", as_safetensors(BASE))
    weights = {"adapter_model.bin": torch_zip(state)}
    ours = opened(stack, tmp_path / "adapter", weights, SETTINGS)
    assert only(compare(theirs, ours)).details["rank"] == RANK


def found(stack: ExitStack, place: Path, arrays: Arrays, settings: Any = None) -> Adapter | None:
    return find_adapter(opened(stack, place, adapter_file(arrays), settings))


def test_what_is_no_adapter(stack: ExitStack, tmp_path: Path) -> None:
    ones = np.ones((4, 4), np.float32)
    assert found(stack, tmp_path / "a", {"lora_A.weight": ones}) is None
    assert found(stack, tmp_path / "b", {"x.lora_A.weight": ones, "x.lora_B.weight": ones}) is None
    assert found(stack, tmp_path / "c", {**BASE, **lora(QUERIES[0])}) is None
    assert find_adapter(opened(stack, tmp_path / "d", {"notes.txt": b"none"})) is None


def test_settings_of_a_wrong_type(stack: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="`r` is not a whole number"):
        found(stack, tmp_path, lora(QUERIES[0]), {"r": "many"})


def test_an_adapter_cannot_be_the_base(stack: ExitStack, tmp_path: Path) -> None:
    model = opened(stack, tmp_path, adapter_file(lora(*QUERIES)), SETTINGS)
    with pytest.raises(CheckpointError, match="the base is an adapter") as caught:
        refuse_adapter(model, "base")
    assert caught.value.file == "adapter_model.safetensors"
    assert caught.value.fix
