"""Sketches: what they keep decides as the weights do, and no bytes crash their reader."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import CheckpointError, LimitExceeded, Truncated, Unsupported
from steelyard.lineage.matrix import Sizes
from steelyard.lineage.relating.exchangeability import Order
from steelyard.lineage.relating.relatedness import relate, relate_weights
from steelyard.lineage.relating.sketch_format import KeptColumns, KeptUnits, Packed
from steelyard.lineage.relating.sketches import Sketch, same_tokens, sketch_of, sums
from steelyard.lineage.relation import Related
from tests.lineage.derivations.disguises import permute_neurons
from tests.lineage.derivations.shapes import prune_width, relayered
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

BASE = random_arrays(0)
WORDS = tuple(f"token{row}" for row in range(512))


def sketch(arrays: Arrays, words: tuple[str, ...] | None = None, **given: Any) -> Sketch:
    return sketch_of(MemoryWeights(arrays, vocabulary=words), **given)


def moved(arrays: Arrays, amount: float, seed: int = 7) -> dict[str, np.ndarray[Any, Any]]:
    chance = np.random.default_rng(seed)
    return {
        name: (array + amount * array.std() * chance.standard_normal(array.shape)).astype("f4")
        for name, array in arrays.items()
    }


def nameless(arrays: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Export as PyTorch does to ONNX: matrices of blocks lose their names and lie turned."""
    made: dict[str, np.ndarray[Any, Any]] = {}
    for number, (name, array) in enumerate(arrays.items()):
        inner = ".layers." in name and array.ndim == 2
        made[f"onnx::MatMul_{number}" if inner else name] = array.T if inner else array
    return made


@pytest.mark.parametrize(
    "arrays",
    [BASE, random_arrays(1, tied=True), random_arrays(2, layers=40), nameless(BASE), {}],
    ids=["named", "tied", "deep", "nameless", "empty"],
)
def test_a_sketch_is_read_as_it_was_written(arrays: Arrays) -> None:
    made = sketch(arrays, WORDS)
    data = made.to_bytes()
    assert Sketch.from_bytes(data) == made
    assert Sketch.from_bytes(data).to_bytes() == data
    assert sketch(arrays, WORDS).to_bytes() == data


def test_a_sketch_keeps_what_it_should() -> None:
    made = sketch(BASE, WORDS)
    assert made.rows == tuple(range(300, 364))
    assert made.tokens == WORDS[300:364]
    assert made.layers == ("layers.0", "layers.1", "layers.2", "layers.3")
    assert made.role == "mlp.up"
    assert made.head is not None
    assert [units.layer for units in made.units] == [0, 1, 2, 3]
    assert {units.weights.rows for units in made.units} == {64}
    assert made.tensors == ()


@pytest.mark.parametrize(("layers", "kept", "each"), [(8, 8, 64), (16, 16, 32), (80, 32, 16)])
def test_more_layers_have_fewer_units_each(layers: int, kept: int, each: int) -> None:
    made = sketch(random_arrays(3, layers=layers, width=32, feed_forward=64, vocabulary=400))
    assert len(made.units) == kept
    assert {units.weights.rows for units in made.units} == {each}
    assert len(made.to_bytes()) < 140_000


def test_large_models_have_small_sketches() -> None:
    wide = random_arrays(4, layers=2, width=1024, feed_forward=128, tied=True)
    assert len(sketch(wide).to_bytes()) < 60_000


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_a_changed_copy_is_found_layer_by_layer(amount: float) -> None:
    found = relate(sketch(moved(BASE, amount)), sketch(BASE))
    assert found.verdict is Related.RELATED
    assert found.exact
    assert found.log10_p < -30
    assert found.layer_map == (0, 1, 2, 3)
    for part in found.components:
        assert part.change == pytest.approx(amount, rel=0.2, abs=1e-9), part.name


def test_a_copy_of_a_copy_is_the_same_sketch_with_no_change() -> None:
    found = relate(sketch(BASE, WORDS), sketch(dict(BASE), WORDS))
    assert {part.change for part in found.components} == {0.0}


def test_independent_models_are_not_found() -> None:
    sketches = [sketch(random_arrays(seed, layers=2)) for seed in range(12)]
    values = [relate(a, b).log10_p for a in sketches for b in sketches if a is not b]
    assert min(values) > -2
    assert np.mean(np.array(values) <= np.log10(0.05)) <= 0.05


def test_eight_bits_and_sums_decide_as_weights_do() -> None:
    """Also where units and their counterparts have a cosine of 0.32 only."""
    child = MemoryWeights(moved(BASE, 3.0))
    base = MemoryWeights(BASE)
    from_weights = relate_weights(child, base)
    from_sketches = relate(sketch_of(child), sketch_of(base))
    assert from_weights.verdict is from_sketches.verdict is Related.RELATED
    assert from_weights.log10_p < from_sketches.log10_p < -30
    assert from_sketches.layer_map == (0, 1, 2, 3)


def test_dropped_layers_keep_their_origin_in_a_deep_model() -> None:
    deep = random_arrays(5, layers=40, width=32, feed_forward=64, vocabulary=400)
    kept = [0, 3, 8, 21, 38, 39]
    found = relate(sketch(relayered(deep, kept).arrays), sketch(deep))
    there = {units.layer for units in sketch(deep).units}
    assert found.layer_map == tuple(layer if layer in there else None for layer in kept)
    assert found.verdict is Related.RELATED


@pytest.mark.parametrize("disguise", [prune_width, permute_neurons])
def test_attention_vouches_for_layers_whose_neurons_do_not(disguise: Any) -> None:
    args = {"keep": 100} if disguise is prune_width else {}
    child = moved(disguise(BASE, seed=3, **args).arrays, 0.1)
    found = relate(sketch(child), sketch(BASE))
    assert found.verdict is Related.RELATED
    assert found.layer_map == (0, 1, 2, 3)
    assert all(part.change == pytest.approx(0.1, rel=0.3) for part in found.components)
    other = random_arrays(6)
    other["model.embed_tokens.weight"] = BASE["model.embed_tokens.weight"]
    assert relate(sketch(other), sketch(BASE)).layer_map == (None, None, None, None)


def test_nameless_matrices_are_found_both_ways() -> None:
    for child, base in ((nameless(BASE), BASE), (BASE, nameless(BASE))):
        found = relate(sketch(moved(child, 0.1)), sketch(base))
        assert found.verdict is Related.RELATED
        assert sum(part.base is not None for part in found.components) >= 5
    other = random_arrays(6)
    other["model.embed_tokens.weight"] = BASE["model.embed_tokens.weight"]
    for child, base in ((nameless(other), BASE), (other, nameless(BASE))):
        assert relate(sketch(child), sketch(base)).verdict is Related.SHARES_COMPONENT


def test_models_without_any_role_are_found_by_their_matrices() -> None:
    chance = np.random.default_rng(0)
    filters = {
        f"conv{number}.w_0": chance.standard_normal((64, 48 + number)).astype("f4")
        for number in range(20)
    }
    exported = {f"renamed_{name}": array for name, array in reversed(filters.items())}
    found = relate(sketch(exported), sketch(filters))
    assert found.verdict is Related.RELATED
    assert found.layer_map == ()
    assert all((part.base or "").startswith("conv") for part in found.components)
    half = dict(filters) | {
        name: chance.standard_normal(array.shape).astype("f4")
        for name, array in list(filters.items())[6:]
    }
    assert relate(sketch(half), sketch(filters)).verdict is Related.SHARES_COMPONENT


def test_a_fixed_basis_is_not_kept() -> None:
    waves = np.cos(np.pi / 128 * np.arange(128)[:, None] * (np.arange(128) + 0.5)).astype("f4")
    assert sketch({"stft.basis": waves}).tensors == ()


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf, 3e38, 1e-42])
def test_weights_that_say_nothing_give_no_evidence(value: float) -> None:
    filled = {name: np.full_like(array, value) for name, array in BASE.items()}
    made = sketch(filled)
    assert Sketch.from_bytes(made.to_bytes()) == made
    assert relate(made, made).log10_p > -3


def test_a_child_with_another_tokenizer_is_read_at_the_tokens_of_the_base() -> None:
    order = np.random.default_rng(1).permutation(512)
    child = dict(BASE)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        child[name] = BASE[name][order]
    words = tuple(WORDS[row] for row in order)
    base = sketch(BASE, WORDS)
    own = sketch(child, words)
    assert not same_tokens(own, base)
    again = sketch(child, words, like=base)
    assert again.tokens == base.tokens
    found = relate(again, base)
    assert found.verdict is Related.RELATED
    assert [part.base for part in found.components[:2]] == ["embedding", "head"]


def test_some_tokens_in_common_are_enough() -> None:
    shifted = {name: array for name, array in BASE.items() if "layers" not in name}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        shifted[name] = BASE[name][40:]
    found = relate(sketch(shifted, WORDS[40:]), sketch(BASE, WORDS))
    assert found.components[0].base == "embedding"


def test_the_kind_of_units_is_that_of_the_base() -> None:
    child = sketch(BASE, like=replace(sketch(random_arrays(9)), role="attention.v"))
    assert child.role == "attention.v"
    assert relate(child, sketch(BASE)).components[0].base == "embedding"


def test_reading_is_bounded() -> None:
    deep = random_arrays(10, layers=24)
    weights = MemoryWeights(deep)
    sketch_of(weights, budget=20_000)
    most = 20_000 + 2 * 64 * 64 * 4 + 2 * 24 * 64 * 4
    assert weights.bytes_read <= most
    alone = MemoryWeights(deep)
    made = sketch_of(alone, layers=False)
    assert made.units == made.tensors == ()
    assert made.head is None
    assert alone.bytes_read == 64 * 64 * 4


def test_odd_tokens_do_not_harm() -> None:
    words = ("\ud800", "x" * 500, "", *WORDS[3:])
    arrays = {name: array[:64] for name, array in BASE.items() if "layers" not in name}
    made = sketch(arrays, words[:64])
    assert made.tokens is not None
    assert made.tokens[:4] == ("?", "", "", "token3")
    assert Sketch.from_bytes(made.to_bytes()) == made


GOOD = sketch(random_arrays(0, layers=2, width=16, feed_forward=32, vocabulary=80), WORDS[:80])
DATA = GOOD.to_bytes()


def packed(rows: int, columns: int) -> st.SearchStrategy[Packed]:
    def of(steps: list[float], values: bytes) -> Packed:
        elements = np.maximum(np.frombuffer(values, np.int8), -127)
        return Packed(rows, columns, np.array(steps, "<f4").tobytes() + elements.tobytes())

    steps = st.lists(st.floats(0, 2**100, width=32), min_size=rows, max_size=rows)
    return st.builds(of, steps, st.binary(min_size=rows * columns, max_size=rows * columns))


@given(st.data())
def test_any_sketch_is_read_as_it_was_written(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 4))
    order = st.sampled_from(Order)
    names = st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace").decode())
    columns = KeptColumns(data.draw(packed(count, 3)), data.draw(order))
    units = [
        KeptUnits(
            data.draw(packed(1, 64)), data.draw(packed(1, count)) if layer else None,
            data.draw(order), (7, 8), layer,
        )
        for layer in range(data.draw(st.integers(0, 2)))
    ]  # fmt: skip
    made = Sketch(
        Sizes(hidden=3, layers=2, feed_forward=None, vocabulary=9, norm="rms"),
        ("layers.0", "layers.1"),
        tuple(range(count)),
        tuple(data.draw(st.lists(names, min_size=count, max_size=count))),
        columns if count else None,
        role="mlp.up",
        units=tuple(units),
        writers=tuple(replace(each, responses=None) for each in units),
        tensors=(
            KeptUnits(data.draw(packed(2, 64)), None, Order.FREE, (2, 9), name="a", turned=True),
        ),
    )
    assert Sketch.from_bytes(made.to_bytes()) == made


@given(st.integers(0, len(DATA) - 1))
def test_a_sketch_cut_short_is_an_error(length: int) -> None:
    with pytest.raises(CheckpointError):
        Sketch.from_bytes(DATA[:length])


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_an_error_or_another_sketch(where: int, value: int) -> None:
    damaged = bytearray(DATA)
    damaged[where] ^= value
    try:
        found = Sketch.from_bytes(bytes(damaged))
    except CheckpointError:
        return
    assert found != GOOD
    assert found.to_bytes() == bytes(damaged)
    relate(found, GOOD)


@given(st.binary(max_size=200))
def test_noise_is_no_sketch(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        Sketch.from_bytes(data)
    with pytest.raises(CheckpointError):
        Sketch.from_bytes(DATA[:8] + data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(DATA[16 : 16 + struct.unpack_from("<I", DATA, 12)[0]]))),
       JSON)  # fmt: skip
def test_no_forged_description_crashes_the_reader(key: str, value: object) -> None:
    length = struct.unpack_from("<I", DATA, 12)[0]
    said = json.loads(DATA[16 : 16 + length])
    said[key] = value
    text = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    forged = DATA[:12] + struct.pack("<I", len(text)) + text + DATA[16 + length :]
    with suppress(CheckpointError):
        relate(Sketch.from_bytes(forged), GOOD)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(Unsupported, match="version 9"):
        Sketch.from_bytes(DATA[:8] + struct.pack("<I", 9) + DATA[12:])
    with pytest.raises(LimitExceeded):
        Sketch.from_bytes(DATA[:12] + struct.pack("<I", 2**31) + DATA[16:])
    with pytest.raises(Truncated):
        Sketch.from_bytes(DATA[:12])
    with pytest.raises(CheckpointError, match="damaged"):
        Sketch.from_bytes(DATA + b"\0")


def test_sums_are_those_that_the_format_names() -> None:
    """A change here is a new version of the format."""
    row = np.arange(512, dtype=np.float32)[None] ** 2 % 97
    assert sums(row)[0, :4].tolist() == EXPECTED


EXPECTED = [-423, -49, -983, -1053]
