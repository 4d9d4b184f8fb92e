"""What is said of lineage, and what follows from it: names, words, license and compute."""

from __future__ import annotations

import pytest

from steelyard.analyzers.derived import derive
from steelyard.analyzers.known_models import find
from steelyard.analyzers.lineage.names import (
    distilled,
    documented,
    given_name,
    is_package_of,
    mentions,
    offered_as,
    same,
    titles,
)
from steelyard.analyzers.lineage.words import listed, shared, sibling, within_rounding
from steelyard.checkpoints.documents import JsonValue
from steelyard.facts import Basis, Fact, FactBook, Value, term
from steelyard.lineage.relation import Component, EditKind, Related, Relatedness
from tests.analyzers.documents import model as of_documents

NAME = "org/Base-1B"


class TestNames:
    @pytest.mark.parametrize(
        ("a", "b", "expected"),
        [
            ("org/Base-1B", "org/base_1b", True),
            ("org/Base-1B", "Base 1B", True),
            ("org/Base-1B", "other/Base-1B", False),
            ("org/Base-1B", "org/Base-10B", False),
            ("pypi:tiny", "tiny", True),
            ("meta-llama/Llama-3.2-1B", "Llama-3.2-1B", True),
            ("", "", False),
            ("-", "-", False),
        ],
    )
    def test_same(self, a: str, b: str, expected: bool) -> None:
        assert same(a, b) is same(b, a) is expected

    @pytest.mark.parametrize(
        ("text", "name", "expected"),
        [
            ("a fine-tune of gemma3_270m by us", "google/gemma-3-270m", True),
            ("https://huggingface.co/org/all-MiniLM-L6-v2.", "st/all-minilm-l6-v2", True),
            ("all-MiniLM-L6-v20", "st/all-MiniLM-L6-v2", False),
            ("small-MiniLM-L6-v2", "st/all-MiniLM-L6-v2", False),
            ("we use t5 here", "google/t5", False),
            ("we use google/t5 here", "google/t5", True),
            ("nothing", "", False),
            ("a.*b", "org/.*", False),
            ("nach Übersetzer-1B gebaut", "org/übersetzer_1b", True),
        ],
    )
    def test_mentions(self, text: str, name: str, expected: bool) -> None:
        assert mentions(text, name) is expected

    def test_a_repository_is_renamed_unless_its_card_declares_the_base(self) -> None:
        model = of_documents({"README.md": "# Base-1B"}, kind="hub", spec="hf://me/mine@main")
        assert offered_as(model, (), other_than=[NAME]) == "me/mine"
        assert offered_as(model, (NAME,), other_than=[NAME]) is None
        own = of_documents(kind="hub", spec="hf://me/Base-1B-mirror")
        assert offered_as(own, (), other_than=[NAME]) is None

    @pytest.mark.parametrize(
        ("kind", "spec", "expected"),
        [
            ("hub", "hf://me/mine@v1/model.gguf", ["me/mine"]),
            ("hf-cache", "hub/models--me--mine", ["me/mine"]),
            ("hf-cache", "hub/models--gpt2/snapshots/abc", ["gpt2"]),
            ("folder", "models/Mine-1B/", ["Mine-1B"]),
            ("file", "models/Mine-1B.Q4_K.gguf", ["Mine-1B.Q4_K"]),
            ("url", "https://example.org/mine.safetensors?download=true", ["mine"]),
        ],
    )
    def test_what_a_model_is_called(self, kind: str, spec: str, expected: list[str]) -> None:
        assert list(titles(of_documents(kind=kind, spec=spec), FactBook())) == expected

    @pytest.mark.parametrize(
        ("given", "name", "expected"),
        [
            ("magika", "pypi:magika/standard_v3_3", True),
            ("ONE_package", "pypi:one-package", True),
            ("@me/models", "npm:@me/models/small", True),
            ("other", "pypi:magika/standard_v3_3", False),
            ("google", "google/gemma-3-270m", False),
            ("", "pypi:", False),
        ],
    )
    def test_a_model_in_its_own_package(self, given: str, name: str, expected: bool) -> None:
        assert is_package_of(given, name) is expected

    def test_a_package_of_npm(self) -> None:
        said: JsonValue = {"name": "@me/mine", "description": "Base-1B for the web"}
        json = {"package.json": said}
        assert offered_as(of_documents(json=json), (), other_than=[NAME]) is None
        assert offered_as(of_documents(json=json), (), other_than=["org/Other"]) == "@me/mine"

    def test_a_package_of_python(self) -> None:
        said = "Name: mine\nSummary: Base-1B for all\n"
        model = of_documents({"mine-1.dist-info/METADATA": said}, weights="mine/m.safetensors")
        assert offered_as(model, (), other_than=[NAME]) is None
        assert offered_as(model, (), other_than=["org/Other"]) == "mine"

    def test_packages_beside_each_other_give_no_name(self) -> None:
        texts = {f"{name}-1.dist-info/METADATA": f"Name: {name}\n" for name in ("a", "mine")}
        model = of_documents(texts, weights="mine/m.safetensors")
        assert given_name(model) is None
        assert offered_as(model, (), other_than=[NAME]) is None

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("It was distilled from Base-1B.", True),
            ("Trained by knowledge distillation.", True),
            ("A fine-tune of DistilBERT.", False),
            ("", False),
        ],
    )
    def test_distilled(self, text: str, expected: bool) -> None:
        assert distilled(of_documents({"README.md": text})) is expected

    def test_headers_and_file_names_document_a_base(self) -> None:
        header = of_documents(metadata={"general.name": "Base 1B"})
        assert documented(NAME, header, FactBook())
        assert documented(NAME, of_documents(weights="base-1b.gguf"), FactBook())
        assert not documented(NAME, of_documents(), FactBook())


def follow(**facts: Value) -> FactBook:
    """Derive what follows from facts; `lineage__base` stands for `lineage.base`."""
    book = FactBook()
    for name, value in facts.items():
        basis = Basis.MEASURED if name in ("lineage__base", "lineage__known_as") else Basis.DECLARED
        book.add(Fact(name.replace("__", "."), value, basis))
    book.extend(derive(book))
    return book


class TestWhatFollows:
    def test_conditions_that_are_not_passed_on(self) -> None:
        book = follow(lineage__base__license="cc-by-nc-4.0", license__effective="MIT")
        assert book.value("lineage.base.dropped_restrictions") == frozenset({"noncommercial"})
        dropped = book.resolve("lineage.base.dropped_restrictions")
        assert dropped is not None
        assert dropped.basis is Basis.DERIVED
        assert dropped.note.startswith("noncommercial (")

    @pytest.mark.parametrize("own", ["cc-by-nc-4.0", "cc-by-nc-sa-4.0"])
    def test_conditions_that_are_passed_on(self, own: str) -> None:
        book = follow(lineage__base__license="cc-by-nc-4.0", license__effective=own)
        assert book.value("lineage.base.dropped_restrictions") == frozenset()

    @pytest.mark.parametrize(
        ("base", "own"), [("LicenseRef-unheard-of", "MIT"), ("MIT", "LicenseRef-unheard-of")]
    )
    def test_unknown_terms_say_nothing(self, base: str, own: str) -> None:
        book = follow(lineage__base__license=base, license__effective=own)
        assert "lineage.base.dropped_restrictions" not in book

    @pytest.mark.parametrize("name", ["lineage__base", "lineage__known_as"])
    def test_the_published_license(self, name: str) -> None:
        book = follow(**{name: "meta-llama/Llama-3.2-1B"}, license__effective="MIT")
        license_ = book.resolve("lineage.base.license")
        assert license_ is not None
        assert license_.basis is Basis.DERIVED
        assert license_.evidence[0].parents == (name.replace("__", "."),)
        dropped = book.value("lineage.base.dropped_restrictions")
        assert isinstance(dropped, frozenset)
        assert "safety_use_limits" in dropped

    def test_the_compute_of_the_base_that_was_found(self) -> None:
        book = follow(
            lineage__base="meta-llama/Llama-3.2-1B",
            lineage__declared_base=frozenset({"EleutherAI/pythia-12b"}),
            training__compute__base=1e20,
        )
        base, known = book.resolve("training.compute.base"), find("meta-llama/Llama-3.2-1B")
        assert base is not None
        assert known is not None
        assert (base.value, base.basis) == (known.compute_range, Basis.DERIVED)
        assert "which the weights come" in base.note
        stated = [claim.value for claim in book.claims("training.compute.base")]
        assert stated[1:] == [1e20], "what the user states stands beside it"

    def test_an_unchanged_copy_took_no_more_training(self) -> None:
        book = follow(lineage__base="meta-llama/Llama-3.2-1B", lineage__identical=True)
        assert book.value("training.compute") == book.value("training.compute.base")
        direct = book.resolve("training.compute.direct")
        assert direct is not None
        assert direct.note == "that of the base: identical weights are not trained further"

    def test_a_refuted_base_counts_for_nothing(self) -> None:
        bases = frozenset({"meta-llama/Llama-3.2-1B"})
        book = follow(lineage__declared_base=bases, lineage__declared_refuted=bases)
        assert "training.compute.base" not in book

    def test_one_of_several_parents_is_not_all(self) -> None:
        parents = frozenset({"meta-llama/Llama-3.2-1B", "EleutherAI/pythia-12b"})
        book = follow(
            lineage__base="meta-llama/Llama-3.2-1B",
            lineage__declared_base=parents,
            lineage__declared_relation="merge",
        )
        base = book.resolve("training.compute.base")
        assert base is not None
        assert base.basis is Basis.DECLARED


def test_the_vocabulary_knows_every_edit() -> None:
    assert set(term("lineage.edits").choices) == {kind.value for kind in EditKind}


class TestWords:
    @pytest.mark.parametrize(
        ("change", "encoding", "expected"),
        [
            (0.01, "I8", True),
            (0.02, "I8", False),
            (0.08, "Q4_K_M", True),
            (0.3, "Q4_K_M", False),
            (0.005, "Q8_0", True),
            (0.01, "BF16", False),
            (0.01, "F32", False),
            (0.01, "", False),
        ],
    )
    def test_within_rounding(self, change: float, encoding: str, expected: bool) -> None:
        assert within_rounding(change, encoding) is expected

    def test_parts(self) -> None:
        def part(name: str, base: str | None) -> Component:
            return Component(name, base, -50.0, 60, 64)

        parts = [part("embedding", "embedding"), part("head", None)]
        parts += [part(f"layers.{n}", f"layers.{n}" if n else None) for n in range(3)]
        parts += [part(f"vision.layers.{n}", f"vision.layers.{n}") for n in range(2)]
        expected = "the embedding, 2 of 3 layers and 2 of 2 vision layers"
        assert shared(parts) == expected
        said = Relatedness(Related.SHARES_COMPONENT, -50.0, exact=True, components=tuple(parts))
        assert sibling(said, "org/a") == f"shares {expected} with org/a"

    def test_parts_without_names(self) -> None:
        parts = (
            Component("embedding", "embedding", -50.0, 60, 64),
            Component("tensor:a", None, 0.0, 0, 64),
            Component("tensor:b", None, 0.0, 0, 64),
        )
        said = Relatedness(Related.SHARES_COMPONENT, -50.0, exact=True, components=parts)
        expected = "shares the embedding with org/a, and none of 2 other tensors"
        assert sibling(said, "org/a") == expected
        alone = Relatedness(Related.RELATED, -50.0, exact=True, components=parts[:1])
        expected = "shares the embedding with org/a; the rest could not be compared"
        assert sibling(alone, "org/a") == expected

    def test_listed(self) -> None:
        assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
