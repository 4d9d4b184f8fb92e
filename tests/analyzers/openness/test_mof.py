"""The Model Openness Framework: as its own tool computes it, on its own cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.openness.mof import (
    ORDER,
    Component,
    Evaluation,
    Release,
    State,
    evaluate,
    parts,
)
from steelyard.analyzers.openness.mof_files import read_release, write_release
from steelyard.errors import SteelyardError
from steelyard.knowledge import load
from tests.analyzers.documents import SHARED

TOOL = SHARED / "model_openness_tool"
ABSENT = "../shared/data/model_openness_tool is not there: it is others' data"
CASES = sorted((TOOL / "Test_Data").glob("*.yml"))
III = [part.name for part in parts() if part.required and part.first_class == "III"]
II = [part.name for part in parts() if part.required and part.first_class == "II"]
I_ = [part.name for part in parts() if part.required and part.first_class == "I"]


def release(*names: str, terms: str = "Apache-2.0") -> Release:
    return Release("m", components=tuple(Component(name, terms) for name in names))


def expected(path: Path) -> tuple[dict[str, int], dict[str, int], str]:
    """Read what a case expects from its name: counts, progress and the class it is named after."""
    counts = {b: int(a) for a, b in re.findall(r"_(\d+)([CGLVIT])(?=_|\.)", path.name)}
    found = re.search(r"C1_(\d+)%-C2_(\d+)%-C3_(\d+)%", path.name)
    assert found is not None
    progress = {"I": int(found[1]), "II": int(found[2]), "III": int(found[3])}
    named = re.match(r"Class(\d)", path.name)
    return counts, progress, {"1": "I", "2": "II", "3": "III"}[named[1]] if named else "none"


def test_the_cases_of_the_tool() -> None:
    if not CASES:
        pytest.skip(ABSENT)
    for path in CASES:
        counts, progress, reached = expected(path)
        listed = read_release(path.read_text(encoding="utf-8"), path.name)
        found = evaluate(listed)
        there = [j for j in found.judgments if j.state is not State.MISSING]
        assert found.reached == reached, path.name
        assert len(listed.components) == counts["C"], path.name
        assert len(listed.license or {}) == counts["G"], path.name
        assert sum(1 for c in listed.components if c.license) == counts["L"], path.name
        assert sum(j.state is State.INCLUDED for j in there) == counts["V"], path.name
        assert sum(j.state is State.INVALID for j in there) == counts["I"], path.name
        # The percentages in the names are of an older way to count, which did not stop at a class
        # that is not reached; they agree for the first class that is open.
        if found.reached != "none" and found.next_class:
            assert round(found.progress[found.next_class]) == progress[found.next_class], path.name


def test_every_model_of_the_tool_is_read_and_judged() -> None:
    files = sorted((TOOL / "models").glob("*.yml"))
    if not files:
        pytest.skip(ABSENT)
    for path in files:
        found = evaluate(read_release(path.read_text(encoding="utf-8"), path.name))
        assert found.reached in ("none", *ORDER)
    assert len(files) > 200


def test_classes_are_cumulative() -> None:
    assert evaluate(release(*III)).reached == "III"
    assert evaluate(release(*III, *II)).reached == "II"
    assert evaluate(release(*III, *II, *I_)).reached == "I"
    assert evaluate(release(*II, *I_)).reached == "none"
    assert evaluate(release()).reached == "none"


def test_a_paper_takes_the_place_of_a_missing_report() -> None:
    without = [name for name in III if name != "Technical report"]
    assert evaluate(release(*without)).reached == "none"
    assert evaluate(release(*without, "Research paper")).reached == "III"
    everything = [name for name in (*III, *II, *I_) if name != "Technical report"]
    full = evaluate(release(*everything))
    assert (full.reached, full.progress["I"]) == ("I", 100)


def test_the_license_is_the_nearest_one_that_is_stated() -> None:
    whole = {"code": "MIT", "distribution": "CC-BY-NC-4.0"}
    found = evaluate(
        Release(
            "m",
            license=whole,
            components=(
                Component("Training code"),
                Component("Datasets"),
                Component("Inference code", "unlicensed"),
                Component("Model card", "CC-BY-4.0"),
            ),
        )
    )
    by_name = {j.part.name: (j.state, j.level) for j in found.judgments}
    assert by_name["Training code"] == (State.INCLUDED, "code")
    assert by_name["Datasets"] == (State.INVALID, "distribution")
    assert by_name["Inference code"] == (State.UNLICENSED, "")
    assert by_name["Model card"] == (State.INCLUDED, "component")


def test_weights_under_a_code_license_pass_with_a_note() -> None:
    found = {j.part.name: j for j in evaluate(release(*III)).judgments}
    weights = found["Model parameters (Final)"]
    assert (weights.state, weights.suits_type) == (State.INCLUDED, False)
    assert "not made for data" in weights.note
    assert found["Model architecture"].suits_type
    newer = evaluate(release("Model card", terms="OpenMDW-1.1")).judgments
    assert any("newer than the tool" in j.note for j in newer)


@pytest.mark.parametrize("terms", ["LicenseRef-llama3.1", "CC-BY-NC-4.0", "gemma"])
def test_restricted_weights_reach_no_class(terms: str) -> None:
    assert evaluate(release(*III, terms=terms)).reached == "none"


def test_the_paper_accepts_datasets_under_any_license() -> None:
    parts_ = [Component(name, "Apache-2.0") for name in (*III, *II, *I_) if name != "Datasets"]
    listed = Release("m", components=(*parts_, Component("Datasets")))
    assert evaluate(listed).reached == "II"
    assert evaluate(listed, strictness="paper").reached == "I"


def test_what_is_missing_for_the_next_class() -> None:
    found = evaluate(release(*III[:-1]))
    assert (found.next_class, [j.part.name for j in found.missing]) == ("III", III[-1:])
    assert evaluate(release(*III, *II, *I_)).missing == ()
    assert evaluate(release(*III, *II, *I_)).next_class is None


_NAMES = st.sets(st.sampled_from([part.name for part in parts()]))
_LICENSES = st.sampled_from(["Apache-2.0", "CC-BY-4.0", "CC0-1.0", "CC-BY-NC-4.0", "unlicensed"])


@given(_NAMES, _NAMES)
def test_releasing_more_never_lowers_the_class(some: set[str], more: set[str]) -> None:
    rank = ("none", *ORDER)
    before, after = evaluate(release(*some)), evaluate(release(*some, *(more - some)))
    assert rank.index(after.reached) >= rank.index(before.reached)


@given(st.dictionaries(st.sampled_from([part.name for part in parts()]), _LICENSES))
def test_what_is_written_reads_back(listed: dict[str, str]) -> None:
    original = Release("m", "maker", "1", "2026-01-01", {"code": "MIT"},
                       tuple(Component(n, lic) for n, lic in sorted(listed.items())))  # fmt: skip
    found = evaluate(original)
    again = evaluate(read_release(write_release(original, found), "m.yml"))

    def states(judged: Evaluation) -> list[tuple[str, State, str | None]]:
        return [(j.part.name, j.state, j.license) for j in judged.judgments]

    assert states(again) == states(found)
    assert again.reached == found.reached


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "release: 3",
        "a: &x [1]\nb: *x",
        "release: !!python/object:os.system {}",
        "[" * 5000,
        "release:\n" + "  a:\n" * 3,
    ],
)
def test_hostile_files_are_refused_with_their_name(text: str) -> None:
    with pytest.raises(SteelyardError) as caught:
        read_release(text, "odd.yml")
    assert caught.value.location.startswith("odd.yml")


def test_lists_of_licenses_hold_no_strangers() -> None:
    table = load("mof")
    for key in ("osi_approved", "fsf_libre", "open_data"):
        assert len(set(table[key])) == len(table[key])
        assert not [name for name in table[key] if "NC" in name.split("-")]
