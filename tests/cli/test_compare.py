"""`steelyard compare`: what goes in, what comes out, and what is said where it cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
import safetensors.numpy

from steelyard.cli.compare import FORMATS, Size
from steelyard.lineage.relation import EditKind
from steelyard.reports.pairs import json as json_report
from tests.cli.running import Run, process
from tests.containers import as_gguf, as_safetensors, model_folder
from tests.lineage.derivations.merges import linear
from tests.lineage.derivations.numbers import finetune
from tests.lineage.derivations.removals import abliterate
from tests.lineage.derivations.shapes import relayered
from tests.lineage.memory import random_arrays
from tests.sources.hub_server import HubServer
from tests.sources.serving import Fault

Arrays = dict[str, np.ndarray[Any, Any]]
BASE = random_arrays(11, layers=4, width=64, feed_forward=96, vocabulary=400)
LARGE = random_arrays(13, layers=2, vocabulary=20_000)
SIZE = sum(array.nbytes for array in LARGE.values())


def write(name: str, arrays: Arrays = BASE) -> str:
    """Write a model into the working folder."""
    model_folder(Path(name), weights=as_safetensors(arrays), card=None, license_text=None)
    return name


@pytest.fixture
def base(folder: Path) -> str:
    return write("base")


def said(run: Run, *arguments: str) -> Any:
    """Compare and read the JSON, which must be what its schema says."""
    outcome = run("compare", *arguments, "--format", "json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    jsonschema.validate(report, json.loads(json_report.shipped_schema()))
    return report


def test_the_shape_that_others_rely_on(base: str, run: Run) -> None:
    report = said(run, base, write("tuned", finetune(BASE, seed=1).arrays))
    assert report["related"]["verdict"] == "related"
    assert report["related"]["log10_p"] < -50
    assert report["related"]["exact"] is True
    names = [part["name"] for part in report["related"]["components"]]
    assert names[0] == "embedding"
    assert {"layers.0", "layers.3"} <= set(names)
    assert report["encoding"]["kind"] == "same"
    assert [edit["kind"] for edit in report["edits"]] == ["finetune"]
    assert 0 < report["edits"][0]["change"] < 0.1
    assert report["bytes_read"] > 0
    assert report["requests"] > 0
    assert (report["base"], report["child"]) == ("base", "tuned")


def test_a_merge_names_its_parents(base: str, run: Run) -> None:
    one, two = (finetune(BASE, seed=seed).arrays for seed in (2, 3))
    child = write("merged", linear({"a": one, "b": two}, {"a": 0.7, "b": 0.3}).arrays)
    parents = [write("first", one), write("second", two)]
    report = said(run, base, child, "--candidate", parents[0], "--candidate", parents[1])
    (edit,) = report["edits"]
    assert edit["kind"] == "merge"
    found = dict(zip(edit["parents"], edit["coefficients"], strict=True))
    assert found["first"] == pytest.approx(0.7, abs=0.02)
    assert found["second"] == pytest.approx(0.3, abs=0.02)


def test_abliteration_tells_the_strength_of_each_matrix(base: str, run: Run) -> None:
    child = write("free", abliterate(BASE, seed=4, share=0.8).arrays)
    report = said(run, base, child)
    (edit,) = report["edits"]
    assert edit["kind"] == "abliterated"
    assert edit["strength"]["model.layers.0.mlp.down_proj.weight"] == pytest.approx(0.8, abs=0.03)
    shown = run("compare", base, child).out
    assert "evaluations of the base do not vouch for this model" in " ".join(shown.split())


def test_dropped_layers_come_with_their_map(base: str, run: Run) -> None:
    report = said(run, base, write("short", relayered(BASE, [0, 1, 3]).arrays))
    (edit,) = report["edits"]
    assert (edit["kind"], edit["layer_map"]) == ("depth_pruned", [0, 1, 3])


def test_another_container_is_the_same_model(run: Run) -> None:
    model_folder(Path("folder"))
    model_folder(Path("converted"), weights=as_gguf())
    report = said(run, "folder", "converted/model.gguf")
    assert [edit["kind"] for edit in report["edits"]] == ["identical"]
    assert report["encoding"]["containers"] == {"base": "safetensors", "child": "gguf"}


def test_independent_models(base: str, run: Run) -> None:
    other = random_arrays(12, layers=4, width=64, feed_forward=96, vocabulary=400)
    outcome = run("compare", base, write("other", other))
    assert (outcome.code, outcome.err) == (0, "")
    assert "NO LINEAGE FOUND" in outcome.out
    assert "same configuration, unrelated weights" in " ".join(outcome.out.split())


def test_the_same_files_twice_are_noted(base: str, run: Run) -> None:
    outcome = run("compare", base, f"./{base}/")
    assert outcome.code == 0
    assert outcome.err == "note: base and child are the same files\n"
    assert run("compare", base, base, "--quiet").err == ""


def test_a_candidate_that_is_one_of_the_two_is_left_out(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=5).arrays)
    report = said(run, base, child, "--candidate", child, "--candidate", base)
    (edit,) = report["edits"]
    assert edit["kind"] == "finetune"
    assert "nearest" not in edit


def test_the_same_input_gives_the_same_bytes(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=6).arrays)
    for name in FORMATS:
        first, second = (run("compare", base, child, "-f", name).out for _ in range(2))
        assert first == second


def test_several_formats_in_one_run(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=7).arrays)
    outcome = run("compare", base, child, "-f", "html=page.html", "-f", "json", "-o", "said.json",
                  "-f", "text", "-o", "notes.md")  # fmt: skip
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert json.loads(Path("said.json").read_text())["child"] == "tuned"
    assert Path("notes.md").read_text().startswith("tuned against base")
    outcome = run("compare", base, child, "-o", "x.md", "-o", "x.html", "-o", "x.txt")
    assert outcome.code == 0
    assert Path("x.md").read_text().startswith("# tuned against base")


def test_ascii_is_ascii(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=8).arrays)
    assert not run("compare", base, child).out.isascii()
    assert run("compare", base, child, "--ascii").out.isascii()


def test_a_terminal_without_blocks_gets_ascii(base: str) -> None:
    child = write("tuned", finetune(BASE, seed=8).arrays)
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = process("compare", base, child, environ=plain)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_no_color_is_no_color(base: str) -> None:
    child = write("tuned", finetune(BASE, seed=8).arrays)
    for name, colored in (("FORCE_COLOR", True), ("NO_COLOR", False)):
        environ = {**os.environ, "FORCE_COLOR": "1", name: "1"}
        done = process("compare", base, child, environ=environ)
        assert (b"\x1b[" in done.stdout) is colored


@pytest.mark.parametrize(
    ("written", "size"),
    [("64MB", 64_000_000), ("64 MiB", 2**26), ("1GB", 10**9), ("5kb", 5_000), ("12", 12)],
)
def test_sizes(written: str, size: int) -> None:
    assert Size().convert(written, None, None) == size


@pytest.mark.parametrize("written", ["", "0", "-1MB", "1.5GB", "MB", "64 lots", "9" * 20, "1TB"])
def test_what_is_no_size(written: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        Size().convert(written, None, None)


def test_a_verdict_alone_reads_less(base: str, run: Run) -> None:
    whole, alone = (said(run, base, base, "-q", *more) for more in ((), ("--verdict-only",)))
    assert alone["related"]["verdict"] == "related"
    assert alone["edits"] == []
    assert alone["bytes_read"] < whole["bytes_read"] / 2
    assert alone["notes"] == ["what was done was not asked for"]


def test_a_budget_is_kept(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=9).arrays)
    whole = said(run, base, child)
    little = said(run, base, child, "--budget", "60kB")
    assert little["bytes_read"] < whole["bytes_read"] / 2
    assert little["related"]["verdict"] == "related"
    assert said(run, base, child, "--budget", "1")["related"]["verdict"] == "related"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Missing argument"),
        (("base",), 2, "Missing argument"),
        (("base", "nowhere"), 3, "nowhere"),
        (("nowhere", "base"), 3, "nowhere"),
        (("base", "empty"), 3, "there are no weights to compare"),
        (("base", "documents"), 3, "there are no weights to compare"),
        (("base", "damaged"), 3, "model.safetensors"),
        (("base", "base", "--candidate", "damaged"), 3, "model.safetensors"),
        (("base", "base", "--budget", "much"), 2, "is no size"),
        (("base", "base", "--format", "pdf"), 2, "there is no format 'pdf'"),
        (("base", "base", "--output", "report.pdf"), 2, "does not tell a format"),
        (("base", "base", "--registry", "nowhere"), 3, "nowhere"),
        (("base", "base", "--registry", "damaged/model.safetensors"), 3, "damaged"),
        (("base", "hf://org/name", "--offline"), 3, "offline"),
        (("adapter", "base"), 3, "the base is an adapter"),
        (("base", "base", "--candidate", "adapter"), 3, "the candidate is an adapter"),
    ],
)
def test_what_is_refused(
    arguments: tuple[str, ...], code: int, words: str, base: str, run: Run
) -> None:
    write_adapter("adapter")
    Path("empty").mkdir()
    model_folder(Path("documents"), weights={})
    model_folder(Path("damaged"), weights={"model.safetensors": b"\x10" + bytes(40)})
    outcome = run("compare", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def write_adapter(name: str) -> str:
    """Write a LoRA of rank 4 for two matrices of each layer."""
    chance = np.random.default_rng(1)
    tensors = {}
    for layer in range(4):
        for target, outputs in (("q_proj", 64), ("v_proj", 32)):
            start = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            tensors[f"{start}.lora_A.weight"] = chance.standard_normal((4, 64), np.float32)
            tensors[f"{start}.lora_B.weight"] = chance.standard_normal((outputs, 4), np.float32)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "org/base"}
    model_folder(
        Path(name),
        weights={"adapter_model.safetensors": safetensors.numpy.save(tensors)},
        config=None,
        card=None,
        extra={"adapter_config.json": json.dumps(settings)},
    )
    return name


def test_an_adapter_is_told_from_its_own_matrices(base: str, run: Run) -> None:
    report = said(run, base, write_adapter("adapter"))
    assert report["related"]["verdict"] == "cannot_tell"
    assert "all 8 of its updates fit the base" in " ".join(report["related"]["notes"])
    (edit,) = report["edits"]
    assert (edit["kind"], edit["rank"]) == (EditKind.LORA, 4)
    assert edit["roles"] == ["attention.q", "attention.v"]
    assert edit["change"] > 0
    assert "org/base" in " ".join(report["notes"])


def test_files_that_are_not_read_are_noted(base: str, run: Run) -> None:
    child = write("tuned", finetune(BASE, seed=10).arrays)
    Path("tuned/extra.gguf").write_bytes(b"GGUF" + bytes(20))
    outcome = run("compare", base, child)
    assert outcome.code == 0
    assert outcome.err == "note: tuned: 1 file was not read in full; steelyard audit says why\n"


def test_the_settings_can_forbid_the_network(base: str, run: Run) -> None:
    Path("steelyard.toml").write_text("offline = true\n")
    outcome = run("compare", base, "hf://org/name")
    assert outcome.code == 3
    assert "offline" in outcome.err


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestHub:
    @pytest.fixture(autouse=True)
    def hub(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
        write("model", LARGE)
        with HubServer({"org/model": Path("model")}) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
            monkeypatch.setattr("time.sleep", lambda _: None)
            yield hub

    def test_a_repository_is_read_in_place(self, hub: HubServer, run: Run) -> None:
        report = said(run, "model", "hf://org/model")
        assert [edit["kind"] for edit in report["edits"]] == ["identical"]
        assert sum(each.sent for each in hub.requests) < SIZE / 2

    @pytest.mark.parametrize("after", [0, 2, 4])
    def test_a_server_that_fails_midway(self, after: int, hub: HubServer, run: Run) -> None:
        hub.files.faults.append(Fault(times=after))
        hub.files.faults.append(Fault(status=500))
        outcome = run("compare", "model", "hf://org/model")
        assert (outcome.code, outcome.out) == (3, "")
        assert "the server answers 500" in outcome.err
        assert "\n  fix: " in outcome.err


class TestRegistry:
    @pytest.fixture(autouse=True)
    def parents(self, base: str, run: Run) -> None:
        """Know two fine-tunes by name, and merge them."""
        made = {name: finetune(BASE, seed=seed).arrays for seed, name in enumerate("ab", 20)}
        for name, arrays in made.items():
            write(name, arrays)
            arguments = ("lineage", "add", name, "--name", f"acme/{name}", "--registry", "team.lin")
            assert run(*arguments).code == 0
        write("merged", linear(made, {"a": 0.6, "b": 0.4}).arrays)

    def test_it_finds_the_parents(self, run: Run) -> None:
        report = said(run, "base", "merged", "--registry", "team.lin")
        (edit,) = report["edits"]
        found = dict(zip(edit["parents"], edit["coefficients"], strict=True))
        assert found["acme/a"] == pytest.approx(0.6, abs=0.02)
        assert found["acme/b"] == pytest.approx(0.4, abs=0.02)

    def test_the_settings_can_name_it(self, run: Run) -> None:
        Path("steelyard.toml").write_text('registries = ["team.lin"]\n')
        (edit,) = said(run, "base", "merged")["edits"]
        assert edit["kind"] == "merge"

    def test_what_is_not_at_hand_is_named(self, run: Run) -> None:
        Path("a").rename("elsewhere")
        outcome = run("compare", "base", "merged", "--registry", "team.lin")
        assert outcome.code == 0
        assert outcome.err == (
            "note: related, but not at hand: acme/a; name a copy with --candidate\n"
        )
        assert run("compare", "base", "merged", "--registry", "team.lin", "-q").err == ""

    def test_the_child_itself_is_no_candidate(self, run: Run) -> None:
        arguments = ("lineage", "add", "merged", "--name", "acme/m", "--registry", "team.lin")
        assert run(*arguments).code == 0
        (edit,) = said(run, "base", "merged", "--registry", "team.lin")["edits"]
        assert "acme/m" not in edit["parents"]
