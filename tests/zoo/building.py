"""Build a zoo on disk: every model a folder, and an index that tells the truth of each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from tests.lineage.derivations import disguises, merges, numbers, removals, shapes, truth
from tests.lineage.derivations.truth import Truth
from tests.zoo import families, llamas, strained
from tests.zoo.containers import write_model
from tests.zoo.nets import initial
from tests.zoo.text import CORPORA, train_tokenizer
from tests.zoo.training import Trainer
from tests.zoo.workshop import SIZES, Draw, Made, Recipe, Root, Workshop, cook

_CODE = Path(__file__).resolve().parent
_DERIVATIONS = (truth, disguises, merges, numbers, removals, shapes)
_INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of a zoo on disk."""

    name: str
    folder: Path
    group: str
    base: str | None
    lines: tuple[str, ...]
    pool: bool
    truth: Truth


@dataclass(frozen=True, slots=True)
class Zoo:
    """A zoo on disk."""

    size: str
    seed: int
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        """Return the model of that name.

        Raises:
            KeyError: If there is none.
        """
        return next((entry for entry in self.entries if entry.name == name), None) or _none(name)


def _none(name: str) -> Entry:
    raise KeyError(name)


def default_folder() -> Path:
    """Return where zoos are kept between runs."""
    return Path(platformdirs.user_cache_dir("steelyard")) / "zoo"


def load_zoo(size: str, seed: int, folder: Path | None = None) -> Zoo:
    """Return a zoo, built first if it is not there or if what makes it has changed.

    Args:
        size: `micro` or `tiny`.
        seed: Of everything in it; all hyper-parameters vary but in the zoo of seed 0.
        folder: Where zoos are kept.
    """
    kept = folder or default_folder()
    place = kept / f"{size}-{seed}"
    index = place / _INDEX
    digest = _digest()
    if not _is_current(index, digest):
        # Others may build or read the same zoo: it appears whole, or not at all.
        partly = kept / f"{size}-{seed}-{os.getpid()}"
        partly.mkdir(parents=True)
        entries = [_laid_down(made, partly) for made in models(size, seed, kept / "trained")]
        document = {"code": digest, "models": entries}
        (partly / _INDEX).write_text(json.dumps(document, indent=1), encoding="utf-8")
        if not _is_current(index, digest):
            shutil.rmtree(place, ignore_errors=True)
            partly.rename(place)
        shutil.rmtree(partly, ignore_errors=True)
    document = json.loads(index.read_text(encoding="utf-8"))
    return Zoo(size, seed, tuple(_entry(item, place) for item in document["models"]))


def _is_current(index: Path, digest: str) -> bool:
    if not index.exists():
        return False
    return bool(json.loads(index.read_text(encoding="utf-8"))["code"] == digest)


def _digest() -> str:
    """Digest the code that makes a zoo, and the Python whose library is read."""
    found = hashlib.sha256(sys.version.encode())
    makers = [path for path in sorted(_CODE.glob("*.py")) if not path.name.startswith("scor")]
    for path in (*makers, *(Path(str(module.__file__)) for module in _DERIVATIONS)):
        found.update(path.read_bytes())
    return found.hexdigest()


def _laid_down(made: Made, place: Path) -> dict[str, Any]:
    if (place / made.name).exists():
        raise ValueError(f"two models of the zoo are called {made.name}: give one another name")
    write_model(place / made.name, made.arch, made.arrays, made.tokens, made.container)
    return {
        "name": made.name,
        "group": made.group,
        "base": made.base,
        "lines": made.lines,
        "pool": made.pool,
        "truth": made.truth.as_json(),
    }


def _entry(item: dict[str, Any], place: Path) -> Entry:
    return Entry(
        item["name"],
        place / item["name"],
        item["group"],
        item["base"],
        tuple(item["lines"]),
        item["pool"],
        Truth.from_json(item["truth"]),
    )


def models(size: str, seed: int, trained: Path) -> Iterator[Made]:
    """Make every model of a zoo.

    Args:
        size: `micro` or `tiny`.
        seed: Of everything in it.
        trained: Where trained weights are remembered.
    """
    sizes = SIZES[size]
    tokenizer = train_tokenizer(sizes.vocabulary, CORPORA)
    draw = Draw(np.random.default_rng((seed, 24)), vary=seed != 0)
    trainer = Trainer(tokenizer, trained)
    shop = Workshop(sizes, seed, draw, trainer, tokenizer.tokens)
    main = shop.root(llamas.MAIN, shop.arch("llama"), 0)
    other = shop.root("llama_b", shop.arch("llama"), 1)
    yield from (_as_made(main), _as_made(other))
    for recipes in (
        llamas.encodings(),
        llamas.trainings(shop, main),
        llamas.merged(shop, main, other),
        llamas.structures(shop, main),
        llamas.disguised(shop, main),
        llamas.abliterated(shop, main),
        llamas.requantized(shop, main),
    ):
        yield from cook(main, recipes)
    yield from _relatives(shop, main)
    yield from _independent(shop, main, other)
    yield from _other_families(shop)
    yield from _strained(shop)


def _as_made(root: Root, group: str = "root", base: str | None = None) -> Made:
    return Made(root.name, group, base, (root.name,), root.arch, root.arrays, Truth(), root.tokens)


def _relatives(shop: Workshop, main: Root) -> Iterator[Made]:
    """Yield models that share the main model's start, and none of its training."""
    for name, corpus, order in (
        ("same_init_other_data", "other", 40),
        ("same_init_other_order", "library", 41),
    ):
        made = _as_made(shop.root(name, main.arch, 0, corpus=corpus, order=order), "shared_init")
        yield replace(made, base=main.name, lines=(main.name,))


def _independent(shop: Workshop, main: Root, other: Root) -> Iterator[Made]:
    """Yield models that share nothing with the main model but data, order, or outputs."""
    for name, number, corpus, order in (
        ("llama_same_order", 2, "library", 0),
        ("llama_other_data", 3, "other", 3),
        ("llama_prose", 4, "prose", 4),
    ):
        yield _as_made(shop.root(name, main.arch, number, corpus=corpus, order=order))
    untrained = initial(main.arch, 1000 * shop.seed + 5)
    yield _as_made(Root("llama_untrained", main.arch, untrained, main.tokens))
    small = replace(main.arch, layers=max(2, main.arch.layers // 2))
    for name, arch, number in (("distilled", main.arch, 6), ("distilled_small", small, 7)):
        student = Root(name, arch, shop.distilled(main, arch, number), main.tokens)
        yield _as_made(student, "distilled", main.name)
    tuned = shop.train(other.arch, "prose", length=0.35, rate=1e-3)
    yield from cook(other, iter([Recipe("ft", (tuned,))]))


def _other_families(shop: Workshop) -> Iterator[Made]:
    """Yield the other architectures, and what was made of them."""
    for number, (name, arch) in enumerate(
        {
            "tied": shop.arch("llama", tied=True),
            "qwen": shop.arch("qwen", tied=True, kv_heads=1),
            "gemma": shop.arch("gemma", tied=True, kv_heads=1),
            "mixtral": shop.arch("mixtral", experts=4),
            "gpt2": shop.arch("gpt2", tied=True),
            "bert": shop.arch("bert", tied=True),
        }.items()
    ):
        root = shop.root(name, arch, 50 + number)
        yield _as_made(root)
        yield from cook(root, families.family(shop, root))
        yield _as_made(shop.root(f"{name}_b", arch, 70 + number))
        if name == "tied":
            yield from cook(root, families.packed(shop, root, ("Q8_0", "Q4_0"), plain=False))
    arch = shop.arch("llama", width=256, feed_forward=512, layers=2, heads=8, kv_heads=4)
    wide = shop.root("wide", arch, 90)
    yield _as_made(wide)
    yield from cook(wide, families.packed(shop, wide, ("Q4_K",), plain=True))


def _strained(shop: Workshop) -> Iterator[Made]:
    """Yield pairs of independent models that strain the p-value, the second beside the first."""
    for number, kind in enumerate((*strained.STARTS, "neurons", "hidden", "sinusoidal", "sorted")):
        family = "sinusoidal" if kind == "sinusoidal" else "llama"
        arch = shop.arch(family)
        names = [f"strained_{kind}", f"strained_{kind}_b"]
        for place, name in enumerate(names):
            own = 100 + 2 * number + place
            start = strained.STARTS.get(kind)
            root = shop.root(
                name,
                arch,
                own,
                # The same start that no chance enters would be trained to the same model.
                corpus="other" if place and kind == "fixed" else "library",
                start=None if start is None else start(arch, 1000 * shop.seed + own),
                nested=kind if kind in ("neurons", "hidden") else "",
            )
            if kind == "sorted":
                root = replace(root, arrays=strained.sorted_by_norm(root.arrays))
            made = _as_made(root, "strained", names[0] if place else None)
            yield replace(made, lines=(names[0],)) if kind == "fixed" else made
            if not place:
                tuned = shop.train(arch, "prose", length=0.1, rate=1e-3)
                yield from cook(root, iter([Recipe("ft", (tuned,), group="strained")]))
