"""Files that lie, end early or are out to harm, compared: an answer or a clear refusal, soon."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError
from steelyard.lineage.comparing import compare
from steelyard.lineage.relation import Related
from steelyard.sources import Network, open_source
from tests.containers import CONTAINERS, TENSORS, model_folder
from tests.hostile.comparing import BASE, EMBEDDING, OFFLINE, compared, folder, refused
from tests.lineage.memory import random_arrays
from tests.sources.hub_server import HubServer
from tests.sources.serving import Fault


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


def test_rows_too_wide_to_be_held(tmp_path: Path) -> None:
    place = tmp_path / "wide"
    place.mkdir()
    width = 2**28
    head = header(**{EMBEDDING: claim([64, width], 64 * width * 4)})
    with (place / "model.safetensors").open("wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + 64 * width * 4)
    assert refused(partial(compared, place, place))
