"""Where weights come from: known bases found and told apart, and documents set beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from steelyard.analyzers import card, contents
from steelyard.analyzers.identity import identity_facts, measure
from steelyard.analyzers.lineage.analyzer import Told, Wanted, analyze
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError
from steelyard.facts import Basis, Fact, FactBook
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import Registry
from steelyard.lineage.reading.weights import open_weights
from steelyard.lineage.relating.sketches import sketch_of
from tests.models import Weights, folder, read, weights

LLAMA = {"layers": 4, "width": 64, "vocabulary": 512}
NAME = "org/Base-1B"
CARD = "---\nlicense: apache-2.0\n{front}---\n# {title}\n\nA model for tests.\n"


def made(seed: int) -> dict[str, np.ndarray]:
    """Make a model that no other seed is related to."""
    return dict(weights(seed, **LLAMA))


def changed(tensors: Weights, by: float, seed: int = 9) -> dict[str, np.ndarray]:
    """Move every weight, relative to its size."""
    random = np.random.default_rng(seed)
    return {
        name: (value + by * random.standard_normal(value.shape)).astype(np.float32)
        for name, value in tensors.items()
    }


def without_a_direction(tensors: Weights) -> dict[str, np.ndarray]:
    """Remove a direction from all that is written to the residual stream."""
    random = np.random.default_rng(5)
    direction = random.standard_normal(LLAMA["width"])
    direction /= np.linalg.norm(direction)
    removed = dict(tensors)
    for name, value in tensors.items():
        if "o_proj" in name or "down_proj" in name:
            removed[name] = (value - np.outer(direction, direction @ value)).astype(np.float32)
    return removed


def laid(
    path: Path, tensors: Weights, *, title: str = "Mine", front: str = "", metadata: str = ""
) -> Model:
    """Lay a model down with a card, and perhaps as a package, and read it."""
    text = CARD.format(front=front, title=title)
    files = {"a.dist-info/METADATA": metadata.encode()} if metadata else {}
    return read(folder(path, tensors=tensors, config=None, card=text, files=files))


def known_about(model: Model, *, digest: bool = True) -> FactBook:
    """Gather what an audit knows before it asks for lineage."""
    book = FactBook([*contents.analyze(model), *card.analyze(model)])
    book.extend(identity_facts(model, measure(model, sha256=False) if digest else None))
    return book


def registry(path: Path, models: Mapping[Entry, Weights]) -> Registry:
    """Make a registry of models, each with its identity."""
    held = Registry()
    for number, (entry, tensors) in enumerate(models.items()):
        model = read(folder(path / str(number), tensors=tensors, config=None, card=None))
        with open_weights(model) as opened:
            sketch = sketch_of(opened)
        digests = measure(model, sha256=False)
        held = held.add(replace(entry, identity=digests.root if digests else None), sketch)
    return held


def told(
    model: Model,
    *registries: Registry,
    digest: bool = True,
    base: Model | None = None,
    budget: int | None = None,
) -> Told:
    """Ask for the lineage of a model."""
    return analyze(model, known_about(model, digest=digest), Wanted(registries, base, budget))


def book_of(
    model: Model, *registries: Registry, digest: bool = True, base: Model | None = None
) -> FactBook:
    """Ask for the lineage of a model, and look at the answers by name."""
    return FactBook(told(model, *registries, digest=digest, base=base).facts)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Hold two unrelated bases."""
    path = tmp_path_factory.mktemp("known")
    base, other = Entry(NAME, license="Apache-2.0"), Entry("org/Other-1B", license="MIT")
    return registry(path, {base: made(1), other: made(2)})


class TestFoundInWeights:
    def test_a_fine_tune(self, tmp_path: Path, known: Registry) -> None:
        book = book_of(laid(tmp_path / "m", changed(made(1), 0.02)), known)
        base = book.resolve("lineage.base")
        assert base is not None
        assert (base.value, base.basis) == (NAME, Basis.MEASURED)
        assert base.note == "the embedding and 4 of 4 layers agree"
        assert "registry entry org/Base-1B" in [each.place for each in base.evidence]
        evidence, change = book.value("lineage.evidence"), book.value("lineage.change")
        assert isinstance(evidence, float)
        assert evidence > 100
        assert isinstance(change, float)
        assert 0.02 < change < 0.04, "units carry the change of the norm before them, too"
        assert book.value("lineage.identical") is False
        assert book.value("lineage.documented") is False
        assert book.value("lineage.base.license") == "Apache-2.0"
        assert "lineage.edits" not in book
        assert "lineage.known_as" not in book

    def test_an_unrelated_model_has_no_lineage(self, tmp_path: Path, known: Registry) -> None:
        said = told(laid(tmp_path / "m", made(3)), known)
        assert {fact.name for fact in said.facts} == {"lineage.removed_direction"}
        assert said.notices == ()

    def test_a_copy(self, tmp_path: Path, known: Registry) -> None:
        book = book_of(laid(tmp_path / "m", made(1)), known)
        assert book.value("lineage.base") == NAME
        assert book.value("lineage.identical") is True
        assert book.value("lineage.edits") == frozenset({"identical"})
        assert book.value("lineage.encoding") == "same"
        assert "lineage.renamed" not in book, "what a folder is called is its owner's business"

    def test_without_an_identity_nothing_is_called_identical(
        self, tmp_path: Path, known: Registry
    ) -> None:
        model = laid(tmp_path / "m", made(1))
        # What the sketch does not hold may have changed.
        book = book_of(model, known, digest=False)
        assert book.value("lineage.change") == 0
        assert "lineage.identical" not in book

    def test_the_nearest_relative_is_the_base(self, tmp_path: Path, known: Registry) -> None:
        tuned = changed(made(1), 0.2)
        more = registry(tmp_path / "more", {Entry("org/Tuned", base=NAME): tuned})
        both = (known, more)
        near = book_of(laid(tmp_path / "a", changed(tuned, 0.02, seed=3)), *both)
        assert near.value("lineage.base") == "org/Tuned"
        far = book_of(laid(tmp_path / "b", changed(made(1), 0.02, seed=3)), *both)
        assert far.value("lineage.base") == NAME

    def test_of_equally_near_relatives_documents_choose(
        self, tmp_path: Path, known: Registry
    ) -> None:
        mirror = registry(tmp_path / "more", {Entry("mirror/Twin"): made(1)})
        front = "base_model: mirror/Twin\n"
        book = book_of(laid(tmp_path / "a", made(1), front=front), known, mirror)
        assert book.value("lineage.base") == "mirror/Twin"
        plain = book_of(laid(tmp_path / "b", made(1)), known, mirror)
        assert plain.value("lineage.base") in ("mirror/Twin", NAME)

    def test_what_was_made_from_a_model_is_not_its_base(self, tmp_path: Path) -> None:
        tuned = changed(made(1), 0.02)
        held = registry(tmp_path / "more", {Entry("org/Tuned", base="org/Root-1B"): tuned})
        book = book_of(laid(tmp_path / "a", made(1), title="Root-1B"), held)
        assert "lineage.base" not in book

    def test_siblings_share_a_component(self, tmp_path: Path, known: Registry) -> None:
        child = made(3)
        child["model.embed_tokens.weight"] = made(1)["model.embed_tokens.weight"]
        book = book_of(laid(tmp_path / "m", child), known)
        found = book.resolve("lineage.siblings")
        assert found is not None
        assert found.value == frozenset({NAME})
        assert found.note == f"shares the embedding with {NAME}, and no layer"
        assert "lineage.base" not in book

    def test_a_cast_keeps_the_base(self, tmp_path: Path, known: Registry) -> None:
        half = {name: value.astype(np.float16) for name, value in made(1).items()}
        book = book_of(laid(tmp_path / "m", half), known)
        assert book.value("lineage.base") == NAME
        assert "lineage.encoding" not in book, "a sketch is too coarse to tell a cast"


class TestNames:
    def test_a_model_is_not_derived_from_itself(self, tmp_path: Path, known: Registry) -> None:
        book = book_of(laid(tmp_path / "m", made(1), title="Base 1B"), known)
        assert book.value("lineage.known_as") == NAME
        assert book.value("lineage.identical") is True
        assert book.value("lineage.base.license") == "Apache-2.0"
        assert "lineage.base" not in book
        assert "lineage.documented" not in book

    def test_a_known_model_comes_from_its_known_base(self, tmp_path: Path, known: Registry) -> None:
        tuned = changed(made(1), 0.02)
        more = registry(tmp_path / "more", {Entry("org/Tuned", base=NAME, license="MIT"): tuned})
        front = f"base_model: {NAME}\n"
        book = book_of(laid(tmp_path / "m", tuned, title="Tuned", front=front), known, more)
        assert book.value("lineage.known_as") == "org/Tuned"
        assert book.value("lineage.base") == NAME
        assert book.value("lineage.documented") is True
        assert book.value("lineage.base.license") == "MIT"

    def test_a_renamed_copy_is_found_out(self, tmp_path: Path, known: Registry) -> None:
        metadata = "Metadata-Version: 2.1\nName: in-house\nSummary: Our own model\n"
        model = laid(tmp_path / "m", made(1), title="Base-1B", metadata=metadata)
        book = book_of(model, known)
        assert book.value("lineage.renamed") == "in-house"
        assert book.value("lineage.base") == NAME
        assert "lineage.known_as" not in book

    def test_a_package_that_says_what_it_holds_is_not_renamed(
        self, tmp_path: Path, known: Registry
    ) -> None:
        metadata = "Metadata-Version: 2.1\nName: handy\nSummary: base_1b, packed\n"
        book = book_of(laid(tmp_path / "m", made(1), metadata=metadata), known)
        assert "lineage.renamed" not in book
        assert book.value("lineage.documented") is True


class TestDeclared:
    def declared(self, path: Path, tensors: Weights, base: str, *known: Registry) -> FactBook:
        return book_of(laid(path, tensors, front=f"base_model: {base}\n"), *known)

    def test_another_base_than_declared(self, tmp_path: Path, known: Registry) -> None:
        book = self.declared(tmp_path / "m", changed(made(1), 0.02), "org/Other-1B", known)
        assert book.value("lineage.declared_refuted") == frozenset({"org/Other-1B"})
        assert book.value("lineage.base") == NAME

    def test_a_declared_base_that_does_not_show(self, tmp_path: Path, known: Registry) -> None:
        book = self.declared(tmp_path / "m", made(3), NAME, known)
        assert book.value("lineage.declared_refuted") == frozenset({NAME})
        assert "lineage.base" not in book

    @pytest.mark.parametrize("name", [NAME, "ORG/base_1b", "unknown/model", "other/Base-1B"])
    def test_a_declared_base_that_shows_or_is_unknown(
        self, tmp_path: Path, known: Registry, name: str
    ) -> None:
        book = self.declared(tmp_path / "m", changed(made(1), 0.02), name, known)
        assert "lineage.declared_refuted" not in book
        assert book.value("lineage.base") == NAME

    def test_a_shared_component_refutes_nothing(self, tmp_path: Path, known: Registry) -> None:
        child = made(3)
        child["model.embed_tokens.weight"] = made(1)["model.embed_tokens.weight"]
        book = self.declared(tmp_path / "m", child, NAME, known)
        assert "lineage.declared_refuted" not in book

    def test_what_cannot_be_compared_refutes_nothing(self, tmp_path: Path, known: Registry) -> None:
        tiny = {"head.weight": np.ones((2, 3), np.float32)}
        book = self.declared(tmp_path / "m", tiny, NAME, known)
        assert "lineage.declared_refuted" not in book

    def test_a_fine_tune_that_changed_nothing(self, tmp_path: Path, known: Registry) -> None:
        front = f"base_model: {NAME}\nbase_model_relation: finetune\n"
        book = book_of(laid(tmp_path / "m", made(1), front=front), known)
        assert book.value("lineage.relation_shown") is False

    def test_an_adapter_tells_nothing_of_its_base(self, tmp_path: Path, known: Registry) -> None:
        model = laid(tmp_path / "m", made(1))
        book = known_about(model)
        book = FactBook([fact for fact in book if fact.name != "adapter.present"])
        book.add(Fact("adapter.present", True, Basis.MEASURED))
        assert analyze(model, book, Wanted((known,))) == Told()


class TestGivenBase:
    def given(self, path: Path, base: Weights, child: Weights, **said: str) -> FactBook:
        front = "".join(f"{key}: {value}\n" for key, value in said.items())
        theirs = laid(path / "Base-1B", base, title="Base-1B")
        ours = laid(path / "child", child, front=front)
        return book_of(ours, base=theirs)

    def test_a_fine_tune(self, tmp_path: Path) -> None:
        book = self.given(tmp_path, made(1), changed(made(1), 0.02), base_model=NAME)
        assert book.value("lineage.base") == NAME
        edits = book.resolve("lineage.edits")
        assert edits is not None
        assert edits.value == frozenset({"finetune"})
        assert edits.note
        assert book.value("lineage.documented") is True
        assert book.value("lineage.identical") is False
        encoding = book.value("lineage.encoding")
        assert isinstance(encoding, str)
        assert encoding.startswith("same")

    def test_a_copy(self, tmp_path: Path) -> None:
        book = self.given(tmp_path, made(1), made(1))
        assert book.value("lineage.identical") is True
        assert book.value("lineage.edits") == frozenset({"identical"})
        assert book.value("lineage.documented") is False

    def test_a_cast_is_not_identical(self, tmp_path: Path) -> None:
        half = {name: value.astype(np.float16) for name, value in made(1).items()}
        book = self.given(tmp_path, made(1), half)
        encoding = book.value("lineage.encoding")
        assert isinstance(encoding, str)
        assert encoding.startswith("cast from F32 to F16")
        assert book.value("lineage.identical") is False

    def test_abliterated(self, tmp_path: Path) -> None:
        book = self.given(tmp_path, made(1), without_a_direction(made(1)))
        edits = book.value("lineage.edits")
        assert isinstance(edits, frozenset)
        assert "abliterated" in edits

    def test_a_base_that_is_none(self, tmp_path: Path) -> None:
        book = self.given(tmp_path, made(1), made(3))
        assert book.value("lineage.declared_refuted") == frozenset({"Base-1B"})
        assert "lineage.base" not in book

    def test_called_a_quantization_but_trained(self, tmp_path: Path) -> None:
        said = {"base_model": NAME, "base_model_relation": "quantized"}
        book = self.given(tmp_path, made(1), changed(made(1), 0.02), **said)
        assert book.value("lineage.relation_shown") is False
        said["base_model_relation"] = "finetune"
        book = self.given(tmp_path / "b", made(1), changed(made(1), 0.02), **said)
        assert book.value("lineage.relation_shown") is True

    def test_the_name_of_a_mere_folder_need_not_be_documented(self, tmp_path: Path) -> None:
        theirs = read(folder(tmp_path / "stuff", tensors=made(1), config=None, card=None))
        book = book_of(laid(tmp_path / "child", made(1)), base=theirs)
        assert book.value("lineage.base") == "stuff"
        assert "lineage.documented" not in book


class TestRemovedDirection:
    def test_the_three_answers(self, tmp_path: Path) -> None:
        clean = book_of(laid(tmp_path / "a", made(1)))
        removed = book_of(laid(tmp_path / "b", without_a_direction(made(1))))
        small = book_of(laid(tmp_path / "c", weights(1, layers=2, width=16)))
        assert clean.value("lineage.removed_direction") == "not_found"
        assert removed.value("lineage.removed_direction") == "removed"
        assert small.value("lineage.removed_direction") == "not_decidable"

    def test_the_budget_holds(self, tmp_path: Path) -> None:
        model = laid(tmp_path / "a", made(1))
        before = model.source.bytes_read
        assert told(model, budget=0) == Told()
        assert model.source.bytes_read == before

    def test_an_encoder_refuses_nothing(self, tmp_path: Path) -> None:
        model = laid(tmp_path / "a", made(1))
        book = known_about(model)
        book.add(Fact("model.design", "encoder", Basis.MEASURED))
        assert analyze(model, book, Wanted()) == Told()


class TestHostile:
    @pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0, 3e38])
    def test_weights_that_are_no_weights(
        self, tmp_path: Path, known: Registry, value: float
    ) -> None:
        tensors = {name: np.full_like(array, value) for name, array in made(1).items()}
        model = laid(tmp_path / "m", tensors, front=f"base_model: {NAME}\n")
        book = book_of(model, known)
        assert "lineage.base" not in book
        assert book.value("lineage.removed_direction") in ("not_decidable", "not_found")

    def test_no_weights_and_no_tensors(self, tmp_path: Path, known: Registry) -> None:
        empty = folder(tmp_path / "m", config=None)
        (empty / "model.safetensors").write_bytes(save({}))
        assert told(read(empty), known) == Told()
        (empty / "model.safetensors").unlink()
        assert told(read(empty), known) == Told()

    def test_what_cannot_be_read_is_a_notice(
        self, tmp_path: Path, known: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def damaged(*_: object, **__: object) -> None:
            raise CheckpointError("an entry of the registry cannot be read")

        monkeypatch.setattr("steelyard.lineage.known.registry.search", damaged)
        said = told(laid(tmp_path / "m", made(1)), known)
        assert said.notices == ("lineage cannot be told: an entry of the registry cannot be read",)
        assert {fact.name for fact in said.facts} == {"lineage.removed_direction"}

    def test_an_empty_registry(self, tmp_path: Path) -> None:
        said = told(laid(tmp_path / "m", made(1)), Registry())
        assert {fact.name for fact in said.facts} == {"lineage.removed_direction"}
