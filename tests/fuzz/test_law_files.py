"""Packs, facts, tables and openness files from strangers: read, or refused with file and reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.openness.index import read_index
from steelyard.analyzers.openness.mof import evaluate
from steelyard.analyzers.openness.mof_files import read_release
from steelyard.assessing.files import read_facts, read_rows
from steelyard.errors import SteelyardError
from steelyard.packs import shipped
from steelyard.rules import load_pack
from tests.fuzz.counts import fuzz_count
from tests.rules.test_law import PACK

FACTS = "model.name: x\ntraining.compute: 1e24..2e24\nlicense.restrictions: [attribution]\n"
TABLE = 'name,training.compute,model.modalities.output\nx,1e24,"text,image"\n'
RELEASE = """\
framework: {name: MOF, version: "1.0"}
release:
  name: m
  license: {distribution: {name: MIT, path: ""}}
  components:
    - {name: Model card, license: CC-BY-4.0}
    - {name: Datasets}
"""
INDEX = "system: {name: m}\nlicenses: {class: open, link: [a, b], notes: n}\n"


def facts(text: str, folder: Path) -> None:
    path = folder / "facts.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_facts(path)


def rows(text: str, folder: Path) -> None:
    path = folder / "rows.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    list(read_rows(path))


def pack(text: str, folder: Path) -> None:
    load_pack(text, "p.yaml")


def release(text: str, folder: Path) -> None:
    evaluate(read_release(text, "m.yml"))


def index(text: str, folder: Path) -> None:
    read_index(text, "i.yaml")


READERS: dict[str, tuple[Callable[[str, Path], None], str]] = {
    "pack": (pack, PACK),
    "facts": (facts, FACTS),
    "table": (rows, TABLE),
    "release": (release, RELEASE),
    "index": (index, INDEX),
}
_PIECES = (
    *(
        "",
        "\x00",
        "&a ",
        "*a",
        "!!python/name:os.system ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "|",
    ),
    *("1e999", "-1", "nan", "\ud800", "\u202e", "~", "9" * 400, "(" * 60, "\n", "\t", ">"),
)


def survives(read: Callable[[str, Path], None], text: str, folder: Path) -> None:
    with suppress(SteelyardError):
        read(text, folder)


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    read, seed = READERS[name]
    chance = random.Random(f"steelyard {name}")  # noqa: S311  repeatable damage, no secret
    for _ in range(fuzz_count(300)):
        text = seed
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text) + 1)
            stop = min(len(text), start + chance.choice((0, 0, 1, 3, 20)))
            text = text[:start] + chance.choice(_PIECES) + text[stop:]
        survives(read, text, tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_cut_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    read, seed = READERS[name]
    for end in range(0, len(seed), 7):
        survives(read, seed[:end], tmp_path)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (pack, release, index):
        survives(read, text, Path())


def test_shipped_packs_cut_anywhere_are_refused() -> None:
    text = shipped()[0].path.read_text(encoding="utf-8")
    for end in range(0, len(text), 211):
        survives(pack, text[:end], Path())
