"""What changed between two models is said in words, by area; locks stand in for models."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from steelyard.sealing.comparing import compare_sealed
from steelyard.sealing.differences import Area, Differences
from steelyard.sealing.lock_document import LockDocument, write_lock
from steelyard.sealing.reports import difference_json, difference_markdown, difference_text
from steelyard.sealing.snapshots import Snapshot, Wanted, take
from steelyard.sources import Network
from tests.lineage.derivations.numbers import finetune
from tests.lineage.memory import random_arrays
from tests.models import CARD, folder, weights
from tests.sources.hub_server import HubServer

BEGIN = "bos_token"
WORDS = {f"t{n}": n for n in range(16)}
CONFIG = {BEGIN: "<s>", "chat_template": "{% for m in messages %}\n{{ m }}\n{% endfor %}"}


def tokenizer(words: dict[str, int]) -> bytes:
    return json.dumps({"model": {"vocab": words}}).encode()


def files(**changes: object) -> dict[str, bytes]:
    config = json.dumps({**CONFIG, **changes}).encode()
    return {"tokenizer.json": tokenizer(WORDS), "tokenizer_config.json": config, "LOG": b"1\n"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return folder(tmp_path / "old", files=files())


def snapshot(path: Path) -> Snapshot:
    with ExitStack() as stack:
        return take(path, stack, Wanted(lineage=False))


def compared(old: Path, new: Path) -> Differences:
    with ExitStack() as stack:
        wanted = Wanted(lineage=False)
        return compare_sealed(take(old, stack, wanted), take(new, stack, wanted))


def told(said: Differences, area: Area) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.kind.value, each.subject, each.old, each.new) for each in said.of(area)]


def test_nothing_changed(old: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new", files=files())
    said = compared(old, new)
    assert said.same
    assert difference_text.render(said) == f"{old} and {new} are the same\n"


def test_tensors(old: Path, tmp_path: Path) -> None:
    arrays = {name: array.copy() for name, array in weights().items()}
    arrays["model.layers.0.mlp.up_proj.weight"][0, 0] += 1
    arrays["model.layers.1.mlp.up_proj.weight"] = np.zeros((8, 8), np.float32)
    arrays["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"].astype(np.float16)
    del arrays["model.norm.weight"]
    arrays["model.extra.weight"] = np.zeros(3, np.float32)
    said = compared(old, folder(tmp_path / "new", tensors=arrays, files=files()))
    found = told(said, Area.WEIGHTS)
    assert ("changed", "layers.0.mlp.up.weight", None, None) in found
    assert ("reshaped", "layers.1.mlp.up.weight", "[16, 8]", "[8, 8]") in found
    assert ("retyped", "embedding.weight", "F32", "F16") in found
    assert ("removed", "norm.final.weight", "F32 [8]", None) in found
    assert [(each[0], each[3]) for each in found if "extra" in each[1]] == [("added", "F32 [3]")]
    assert [each[0] for each in found if each[1] == "identity"] == ["changed"]
    assert told(said, Area.TEMPLATE) == []


def test_how_far_weights_moved(tmp_path: Path) -> None:
    base = random_arrays(11, layers=4, width=64, feed_forward=96, vocabulary=400)
    old = folder(tmp_path / "old", tensors=base)
    new = folder(tmp_path / "new", tensors=finetune(base, seed=1).arrays)
    said = compared(old, new)
    assert said.comparison is not None
    moved = [each for each in said.of(Area.WEIGHTS) if each.kind == "moved"]
    assert [each.subject for each in moved] == ["finetune"]
    assert "% of their size" in difference_text.render(said)
    with ExitStack() as stack:
        pair = [take(path, stack, Wanted(lineage=False)) for path in (old, new)]
        assert compare_sealed(*pair, budget=0).comparison is None


def test_one_flipped_bit_that_no_sample_shows(tmp_path: Path) -> None:
    base = random_arrays(11, layers=2, width=64, feed_forward=4096, vocabulary=4000)
    changed = {name: array.copy() for name, array in base.items()}
    changed["model.layers.1.mlp.up_proj.weight"][1234, 5] *= 1.001
    old = folder(tmp_path / "old", tensors=base)
    with ExitStack() as stack:
        pair = [
            take(path, stack, Wanted(lineage=False))
            for path in (old, folder(tmp_path / "new", tensors=changed))
        ]
        said = compare_sealed(*pair, budget=500_000)
    assert ("changed", "layers.1.mlp.up.weight", None, None) in told(said, Area.WEIGHTS)
    assert "in none of the rows that were sampled" in difference_text.render(said)


def test_a_template_line_by_line(old: Path, tmp_path: Path) -> None:
    text = CONFIG["chat_template"].replace("{{ m }}", "{{ m }} now buy")
    said = compared(old, folder(tmp_path / "new", files=files(chat_template=text)))
    (found,) = said.of(Area.TEMPLATE)
    assert found.subject == "tokenizer_config.json chat_template"
    assert [line for line in found.lines if line[0] in "+-"] == [
        "--- old", "+++ new", "-{{ m }}", "+{{ m }} now buy",
    ]  # fmt: skip
    assert "             +{{ m }} now buy\n" in difference_text.render(said)
    assert "```diff\n--- old" in difference_markdown.render(said)
    added = compared(folder(tmp_path / "none", files={}), tmp_path / "new")
    (found,) = added.of(Area.TEMPLATE)
    assert found.kind == "added"
    assert "+{{ m }} now buy" in found.lines


def test_a_fence_cannot_be_closed_from_within(old: Path, tmp_path: Path) -> None:
    said = compared(old, folder(tmp_path / "new", files=files(chat_template="x\n````\n# boo")))
    assert "`````diff" in difference_markdown.render(said)


def test_tokens(old: Path, tmp_path: Path) -> None:
    words = {**WORDS, "new": 16, "t3": 4, "t4": 3}
    del words["t7"]
    changed = {**files(**{BEGIN: "<b>"}), "tokenizer.json": tokenizer(words)}
    said = compared(old, folder(tmp_path / "new", files=changed))
    assert told(said, Area.TOKENIZER) == [
        ("added", "new", None, "16"),
        ("moved", "t3", "3", "4"),
        ("moved", "t4", "4", "3"),
        ("removed", "t7", "7", None),
        ("changed", "bos_token", "<s>", "<b>"),
    ]


def test_license_and_card(old: Path, tmp_path: Path) -> None:
    card = CARD.replace("apache-2.0", "cc-by-nc-4.0") + "\n## Limits\n\nMany.\n"
    said = compared(old, folder(tmp_path / "new", card=card, files=files()))
    found = told(said, Area.LICENSE)
    assert ("changed", "effective", "Apache-2.0", "CC-BY-NC-4.0") in found
    assert ("added", "restrictions", None, "noncommercial") in found
    assert told(said, Area.CARD) == [
        ("changed", "field license", "apache-2.0", "cc-by-nc-4.0"),
        ("added", "section Limits", None, None),
    ]


def test_files(old: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new", files=files())
    (new / "LOG").rename(new / "LOG.txt")
    (new / "config.json").write_text("{}")
    (new / "x.py").write_text("x")
    (new / "README.md").unlink()
    said = compared(old, new)
    assert [each[:2] for each in told(said, Area.FILES)] == [
        ("renamed", "LOG.txt"), ("removed", "README.md"), ("changed", "config.json"),
        ("added", "x.py"),
    ]  # fmt: skip
    assert told(said, Area.CARD) == [("removed", "the card", None, None)]


CHANGES: list[Callable[[Path], object]] = [
    lambda new: (new / "LOG").write_bytes(b"2"),
    lambda new: (new / "tokenizer.json").write_bytes(tokenizer({**WORDS, "x": 16})),
    lambda new: (new / "README.md").write_text(CARD.replace("apache-2.0", "mit")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_lock_stands_in_for_its_model(
    old: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    new = folder(tmp_path / "new", files=files())
    change(new)
    paths = [tmp_path / "old.lock", tmp_path / "new.json"]
    for path, model in zip(paths, (old, new), strict=True):
        path.write_bytes(write_lock(snapshot(model).lock))
    whole = compared(old, new)
    for pair in ((paths[0], new), (old, paths[1]), (paths[0], paths[1])):
        said = compared(*pair)
        assert {each.area for each in said.found} == {each.area for each in whole.found}
        assert told(said, Area.FILES) == told(whole, Area.FILES)
        assert told(said, Area.LICENSE) == told(whole, Area.LICENSE)
    assert compared(paths[0], old).same


def test_what_another_version_reads_differently_is_no_difference(old: Path) -> None:
    now = snapshot(old)
    lock: LockDocument = now.lock.model_copy(
        update={"license": {"effective": "MIT"}, "steelyard": "0.0.1"}
    )
    said = compare_sealed(replace(now, lock=lock), now)
    assert said.same
    assert any("effective is read differently" in note for note in said.notes)


def test_what_only_one_side_tells_is_a_note(old: Path) -> None:
    now = snapshot(old)
    assert now.lock.weights is not None
    unread = now.lock.weights.model_copy(update={"identity": None})
    with_lineage = now.lock.model_copy(update={"lineage": {"base": "x"}, "weights": unread})
    said = compare_sealed(replace(now, lock=with_lineage), now)
    assert said.same
    assert len([note for note in said.notes if "only one side" in note]) == 2


def test_the_json_is_what_its_schema_says(old: Path, tmp_path: Path) -> None:
    schema = json.loads(difference_json.shipped_schema())
    assert schema == difference_json.schema()
    new = folder(tmp_path / "new", tensors=weights(3), files=files(chat_template="x"))
    for said in (compared(old, new), compared(old, old)):
        jsonschema.validate(json.loads(difference_json.render(said)), schema)


def test_names_cannot_draw_on_the_screen(old: Path, tmp_path: Path) -> None:
    words = {**WORDS, "\x1b[31m": 16, "\n": 17, "|a|": 18}
    changed = {**files(**{BEGIN: "\x1b[2J"}), "tokenizer.json": tokenizer(words)}
    said = compared(old, folder(tmp_path / "new", files=changed))
    for render in (difference_text.render, difference_markdown.render):
        assert "\x1b" not in render(said)
    assert "'\\n': 17" in difference_text.render(said)


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_remote_models_are_compared_without_a_download(tmp_path: Path) -> None:
    base = random_arrays(11, layers=4, width=64, feed_forward=96, vocabulary=400)
    old = folder(tmp_path / "old", tensors=base)
    new = folder(tmp_path / "new", tensors=finetune(base, seed=1).arrays)
    with HubServer({"org/m": old, "org/m@v2": new}) as hub, ExitStack() as stack:
        wanted = Wanted(network=Network(endpoint=hub.endpoint), lineage=False)
        pair = [take(spec, stack, wanted) for spec in ("hf://org/m", "hf://org/m@v2")]
        said = compare_sealed(*pair)
    assert [each[:2] for each in told(said, Area.WEIGHTS)] == [("moved", "finetune")]
    assert [each[:2] for each in told(said, Area.FILES)] == [("changed", "model.safetensors")]
