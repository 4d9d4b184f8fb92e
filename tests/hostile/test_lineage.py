"""Models that are broken, odd or out to harm, compared: an answer or a clear refusal, and soon."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy

from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError, SourceError, SteelyardError
from steelyard.lineage.comparing import compare
from steelyard.lineage.relation import Comparison, EditKind, Related
from steelyard.reports.pairs import html, markdown, text
from steelyard.reports.pairs import json as json_report
from steelyard.reports.pairs.words import PairReport
from steelyard.sources import Network, open_source
from tests.containers import CONTAINERS, TENSORS, as_gguf, as_safetensors, model_folder
from tests.lineage.memory import random_arrays
from tests.sources.hub_server import Fault, HubServer

Arrays = dict[str, np.ndarray[Any, Any]]

LONGEST_S = 60.0
"""Far beyond what any of these takes, on a machine that does much else."""
EMBEDDING = "model.embed_tokens.weight"
BASE = random_arrays(1)
OFFLINE = Network(offline=True)


def folder(place: Path, arrays: Arrays, **given: Any) -> Path:
    """Write a model as safetensors, without its documents unless they are asked for."""
    files = {"config": None, "card": None, "license_text": None, **given}
    return model_folder(place, weights=as_safetensors(arrays), **files)


def compared(
    base: Path | str, child: Path | str, *candidates: Path, network: Network = OFFLINE
) -> Comparison:
    """Compare two models and write the comparison in every format, in time."""
    began = time.monotonic()
    with ExitStack() as stack:
        models = []
        for spec in (base, child, *candidates):
            source = open_source(str(spec), network=network)
            stack.callback(source.close)
            models.append(read_model(source))
        others = {str(path): model for path, model in zip(candidates, models[2:], strict=True)}
        said = compare(models[0], models[1], candidates=others, names=("base", "child"))
    report = PairReport(said, "0.0.0")
    assert json.loads(json_report.render(report))["schema_version"]
    for render in (text.render, markdown.render, html.render):
        assert "\x1b" not in render(report)
    assert time.monotonic() - began < LONGEST_S
    return said


def both_ways(tmp_path: Path, odd: Arrays) -> Iterator[Comparison]:
    """Compare an odd model with a sound one and with itself, in both directions."""
    sound, strange = folder(tmp_path / "sound", BASE), folder(tmp_path / "odd", odd)
    yield compared(sound, strange)
    yield compared(strange, sound)
    yield compared(strange, strange)


def filled(value: float, *words: str) -> Arrays:
    """Fill the weights whose names hold one of the words (all if none is given)."""
    return {
        name: np.full_like(array, value) if not words or any(w in name for w in words) else array
        for name, array in BASE.items()
    }


FILLED: Mapping[str, Callable[[], Arrays]] = {
    "all NaN": lambda: filled(np.nan),
    "all infinite": lambda: filled(np.inf),
    "all minus infinite": lambda: filled(-np.inf),
    "all zero": lambda: filled(0.0),
    "all one": lambda: filled(1.0),
    "all the largest": lambda: filled(float(np.finfo(np.float32).max)),
    "all the smallest": lambda: filled(float(np.finfo(np.float32).smallest_subnormal)),
    "embedding NaN": lambda: filled(np.nan, "embed"),
    "embedding infinite": lambda: filled(np.inf, "embed"),
    "embedding zero": lambda: filled(0.0, "embed"),
    "embedding the largest": lambda: filled(float(np.finfo(np.float32).max), "embed"),
    "norms infinite": lambda: filled(np.inf, "norm"),
    "norms the largest": lambda: filled(float(np.finfo(np.float32).max), "norm"),
    "norms zero": lambda: filled(0.0, "norm"),
    "attention infinite": lambda: filled(-np.inf, "self_attn"),
    "up projections NaN": lambda: filled(np.nan, "up_proj"),
    "writing matrices zero": lambda: filled(0.0, "o_proj", "down_proj"),
    "one layer NaN": lambda: filled(np.nan, "layers.2."),
}


@pytest.mark.parametrize("kind", FILLED)
def test_numbers_that_are_none(kind: str, tmp_path: Path) -> None:
    answers = list(both_ways(tmp_path, FILLED[kind]()))
    if kind.startswith("all"):
        verdicts = {said.related.verdict for said in answers}
        assert verdicts <= {Related.NOT_FOUND, Related.CANNOT_TELL}


def test_what_is_damaged_does_not_hide_the_rest(tmp_path: Path) -> None:
    said, *_ = both_ways(tmp_path, filled(np.nan, "layers.2."))
    assert said.related.verdict is Related.RELATED
    matched = [part.name for part in said.related.components if part.base is not None]
    assert {"embedding", "layers.0", "layers.1", "layers.3"} <= set(matched)


def bert(seed: int = 3, *, layers: int = 2, width: int = 48) -> Arrays:
    """Make a BERT of random weights."""
    chance = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray[Any, Any]:
        return chance.standard_normal(shape, np.float32)

    made = {
        "bert.embeddings.word_embeddings.weight": drawn(400, width),
        "bert.embeddings.position_embeddings.weight": drawn(64, width),
        "bert.embeddings.LayerNorm.weight": drawn(width),
        "bert.embeddings.LayerNorm.bias": drawn(width),
    }
    for layer in range(layers):
        start = f"bert.encoder.layer.{layer}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense"):  # fmt: skip
            made[f"{start}.{name}.weight"] = drawn(width, width)
            made[f"{start}.{name}.bias"] = drawn(width)
        made[f"{start}.intermediate.dense.weight"] = drawn(4 * width, width)
        made[f"{start}.output.dense.weight"] = drawn(width, 4 * width)
    return made


def images() -> Arrays:
    """Make a network for images: convolutions, no embedding, no layers."""
    chance = np.random.default_rng(4)
    return {
        f"features.{n}.conv.weight": chance.standard_normal((32, 3 if n == 0 else 32, 3, 3), "f4")
        for n in range(4)
    }


@pytest.mark.parametrize("other", [bert, images], ids=["a BERT", "a network for images"])
def test_models_of_other_kinds(other: Callable[[], Arrays], tmp_path: Path) -> None:
    answers = list(both_ways(tmp_path, other()))
    for said in answers[:2]:
        assert said.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
        assert said.edits == ()
    assert [edit.kind for edit in answers[2].edits] == [EditKind.IDENTICAL]


def part(*words: str) -> Arrays:
    """Keep the weights whose names hold one of the words."""
    return {name: array for name, array in BASE.items() if any(word in name for word in words)}


def shaped(name: str, *shape: int) -> Arrays:
    """Replace one weight by ones of another shape."""
    return {**BASE, name: np.ones(shape, np.float32)}


def renumbered(number: int) -> Arrays:
    return {name.replace("layers.3.", f"layers.{number}."): a for name, a in BASE.items()}


UP = "model.layers.1.mlp.up_proj.weight"
SHAPES: Mapping[str, Callable[[], Arrays]] = {
    "no layers": lambda: part("embed", "norm.weight", "lm_head"),
    "an embedding alone": lambda: part("embed"),
    "one layer": lambda: part("embed", "layers.0."),
    "one layer and nothing else": lambda: part("layers.0."),
    "norms alone": lambda: part("norm"),
    "an embedding without rows": lambda: shaped(EMBEDDING, 0, 64),
    "an embedding without columns": lambda: shaped(EMBEDDING, 512, 0),
    "an embedding of one token": lambda: shaped(EMBEDDING, 1, 64),
    "an embedding of one number": lambda: shaped(EMBEDDING, 1, 1),
    "an embedding that is a vector": lambda: shaped(EMBEDDING, 512),
    "an embedding that is a scalar": lambda: shaped(EMBEDDING),
    "an embedding of three dimensions": lambda: shaped(EMBEDDING, 8, 64, 64),
    "an embedding of another width": lambda: shaped(EMBEDDING, 512, 48),
    "a matrix without rows": lambda: shaped(UP, 0, 64),
    "a matrix without columns": lambda: shaped(UP, 160, 0),
    "a matrix that is a scalar": lambda: shaped(UP),
    "a matrix that is a vector": lambda: shaped(UP, 160),
    "a matrix of one number": lambda: shaped(UP, 1, 1),
    "a matrix of another width": lambda: shaped(UP, 160, 32),
    "a matrix of another height": lambda: shaped(UP, 7, 64),
    "a norm that is a scalar": lambda: shaped("model.layers.0.input_layernorm.weight"),
    "a norm that is a matrix": lambda: shaped("model.layers.0.input_layernorm.weight", 64, 64),
    "a norm of another width": lambda: shaped("model.layers.0.input_layernorm.weight", 63),
    "a norm without numbers": lambda: shaped("model.layers.0.input_layernorm.weight", 0),
    "a layer of a huge number": lambda: renumbered(999_999),
    "a layer of a number too long": lambda: renumbered(10**30),
    "names that say nothing": lambda: {f"x{n}": a for n, a in enumerate(BASE.values())},
    "a name of many words": lambda: {
        **part("embed"),
        "a." * 400 + "weight": np.ones((64, 64), "f4"),
    },
    "one scalar": lambda: {"x": np.ones((), np.float32)},
    "one number": lambda: {"x": np.ones(1, np.float32)},
    "whole numbers": lambda: {name: a.astype(np.int64) for name, a in BASE.items()},
    "bytes": lambda: {name: np.zeros(a.shape, np.uint8) for name, a in BASE.items()},
    "truth values": lambda: {name: a > 0 for name, a in BASE.items()},
    "doubles": lambda: {name: a.astype(np.float64) * 1e300 for name, a in BASE.items()},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_that_no_model_has(kind: str, tmp_path: Path) -> None:
    assert len(list(both_ways(tmp_path, SHAPES[kind]()))) == 3


def test_a_file_without_tensors(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    said = compared(folder(tmp_path / "sound", BASE), empty)
    assert said.related.verdict is Related.CANNOT_TELL


def test_no_configuration_is_needed(tmp_path: Path) -> None:
    bare = folder(tmp_path / "bare", BASE)
    full = folder(tmp_path / "full", BASE, config={"model_type": "llama"})
    assert compared(bare, full).related.verdict is Related.RELATED


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 0}, {"num_attention_heads": -4}, {"num_attention_heads": 10**30},
        {"num_attention_heads": "4"}, {"num_attention_heads": 7, "num_key_value_heads": 3},
        {"hidden_size": 10**12, "vocab_size": 10**12, "num_hidden_layers": 10**9},
        {"model_type": ["llama"]}, {"quantization_config": "gptq"},
        {"quantization_config": {"quant_method": "gptq", "bits": 10**9, "group_size": 0}},
        [], None,
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_lies(config: Any, tmp_path: Path) -> None:
    given = {"extra": {"config.json": json.dumps(config)}}
    liar = folder(tmp_path / "liar", BASE, **given)
    sound = folder(tmp_path / "sound", BASE)
    assert compared(sound, liar).related.verdict is Related.RELATED
    assert compared(liar, sound).related.verdict is Related.RELATED


def refused(act: Callable[[], object]) -> bool:
    """Act; tell whether it was refused, which must then be explained."""
    try:
        act()
    except SteelyardError as error:
        known = isinstance(error, SourceError | CheckpointError)
        if not (known and error.what and (error.file or error.fix)):
            pytest.fail(f"an error that does not say enough: {error!r}")
        return True
    return False


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_that_ends_early(container: str, tmp_path: Path) -> None:
    files = CONTAINERS[container](TENSORS)
    name = max(files, key=lambda each: len(files[each]))
    whole = files[name]
    sound = model_folder(tmp_path / "sound")
    outcomes = []
    for number, share in enumerate((0.999, 0.9, 0.5, 0.1)):
        cut = model_folder(
            tmp_path / f"cut{number}", weights={**files, name: whole[: int(len(whole) * share)]}
        )
        outcomes.append(refused(partial(compared, sound, cut)))
    # Of several shards, those that are whole are compared.
    assert set(outcomes) == {container != "shards"}


def header(**tensors: Any) -> bytes:
    """Write the head of a safetensors file."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def claim(shape: list[int], size: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}


@pytest.mark.parametrize("rows", [2**31, 2**40, 2**62, 2**64])
def test_a_vocabulary_that_is_not_there(rows: int, tmp_path: Path) -> None:
    liar = tmp_path / "liar"
    liar.mkdir()
    data = header(**{EMBEDDING: claim([rows, 64], rows * 256)}) + bytes(4096)
    (liar / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        compared(model_folder(tmp_path / "sound"), liar)
    assert caught.value.file == "model.safetensors"


def test_a_vocabulary_that_is_huge_but_there(tmp_path: Path) -> None:
    rows = 2**28
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        head = header(**{EMBEDDING: claim([rows, 64], rows * 256)})
        with (place / "model.safetensors").open("wb") as stream:
            stream.write(head)
            stream.truncate(len(head) + rows * 256)
    said = compared(tmp_path / "one", tmp_path / "two")
    assert said.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)
    assert said.bytes_read < 100_000_000
    other = compared(model_folder(tmp_path / "sound"), tmp_path / "one")
    assert other.related.verdict in (Related.NOT_FOUND, Related.CANNOT_TELL)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"x"', "{}", '{"model": 7}', '{"model": {"vocab": []}}',
        '{"model": {"vocab": {"a": -1}}}', '{"model": {"vocab": {"a": 1e400}}}',
        '{"model": {"vocab": {"a": 99999999999999999999999}}}',
        '{"model": {"vocab": {"a": true, "b": null, "c": "0", "d": [0], "e": 1.5}}}',
        '{"model": {"vocab": {"a": 0, "b": 0, "c": 0}}}',
        '{"model": {"vocab": [["a", 0.1], ["b"], "c", 5]}}',
        '{"model": {"vocab": {"\\ud800": 3, "\\u0000": 4}}}',
        '{"added_tokens": [1, {"id": -5, "content": "x"}, {"content": 3, "id": 2}]}',
        '{"added_tokens": {"id": 0}}', "[" * 100_000, '{"model": ' * 5_000,
        json.dumps({"model": {"vocab": {f"t{n}": 15_999_999 - n for n in range(600)}}}),
        json.dumps({"model": {"vocab": {f"t{n}": n % 7 for n in range(600)}}}),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_tokenizer_out_to_harm(text: str, tmp_path: Path) -> None:
    good = json.dumps({"model": {"vocab": {f"t{n}": n for n in range(512)}}})
    evil = folder(tmp_path / "evil", BASE, extra={"tokenizer.json": text})
    sound = folder(tmp_path / "sound", BASE, extra={"tokenizer.json": good})
    for said in (compared(sound, evil), compared(evil, sound), compared(evil, evil)):
        assert said.related.verdict in (Related.RELATED, Related.SHARES_COMPONENT)


@pytest.mark.parametrize("name", ["vocab.txt", "vocab.json"])
@pytest.mark.parametrize("data", [b"", b"\n" * 10_000, b"\xff\xfe\x00", b"a\n" * 5_000, b"{}"])
def test_a_vocabulary_out_to_harm(name: str, data: bytes, tmp_path: Path) -> None:
    evil = folder(tmp_path / "evil", BASE, extra={name: data})
    said = compared(folder(tmp_path / "sound", BASE), evil)
    assert said.related.verdict is Related.RELATED


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    place = tmp_path / "twice"
    place.mkdir()
    one = json.dumps(claim([4, 4], 64))
    text = f'{{"{EMBEDDING}": {one}, "{EMBEDDING}": {one}}}'.encode()
    (place / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    with pytest.raises(CheckpointError) as caught:
        compared(folder(tmp_path / "sound", BASE), place)
    assert caught.value.file == "model.safetensors"


def test_two_names_for_one_role(tmp_path: Path) -> None:
    twice = {**BASE, "transformer.wte.weight": BASE[EMBEDDING] * 2, "embeddings.weight": BASE[UP]}
    assert len(list(both_ways(tmp_path, twice))) == 3


def test_a_candidate_that_is_of_no_use(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", BASE)
    moved = {
        name: array + np.float32(0.01) * random_arrays(9)[name] for name, array in BASE.items()
    }
    child = folder(tmp_path / "child", moved)
    useless = [
        folder(tmp_path / "nan", filled(np.nan)),
        folder(tmp_path / "zero", filled(0.0)),
        folder(tmp_path / "bert", bert()),
        folder(tmp_path / "narrow", random_arrays(5, width=32)),
        folder(tmp_path / "again", BASE),
    ]
    said = compared(base, child, *useless)
    assert [edit.kind for edit in said.edits] == [EditKind.FINETUNE]
    assert "nearest" not in said.edits[0].details


def test_the_same_model_twice(tmp_path: Path) -> None:
    place = folder(tmp_path / "one", BASE)
    said = compared(place, place, place)
    assert [edit.kind for edit in said.edits] == [EditKind.IDENTICAL]
    assert said.related.verdict is Related.RELATED


def test_gguf_against_what_it_is_not(tmp_path: Path) -> None:
    gguf = model_folder(tmp_path / "gguf", weights=as_gguf())
    for other in (bert(), images(), random_arrays(8)):
        said = compared(folder(tmp_path / f"other{len(other)}", other), gguf)
        assert said.edits == ()


def test_no_warning_is_left_over(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild = {name: (a * np.float32(1e38)).astype("f4") for name, a in BASE.items()}
        assert len(list(both_ways(tmp_path, wild))) == 3


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(cut=100),
        Fault(claim_size=10**15),
        Fault(content=b"another file " * 100_000),
    ],
    ids=["an error", "a cut", "a claim", "a change"],
)
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_remote_that_fails_midway(
    fault: Fault, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    sound = folder(tmp_path / "sound", random_arrays(13, layers=2, vocabulary=20_000))
    with HubServer({"org/model": sound}) as hub:
        network = Network(endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        source = open_source("hf://org/model", network=network)
        model = read_model(source)
        local = open_source(str(sound), network=OFFLINE)
        hub.files.faults.append(Fault(times=after))
        hub.files.faults.append(replace(fault))
        try:
            assert refused(lambda: compare(read_model(local), model))
        finally:
            source.close()
            local.close()
            huggingface_hub.close_session()


def test_an_adapter_with_factors_that_do_not_multiply(tmp_path: Path) -> None:
    start = "base_model.model.model.layers.0.self_attn.q_proj"
    ones = np.ones((8, 64), np.float32)
    for number, (down, up) in enumerate(
        [
            (ones, ones), (ones[:0], ones.T[:, :0]), (ones, ones.T * np.nan), (ones, ones.T * 0),
            (ones * 3e38, ones.T * 3e38), (ones[0], ones[0]), (ones, np.ones((64, 8, 1, 1), "f4")),
        ]
    ):  # fmt: skip
        tensors = {f"{start}.lora_A.weight": down, f"{start}.lora_B.weight": up}
        data = {"adapter_model.safetensors": safetensors.numpy.save(tensors)}
        adapter = model_folder(tmp_path / f"adapter{number}", weights=data)
        said = compared(folder(tmp_path / f"sound{number}", BASE), adapter)
        assert said.related.verdict is Related.CANNOT_TELL


def test_many_small_matrices_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.lineage.relating.anonymous._MOST_PAIRS", 2_000)
    chance = np.random.default_rng(6)
    many = {f"x{n}": chance.standard_normal((16, 16), np.float32) for n in range(600)}
    other = {name: array[::-1].copy() for name, array in many.items()}
    said = compared(folder(tmp_path / "one", many), folder(tmp_path / "two", other))
    assert said.related.verdict is Related.NOT_FOUND


def test_rows_too_wide_to_be_held(tmp_path: Path) -> None:
    place = tmp_path / "wide"
    place.mkdir()
    width = 2**28
    head = header(**{EMBEDDING: claim([64, width], 64 * width * 4)})
    with (place / "model.safetensors").open("wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + 64 * width * 4)
    assert refused(partial(compared, place, place))
