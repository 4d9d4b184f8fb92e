"""The registry: kept, merged and searched, with nothing lost and nothing taken on trust."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.assets import manifest
from tools.known_bases import TABLE, TARGET, Known, table

from steelyard.errors import CheckpointError, ConfigError
from steelyard.lineage.known import archive
from steelyard.lineage.known.archive import Archive, Item, Stack
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import (
    TESTED,
    Found,
    Registry,
    parts_of,
    search,
    shipped_registry,
)
from steelyard.lineage.known.search import Parts, signature
from steelyard.lineage.matrix import Sizes
from steelyard.lineage.relating.sketches import Sketch, sketch_of
from steelyard.lineage.relation import Related
from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

WORDS = tuple(f"token{row}" for row in range(512))
IDENTITY = "b3:" + "0" * 64


@cache
def weights(seed: int) -> Arrays:
    return random_arrays(seed, layers=2)


def sketch(arrays: Arrays, words: tuple[str, ...] | None = WORDS) -> Sketch:
    return sketch_of(MemoryWeights(arrays, vocabulary=words))


def registry(*seeds: int) -> Registry:
    made = Registry()
    for seed in seeds:
        made = made.add(Entry(f"org/model-{seed}"), sketch(weights(seed)))
    return made


def names(found: Found) -> list[str]:
    return [match.entry.name for match in found.matches]


def rewritten(kept: Registry) -> Registry:
    stream = io.BytesIO()
    archive.write(kept.shelf, stream)
    return Registry(Archive(io.BytesIO(stream.getvalue())))


def moved(arrays: Arrays, amount: float = 0.2) -> Arrays:
    chance = np.random.default_rng(1000)
    return {
        name: (array + amount * array.std() * chance.standard_normal(array.shape)).astype("f4")
        for name, array in arrays.items()
    }


def test_a_child_finds_its_base_and_nothing_else() -> None:
    found = search(sketch(moved(weights(3))), [registry(*range(6))])
    assert names(found) == ["org/model-3"]
    (match,) = found.matches
    assert match.related.verdict is Related.RELATED
    assert match.log10_p == pytest.approx(match.related.log10_p + np.log10(6))
    assert found.entries == found.tested == 6


def test_independent_models_find_nothing() -> None:
    kept = registry(*range(5))
    for seed in range(20, 30):
        assert search(sketch(weights(seed)), [kept]).matches == ()


def test_the_nearest_of_a_family_comes_first() -> None:
    kept = registry(0, 1)
    for name, amount in (("far", 0.6), ("near", 0.05)):
        kept = kept.add(Entry(f"org/{name}"), sketch(moved(weights(1), amount)))
    assert names(search(sketch(weights(1)), [kept])) == ["org/model-1", "org/near", "org/far"]


def test_every_test_is_paid_for() -> None:
    one, many = registry(1), registry(*range(8))
    alone = search(sketch(weights(1)), [one]).matches[0]
    among = search(sketch(weights(1)), [many]).matches[0]
    again = search(sketch(weights(1)), [many], child=MemoryWeights(weights(1))).matches[0]
    assert alone.log10_p < among.log10_p < again.log10_p


def test_of_the_same_entry_in_two_registries_the_first_counts() -> None:
    ours = registry(2).remove("org/model-2").add(
        Entry("org/model-2", license="MIT"), sketch(weights(2))
    )  # fmt: skip
    found = search(sketch(weights(2)), [ours, registry(2)])
    assert [match.entry.license for match in found.matches] == ["MIT"]


def test_another_tokenizer_is_no_hiding_place() -> None:
    order = np.random.default_rng(0).permutation(512)
    other = weights(30)
    child = {
        name: weights(4)[name][order] if name.endswith(("tokens.weight", "head.weight")) else array
        for name, array in other.items()
    }
    words = tuple(WORDS[row] for row in order)
    kept = registry(*range(1, 5))
    own = sketch(child, words)
    assert names(search(own, [kept])) == []
    found = search(own, [kept], child=MemoryWeights(child, vocabulary=words))
    assert names(found) == ["org/model-4"]
    (match,) = found.matches
    assert match.related.verdict is Related.SHARES_COMPONENT
    assert match.related.layer_map == (None, None)


def test_a_tokenizer_is_read_where_it_may_tell_something() -> None:
    order = np.random.default_rng(0).permutation(512)
    child = {
        name: array[order] if name.endswith(("tokens.weight", "head.weight")) else array
        for name, array in weights(4).items()
    }
    words = tuple(WORDS[row] for row in order)
    model = MemoryWeights(child, vocabulary=words)
    own = sketch_of(model, strings=False)
    assert own.tokens is None
    found = search(own, [registry(3, 4)], child=model)
    assert names(found) == ["org/model-4"]
    assert {part.base is None for part in found.matches[0].related.components} == {False}


def test_other_rows_are_read_for_likely_candidates_only() -> None:
    words = tuple(f"other{row}" for row in range(512))
    child = MemoryWeights(weights(40), vocabulary=words)
    own = sketch_of(child)
    before = child.requests
    kept = registry(*range(10))
    assert search(own, [kept], child=child).matches == ()
    assert child.requests - before < 4 * 64


def test_a_large_registry_is_tested_where_signatures_agree() -> None:
    chance = np.random.default_rng(5)
    data = sketch(weights(9)).to_bytes()
    strangers = [
        Item(
            Entry(f"org/stranger-{number:04}").record,
            data,
            np.frombuffer(chance.bytes(8 * len(signature(Parts()))), np.uint64),
        )
        for number in range(300)
    ]
    kept = registry(1).merge(Registry(Stack(strangers)))
    found = search(sketch(moved(weights(1))), [kept])
    assert names(found) == ["org/model-1"]
    assert found.entries == 301
    assert found.tested < TESTED
    assert found.matches[0].log10_p < -20


def test_entries_without_a_sketch_are_found_by_identity_only() -> None:
    kept = registry(1).add(Entry("org/known", identity=IDENTITY), None)
    assert [entry.name for entry in kept.with_identity(IDENTITY)] == ["org/known"]
    assert names(search(sketch(weights(1)), [kept])) == ["org/model-1"]
    assert kept.with_identity("b3:" + "1" * 64) == ()


def test_names_are_found_with_and_without_revision() -> None:
    kept = Registry()
    for revision in (None, "v1", "v2"):
        kept = kept.add(Entry("org/a", revision), None)
    kept = kept.add(Entry("org/ab", "v1"), None)
    assert len(kept.find("org/a")) == 3
    assert [entry.title for entry in kept.find("org/a", "v2")] == ["org/a@v2"]
    assert kept.find("a") == ()
    assert [entry.title for entry in kept.remove("org/a", "v1")] == [
        "org/a", "org/a@v2", "org/ab@v1",
    ]  # fmt: skip
    assert len(kept.remove("org/a")) == 1
    assert [entry.name for entry in kept.select(["org/ab"])] == ["org/ab"]


def test_what_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="org/none@v1"):
        registry(1).remove("org/none", "v1")
    with pytest.raises(ConfigError, match="org/none"):
        registry(1).select(["org/model-1", "org/none"])


def test_two_models_of_one_name_are_both_kept_or_named() -> None:
    ours, theirs = registry(1), Registry().add(Entry("org/model-1"), sketch(weights(2)))
    with pytest.raises(ConfigError, match="org/model-1"):
        ours.merge(theirs)
    both = ours.merge(theirs, keep_both=True)
    assert len(both) == 2
    assert names(search(sketch(weights(2)), [both])) == ["org/model-1"]
    assert re.fullmatch("sketch:[0-9a-f]{12}", str(both.entry(1).revision))
    assert len(both.merge(theirs, keep_both=True)) == 2


def test_the_same_weights_under_one_name_are_one_entry() -> None:
    ours = Registry().add(Entry("org/a", identity=IDENTITY, note="ours"), sketch(weights(1)))
    theirs = Registry().add(Entry("org/a", identity=IDENTITY, note="theirs"), None)
    assert [entry.note for entry in ours.merge(theirs)] == ["ours"]


TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6
)  # fmt: skip
ENTRIES = st.builds(
    Entry,
    TEXT,
    st.none() | TEXT,
    license=st.none() | TEXT,
    sizes=st.builds(
        Sizes, st.none() | st.integers(0, 9), st.integers(0, 9), st.none(), st.integers(1, 9)
    ),
    note=st.none() | TEXT,
)


@given(ENTRIES)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert Entry.from_record(entry.record) == entry


@given(st.lists(ENTRIES, max_size=6, unique_by=lambda entry: entry.key))
def test_merging_keeps_all_in_order_and_is_idempotent(entries: list[Entry]) -> None:
    halves = [Registry(), Registry()]
    for number, entry in enumerate(entries):
        halves[number % 2] = halves[number % 2].add(entry, None)
    merged = halves[0].merge(halves[1])
    assert [entry.key for entry in merged] == sorted(entry.key for entry in entries)
    assert list(merged.merge(merged)) == list(merged)
    assert list(halves[1].merge(halves[0])) == list(merged)
    assert merged.check() == rewritten(merged).check()


@pytest.mark.parametrize(
    "record",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"name":1}', b'{"name":"a","sizes":3}',
        b'{"name":"a","sizes":{"layers":-1}}', b'{"name":"a","sizes":{"layers":null}}',
        b'{"name":"a","sizes":{"layers":true}}', b'{"name": "a"}', b'{"name":"a","x":1}',
        b'{"name":""}', b'{"name":"a\\n"}', b'{"added":"monday","name":"a"}',
        b'{"identity":"b3:1","name":"a"}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_record_is_an_error(record: bytes) -> None:
    with pytest.raises(CheckpointError):
        Entry.from_record(record)


def test_a_forged_signature_or_order_is_found_out() -> None:
    good = registry(1, 2)
    items = [
        Item(good.shelf.record(i), good.shelf.sketch(i), good.shelf.signatures[:, i])
        for i in range(2)
    ]
    assert Registry(Stack(items)).check() == good.check()
    with pytest.raises(CheckpointError, match="damaged"):
        Registry(Stack(items[::-1])).check()
    forged = replace(items[0], signature=np.zeros_like(items[0].signature))
    with pytest.raises(CheckpointError, match="damaged"):
        Registry(Stack([forged, items[1]])).check()


def test_a_file_is_searched_as_memory_is(tmp_path: Path) -> None:
    path = tmp_path / "known.lineage"
    digest = registry(*range(4)).save(path)
    with Registry.open(path) as kept:
        assert kept.check() == digest
        in_file = search(sketch(moved(weights(2))), [kept])
    in_memory = search(sketch(moved(weights(2))), [registry(*range(4))])
    assert in_file == in_memory


def test_what_is_signed_of_a_sketch_is_what_it_shows() -> None:
    parts = parts_of(sketch(weights(1)))
    assert parts.embedding is not None
    assert parts.embedding.shape == (64, 64)
    assert [rows.shape for rows in (*parts.neurons, *parts.answers)] == [(16, 64)] * 4


def test_the_shipped_registry_is_sound_and_says_where_it_is_from() -> None:
    kept = shipped_registry()
    with Registry.open(TARGET) as file:
        assert kept.check() == file.check()
    assert [entry.name for entry in kept] == sorted(model.name for model in table())
    for entry in kept:
        assert entry.source
        assert entry.added
        assert entry.note or entry.license
        for word in re.split(r" (?:AND|OR|WITH) ", entry.license or ""):
            assert re.fullmatch(r"LicenseRef-[\w.-]+|[\w.-]+", word) or not word


@pytest.mark.parametrize("known", table(), ids=lambda known: known.name)
def test_the_shipped_registry_is_what_its_models_make(known: Known) -> None:
    if not manifest()[known.asset].folder.is_dir():
        pytest.skip(f"{known.asset} is not in the cache: python -m tools.assets {known.asset}")
    entry, made = known.build()
    kept = shipped_registry()
    places = [number for number, each in enumerate(kept) if each.key == entry.key]
    assert [kept.entry(place) for place in places] == [entry], f"{TABLE.name} has changed"
    assert kept.sketch(places[0]) == made
    found = search(made, [kept])
    assert found.matches[0].entry == entry
    assert found.matches[0].related.verdict is Related.RELATED
