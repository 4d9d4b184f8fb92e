"""How often are independent models called relatives, and how weak a relation is still found?

    python benchmarks/lineage_null.py [--workdir FOLDER] [--pairs 1000] [--calibrate] [--dry-run]

Compares models that are known to be independent: drawn numbers of several sizes, small models that
were trained from starting points of their own (distilled ones and some with the same data in the
same order among them; needs the packages of the zoo), and matrices of real models (those of
`tools/assets.toml` that are in the cache). Then models of known likeness, and the cases that
strain what the p-value rests on. `--calibrate` writes `knowledge/scrambled_null.yaml` anew: the
counts of the test for scrambled models in independent pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from independent_models import (
    GATED,
    STRAINED,
    UNGATED,
    Nursery,
    Rows,
    Trained,
    can_train,
    drawn,
    real_models,
    real_rows,
)
from record import ROOT, command_line, conditions, default_workdir, table, write_section
from strained_models import Trap, traps

sys.path.insert(0, str(ROOT))

from tests.lineage.derivations.disguises import Heads, disguise_all
from tests.lineage.memory import MemoryWeights, random_arrays

from steelyard.lineage.aligning.vocabularies import match_tokens
from steelyard.lineage.matrix import Floats, Weights
from steelyard.lineage.relating.exchangeability import (
    BLOCK,
    Order,
    is_constant_basis,
    joined,
    order_of,
)
from steelyard.lineage.relating.fixed_points import agree, join
from steelyard.lineage.relating.relatedness import relate_weights
from steelyard.lineage.relating.scrambled import FOUND, NEURONS, statistic

CALIBRATION = ROOT / "src" / "steelyard" / "knowledge" / "scrambled_null.yaml"
STUDENTS = 4
COSINES = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9)
_REAL_PAIRS, _POWER_DRAWS = 3000, 20


@dataclass(frozen=True, slots=True)
class Null:
    """The p-values of independent pairs of one kind, as powers of ten."""

    kind: str
    values: tuple[float, ...]

    def row(self) -> list[str]:
        """Write a row of the table."""
        held = np.array(self.values)
        shares = [f"{np.mean(held <= np.log10(level)):.4f}" for level in (0.05, 0.01)]
        least, count = f"{10 ** held.min():.2g}", f"{len(held):,}"
        return [self.kind, count, *shares, str(int(np.sum(held <= -4))), least]


def related(child: Weights, base: Weights) -> float:
    """Return the p-value of a pair of models, as a power of ten."""
    return relate_weights(child, base).log10_p


def of_trained(models: Sequence[Trained]) -> Iterator[tuple[Weights, Weights]]:
    """Pair models of a pool with each other."""
    for base, child in combinations(models, 2):
        yield child.weights, base.weights


def of_real(rows: Sequence[Rows], count: int) -> Iterator[tuple[bool, float]]:
    """Pair matrices of one width: whether of two models, and the p-value.

    Matrices of one model are independent too, as far as the numbering of neurons goes, but for
    those of one layer. Units that both show to be in some order are compared as relatedness does.
    """
    chance = np.random.default_rng(1)
    seen: set[tuple[int, int]] = set()
    for _ in range(60 * count):
        i, j = sorted(int(n) for n in chance.integers(0, len(rows), 2))
        first, second = rows[i], rows[j]
        if (i, j) in seen or _same_units(first, second) or len(seen) >= count:
            continue
        order = joined(first.order, second.order)
        if order in (Order.SMOOTH, Order.FORMULA):
            continue
        seen.add((i, j))
        width = min(first.values.shape[1], second.values.shape[1])
        block = BLOCK if order is Order.SORTED else None
        found = agree(first.values[:, :width], second.values[:, :width], block=block)
        yield first.model != second.model, found.log10_p


def _same_units(first: Rows, second: Rows) -> bool:
    """Tell whether rows are, or may be, numbered alike: hidden dimensions, or one layer's own."""
    writing = {"attention.o", "mlp.down"}
    same = first.model == second.model and (first.layer == second.layer or first.role in writing)
    return same or (first.role in writing) != (second.role in writing)


def power() -> list[list[str]]:
    """Return for each test the median power of ten at each cosine between child and base."""
    tests: tuple[tuple[str, int, int, int], ...] = (
        ("neurons of one layer, 64 numbers each", 64, 64, 1),
        ("neurons of one layer, 512 numbers each", 64, 512, 1),
        ("neurons of 8 layers, 64 numbers each", 64, 64, 8),
        ("384 hidden dimensions, 64 tokens", 384, 64, 1),
        ("512 hidden dimensions, 64 tokens", 512, 64, 1),
    )
    return [
        [name, *(f"{np.median(_drifted(items, width, groups, c)):.0f}" for c in COSINES)]
        for name, items, width, groups in tests
    ]


def _drifted(items: int, width: int, groups: int, cosine: float) -> list[float]:
    chance = np.random.default_rng(2)
    found = []
    for _ in range(_POWER_DRAWS if items < 128 else 3):
        parts = []
        for _ in range(groups):
            base = chance.standard_normal((items, width)).astype(np.float32)
            parts.append(agree(_moved(base, cosine, chance), base))
        found.append(join(parts).log10_p)
    return found


def _moved(base: Any, cosine: float, chance: np.random.Generator) -> Floats:
    """Add noise until the cosine with what was there is as asked."""
    noise = chance.standard_normal(base.shape) * float(np.std(base))
    result: Floats = (cosine * base + np.sqrt(1 - cosine**2) * noise).astype(np.float32)
    return result


def scrambled_power() -> list[str]:
    """Return the agreements, of 128, in the second-best layer of scrambled and drifted copies."""
    cells = []
    for cosine in COSINES:
        base = random_arrays(3, feed_forward=256)
        chance = np.random.default_rng(4)
        child = {
            name: _moved(array, cosine, chance) if array.ndim == 2 else np.asarray(array)
            for name, array in base.items()
        }
        scrambled = disguise_all(child, Heads(4, 2)).arrays
        found = statistic(MemoryWeights(scrambled), MemoryWeights(base), None)
        cells.append("" if found is None else f"{found[1]:.0f}")
    return [f"scrambled as well: agreements of {NEURONS}, {FOUND} needed", *cells]


def constant_tables(rows: Sequence[Rows]) -> str:
    """Tell which matrices of real models are taken for tables that anyone could make."""
    neurons = [row for row in rows if row.role.startswith("mlp.")]
    wrong = sum(is_constant_basis(row.values) for row in neurons)
    other = [row for row in rows if row not in neurons]
    tables = Counter(order_of(row.values).value for row in other)
    return (
        f"Of {len(neurons)} matrices of feed-forward layers of real models, {wrong} are taken for "
        f"tables; of {len(other)} other matrices (attention, convolutions, recurrent ones, tables) "
        f"{tables['smooth']} are smooth, {tables['formula']} follow a formula and "
        f"{tables['sorted']} are sorted by size."
    )


def calibrate(gated: Sequence[Trained], ungated: Sequence[Trained]) -> None:
    """Write the counts of independent pairs to the file that the package ships."""
    day = datetime.now(UTC).date()
    lines = [
        "# How many of 128 neurons agree in two views (`scrambled.py`) between models that",
        "# are known to be independent: `agreements: pairs`, for the best layer of a pair and for",
        f"# its second-best. Made on {day} by `python benchmarks/lineage_null.py --calibrate`.",
    ]
    for views, models in (("gated", gated), ("ungated", ungated)):
        lines.append(f"{views}:")
        families = Counter(model.name.split()[0] for model in models)
        told = " and ".join(f"{count} {family}" for family, count in families.items())
        students = sum(bool(model.teacher) for model in models)
        trained = [statistic(*pair, None) for pair in of_trained(models)]
        lines += _group(f"{told} models of the zoo, {students} of them distilled", trained)
        if views == "gated":
            lines += _group("SmolLM2-135M and Gemma 3 270M, both ways", list(_real_statistics()))
    CALIBRATION.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _real_statistics() -> Iterator[tuple[float, float] | None]:
    """Compare the language models with gates that are in the cache, both ways."""
    models = [weights for name, weights in real_models() if name.startswith(("smollm2", "gemma"))]
    for base, child in combinations(models, 2):
        for ours, theirs in ((child, base), (base, child)):
            yield statistic(ours, theirs, match_tokens(ours, theirs, budget=2**30))


def _group(name: str, found: Sequence[tuple[float, float] | None]) -> list[str]:
    pairs = [each for each in found if each is not None]
    lines = [f"  - pairs: {name}"]
    for at, key in enumerate(("best", "second")):
        counts = Counter(int(np.ceil(pair[at])) for pair in pairs)
        inner = ", ".join(f"{count}: {counts[count]}" for count in sorted(counts))
        lines.append(f"    {key}: {{{inner}}}")
    return lines if pairs else []


def report(nulls: Sequence[Null], found: Sequence[Trap], missing: str, tables: str) -> str:
    """Write the section of the page."""
    total = Null("all", tuple(value for null in nulls for value in null.values))
    head = ["independent pairs", "pairs", "p ≤ .05", "p ≤ .01", "p ≤ 1e-4", "smallest p"]
    marks = [f"{cosine}" for cosine in COSINES]
    return f"""
## Lineage: independent models, weak relations, strained assumptions

Models that are known to be independent of each other. Drawn and trained models are compared
whole, as `steelyard compare` does; real ones matrix by matrix. A p-value that keeps its word is at
most .05 in at most .05 of the pairs.{missing}

{table(head, [null.row() for null in (*nulls, total)])}

Power of ten of the p-value (median) by how alike child and base still are, as the cosine of their
weights; drawn numbers:

{table(["", *marks], [*power(), scrambled_power()])}

Independent models that strain what the p-value rests on: whether that was noticed (the report
then says so, and compares near neighbors only, or not at all), and what was said of the pair:

{table(["", "pairs", "noticed", "said", "smallest p"], [trap.row() for trap in found])}

{tables}

{conditions(command_line())}
"""


def main() -> None:
    """Compare all of them and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "lineage_null")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of drawn models")
    parser.add_argument("--calibrate", action="store_true", help="write scrambled_null.yaml anew")
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    nulls = [Null("drawn numbers", tuple(related(*pair) for pair in drawn(options.pairs)))]
    strained: dict[str, list[Trained]] = {}
    missing = " Trained models were left out: the packages of the zoo are not installed."
    if can_train():
        nursery = Nursery(options.workdir)
        gated = nursery.raise_all(GATED, students=STUDENTS)
        ungated = nursery.raise_all(UNGATED, students=STUDENTS // 2)
        strained = {name: nursery.raise_all(recipes) for name, recipes in STRAINED.items()}
        missing = ""
        if options.calibrate:
            calibrate(gated, ungated)
        for name, models in (("trained, gated", gated), ("trained, without gates", ungated)):
            values = tuple(related(*pair) for pair in of_trained(models))
            nulls.append(Null(name, values))
    rows = real_rows()
    layered = [row for row in rows if row.layer is not None]
    real = list(of_real(layered, _REAL_PAIRS)) if layered else []
    for name, apart in (("matrices of two real models", True), ("of one real model", False)):
        held = tuple(value for of_two, value in real if of_two is apart)
        if held:
            nulls.append(Null(name, held))
    text = report(nulls, list(traps(strained)), missing, constant_tables(rows))
    print(text)
    if not options.dry_run:
        write_section("lineage_null.py", text)


if __name__ == "__main__":
    main()
