"""`steelyard lineage`: a registry of one's own, from the first model to a merged file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from steelyard.lineage.known.registry import Registry, shipped_registry
from tests.cli.running import Outcome, Run
from tests.lineage.memory import random_arrays

SHIPPED = len(shipped_registry())


@pytest.fixture
def models(folder: Path) -> Path:
    """Make a base, a fine-tune of it, and a stranger."""
    base = random_arrays(0, layers=2)
    chance = np.random.default_rng(50)
    child = {
        name: (array + 0.1 * array.std() * chance.standard_normal(array.shape)).astype("f4")
        for name, array in base.items()
    }
    write(folder / "base", base)
    write(folder / "child", child)
    write(folder / "stranger", random_arrays(1, layers=2))
    return folder


def write(folder: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    folder.mkdir()
    safetensors.numpy.save_file(dict(arrays), folder / "model.safetensors")
    card = "---\nlicense: mit\nbase_model: org/root\n---\n# A model\n"
    (folder / "README.md").write_text(card, encoding="utf-8")


def added(run: Run, *more: str) -> Outcome:
    return run("lineage", "add", "base", "--name", "org/base", *more)


def test_a_model_is_added_found_and_removed(run: Run, models: Path) -> None:
    before = run("lineage", "search", "child")
    assert before.code == 0
    assert before.out.startswith(f"no weight lineage found among {SHIPPED} known models")
    done = added(run)
    assert (done.code, done.out) == (0, "")
    assert "added org/base to " in done.err
    assert "data" in done.err
    found = run("lineage", "search", "child")
    assert found.code == 0
    assert found.out.startswith("related        org/base\n               embedding; output head; 2")
    assert "license MIT; made from org/root" in found.out
    assert "assumed: " in found.out
    assert f"searched {SHIPPED + 1} known bases" in found.err
    assert run("lineage", "search", "stranger").out == before.out.replace(
        str(SHIPPED), str(SHIPPED + 1)
    )
    gone = run("lineage", "remove", "org/base")
    assert (gone.code, gone.out) == (0, "")
    assert run("lineage", "search", "child", "-q") == Outcome(0, before.out, "")


def test_what_was_found_is_there_for_programs(run: Run, models: Path) -> None:
    added(run, "--revision", "v1", "--note", "ours", "--license", "apache 2.0", "--base", "org/x")
    said = json.loads(run("lineage", "search", "child", "--format", "json").out)
    assert said["source"] == "child"
    assert said["entries"] == SHIPPED + 1
    (match,) = said["matches"]
    entry = match["entry"]
    assert re.fullmatch("b3:[0-9a-f]{64}", entry.pop("identity"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.pop("added"))
    assert Path(entry.pop("source")) == models / "base"
    assert entry == {
        "name": "org/base",
        "revision": "v1",
        "license": "Apache-2.0",
        "base": "org/x",
        "note": "ours",
        "sizes": {
            "hidden": 64, "layers": 2, "feed_forward": 160, "vocabulary": 512, "norm": "rms",
        },
    }  # fmt: skip
    assert match["verdict"] == "related"
    assert match["exact"] is True
    assert match["log10_p"] < -6
    assert [part["base"] for part in match["components"]] == [
        "embedding", "head", "layers.0", "layers.1",
    ]  # fmt: skip
    assert 0.05 < match["components"][0]["change"] < 0.2
    listed = json.loads(run("lineage", "list", "-f", "json").out)
    assert listed[0]["name"] == "org/base"
    assert len(listed) == SHIPPED + 1


def test_the_list_names_license_and_sizes(run: Run, models: Path) -> None:
    added(run, "--no-digest")
    done = run("lineage", "list")
    assert re.match(r"org/base +MIT +64 wide, 2 layers\n", done.out)
    assert len(done.out.splitlines()) == SHIPPED + 1
    assert done.err == f"{SHIPPED + 1} known bases\n"


def test_the_same_model_is_added_once_and_another_not_under_its_name(
    run: Run, models: Path
) -> None:
    added(run)
    assert "is there already" in added(run).err
    clash = run("lineage", "add", "stranger", "--name", "org/base")
    assert clash.code == 2
    assert "another model named org/base" in clash.err
    assert "fix: " in clash.err
    apart = run("lineage", "add", "stranger", "--name", "org/base", "--revision", "other")
    assert apart.code == 0


def test_a_registry_is_shared_verified_and_merged(run: Run, models: Path) -> None:
    added(run)
    out = run("lineage", "export", "shared.lineage")
    digest, name = out.out.split()
    assert name == "shared.lineage"
    checked = run("lineage", "verify", "shared.lineage")
    assert checked == Outcome(0, f"{digest}  shared.lineage\n", "")
    listed = json.loads(run("lineage", "list", "-f", "json", "--registry", "shared.lineage").out)
    assert listed[0]["source"] == "base"
    theirs = ("--registry", "theirs.lineage")
    assert run("lineage", "import", "shared.lineage", *theirs).err.startswith("1 of 1 added to")
    assert run("lineage", "import", "shared.lineage", *theirs).err.startswith("0 of 1 added to")
    assert Path("theirs.lineage").read_bytes() == Path("shared.lineage").read_bytes()
    assert run("lineage", "verify").out.count("b3:") == 2


def test_conflicts_are_named_and_both_can_be_kept(run: Run, models: Path) -> None:
    added(run)
    run("lineage", "add", "stranger", "--name", "org/base", "--registry", "theirs.lineage")
    clash = run("lineage", "import", "theirs.lineage")
    assert clash.code == 2
    assert "org/base" in clash.err
    both = run("lineage", "import", "theirs.lineage", "--keep-both")
    assert both.code == 0
    assert run("lineage", "list").out.count("org/base") == 2
    assert "org/base@b3:" in run("lineage", "search", "stranger").out


def test_single_bases_are_exported_those_that_ship_too(run: Run, models: Path) -> None:
    added(run)
    first = next(iter(shipped_registry())).name
    done = run("lineage", "export", "two.lineage", "org/base", first)
    assert done.code == 0
    with Registry.open(Path("two.lineage")) as kept:
        assert sorted(entry.name for entry in kept) == sorted(["org/base", first])
    missing = run("lineage", "export", "none.lineage", "org/none")
    assert missing.code == 2
    assert "org/none" in missing.err
    assert not Path("none.lineage").exists()


def test_registries_are_named_by_option_setting_and_environment(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert added(run, "--registry", "team.lineage").code == 0
    assert Path("team.lineage").exists()
    assert "org/base" not in run("lineage", "search", "child").out
    assert "org/base" in run("lineage", "search", "child", "--registry", "team.lineage").out
    monkeypatch.setenv("STEELYARD_REGISTRIES", "team.lineage")
    assert "org/base" in run("lineage", "search", "child").out
    monkeypatch.delenv("STEELYARD_REGISTRIES")
    Path("steelyard.toml").write_text('registries = ["team.lineage"]\n', encoding="utf-8")
    assert "org/base" in run("lineage", "search", "child").out
    assert run("lineage", "remove", "org/base").code == 0
    with Registry.open(Path("team.lineage")) as kept:
        assert len(kept) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["search", "nowhere"], 3, "nowhere"),
        (["search", "empty"], 3, "no weights"),
        (["add", "empty", "--name", "a"], 3, "no weights"),
        (["add", "tiny", "--name", "a"], 3, "nothing in the weights"),
        (["add", "base", "--name", "a\nb"], 2, "line of text"),
        (["add", "base", "--name", "a", "--license", "my own words"], 2, "is no license"),
        (["add", "base"], 2, "--name"),
        (["search", "base", "--registry", "none.lineage"], 3, "none.lineage"),
        (["verify", "base/README.md"], 3, "not a registry"),
        (["verify", "cut.lineage"], 3, "cut short"),
        (["import", "cut.lineage"], 3, "cut short"),
        (["import", "none.lineage"], 3, "none.lineage"),
        (["remove", "org/none"], 2, "org/none"),
        (["export", "no/such/folder/x.lineage", "org/none"], 2, "org/none"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    run: Run, models: Path, arguments: list[str], code: int, said: str
) -> None:
    Path("empty").mkdir()
    write(models / "tiny", {"x": np.zeros((2, 2), np.float32)})
    shipped_registry().save(Path("whole.lineage"))
    Path("cut.lineage").write_bytes(Path("whole.lineage").read_bytes()[:-5])
    done = run("lineage", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_damaged_sketch_is_an_error_where_it_is_read(run: Run, models: Path) -> None:
    added(run, "--registry", "mine.lineage")
    data = bytearray(Path("mine.lineage").read_bytes())
    data[-1] ^= 1
    Path("mine.lineage").write_bytes(data)
    done = run("lineage", "search", "child", "--registry", "mine.lineage")
    assert done.code == 3
    assert "damaged" in done.err
    assert run("lineage", "verify", "mine.lineage").code == 3
    assert run("lineage", "list", "--registry", "mine.lineage").code == 0
