"""How long does it take to find a relative among 100,000 known bases?

    python benchmarks/lineage_search.py [--entries 100000] [--repeat 7] [--dry-run]

Makes a registry of independent signatures, each with a sketch, in which one model is hidden as it
is and one of its fine-tunes at each of three distances, and looks for them with another fine-tune.
On one core, in turns: the scan of the signatures; NumPy's product of the same signatures as float32
matrices of +1 and -1, which ranks entries alike; one pass over the signatures' bytes, which no scan
can beat; and the whole search of a file, with the exact tests.
"""

from __future__ import annotations

import argparse
import os
import sys

# One core for all, NumPy's threads among them; they are made when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from record import ROOT, command_line, conditions, spread, table, write_section

sys.path.insert(0, str(ROOT))

from tests.lineage.memory import Arrays, MemoryWeights, random_arrays

from steelyard.lineage.known.archive import Item, Stack
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import Found, Registry, parts_of, search
from steelyard.lineage.known.search import (
    BITS,
    KINDS,
    WORDS,
    Signatures,
    agreements,
    signature,
    threshold,
)
from steelyard.lineage.matrix import Floats
from steelyard.lineage.relating.sketches import Sketch, sketch_of

TARGET_MS = 100
DISTANCES = (0.1, 0.5, 1.0)
"""Noise in the weights of each fine-tune, as a share of their spread."""
_PART = BITS // 64


def drifted(arrays: Arrays, amount: float, seed: int) -> Arrays:
    """Move every weight by normal noise."""
    chance = np.random.default_rng(seed)
    return {
        name: (array + amount * array.std() * chance.standard_normal(array.shape)).astype("f4")
        for name, array in arrays.items()
    }


def sketched(arrays: Arrays) -> Sketch:
    """Sketch a model in memory."""
    return sketch_of(MemoryWeights(arrays))


def item(name: str, sketch: Sketch) -> Item:
    """Make an entry of a sketch."""
    return Item(Entry(name).record, sketch.to_bytes(), signature(parts_of(sketch)))


def make(entries: int, base: Arrays) -> Registry:
    """Make a registry of strangers, with a family of four among them."""
    chance = np.random.default_rng(0)
    stranger = sketched(random_arrays(1, layers=1, width=16, feed_forward=16)).to_bytes()
    items = [
        Item(
            Entry(f"org/stranger-{number:07}").record,
            stranger,
            np.frombuffer(chance.bytes(8 * WORDS), np.uint64),
        )
        for number in range(entries - 1 - len(DISTANCES))
    ]
    family = [item("org/family-base", sketched(base))]
    for number, amount in enumerate(DISTANCES):
        family.append(item(f"org/family-tuned-{amount}", sketched(drifted(base, amount, number))))
    return Registry(Stack([*family, *items]))


def floats(bits: Signatures) -> list[Floats]:
    """Turn signatures into a matrix of +1 and -1 for each part, entries x bits."""
    found = []
    for slot in range(len(KINDS)):
        words = np.ascontiguousarray(bits[slot * _PART : (slot + 1) * _PART].T).astype("<u8")
        signs = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        found.append(signs.astype(np.float32) * 2 - 1)
    return found


def product(own: list[Floats], others: list[Floats]) -> Floats:
    """Return the largest agreement of any pair of parts of one kind, as the scan does."""
    best = np.full(len(others[0]), -1, np.float32)
    for kind in dict.fromkeys(KINDS):
        slots = [slot for slot, name in enumerate(KINDS) if name == kind]
        queries = np.concatenate([own[slot] for slot in slots]).T
        for slot in slots:
            np.maximum(best, (others[slot] @ queries).max(axis=1) / BITS, out=best)
    return best


def one_pass(block: Signatures) -> int:
    """Read every byte once and do next to nothing with it."""
    return int(np.bitwise_xor.reduce(block, axis=1)[0])


def timed(repeat: int, works: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time each work in turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeat + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def check(found: Found, scan: NDArray[np.float32], brute: Floats) -> Iterator[str]:
    """Yield what was found, after making sure that scan and product say the same."""
    if not np.allclose(scan, brute, atol=1e-5):
        raise SystemExit("the scan and the product disagree")
    names = [match.entry.name for match in found.matches]
    if sorted(names) != sorted(
        ["org/family-base", *(f"org/family-tuned-{amount}" for amount in DISTANCES)]
    ):
        raise SystemExit(f"found {names}")
    yield f"{found.tested} entries were tested exactly, {len(names)} found: " + ", ".join(
        f"{match.entry.name} (agreement {match.agreement:.2f}, log10 p {match.log10_p:.0f})"
        for match in found.matches
    )
    yield (
        f"Largest agreement of a stranger: {np.sort(scan)[-1 - len(names)]:.3f}; the threshold for "
        f"one false hit is {threshold(len(scan)):.3f}."
    )


def report(entries: int, repeat: int) -> str:
    """Measure, and write the section of the page."""
    base = random_arrays(2, layers=4, width=256, feed_forward=512)
    sketch = sketched(drifted(base, 0.3, 99))
    query = signature(parts_of(sketch))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "known.lineage"
        began = time.perf_counter()
        make(entries, base).save(path)
        made = time.perf_counter() - began
        began = time.perf_counter()
        with Registry.open(path) as kept:
            opened = time.perf_counter() - began
            block = kept.shelf.signatures
            own, others = floats(query[:, None]), floats(block)
            works: dict[str, Callable[[], object]] = {
                "scan of the signatures": lambda: agreements(query, block),
                "NumPy product, float32": lambda: product(own, others),
                "one pass over the bytes": lambda: one_pass(block),
                "whole search, exact tests included": lambda: search(sketch, [kept]),
            }
            seconds = timed(repeat, works)
            scan, brute = agreements(query, block), product(own, others)
            notes = list(check(search(sketch, [kept]), scan, brute))
            sizes = {
                "scan of the signatures": block.nbytes,
                "NumPy product, float32": sum(part.nbytes for part in others),
                "one pass over the bytes": block.nbytes,
            }
        size = path.stat().st_size
    rows = [
        [
            name,
            spread([1000 * one for one in taken]),
            f"{sizes[name] / 1e6:.0f}" if name in sizes else "",
            f"{sizes[name] / 1e9 / statistics.median(taken):.1f}" if name in sizes else "",
        ]
        for name, taken in seconds.items()
    ]
    whole = 1000 * statistics.median(seconds["whole search, exact tests included"])
    lines = "\n".join(f"- {note}" for note in notes)
    return f"""
## Search of {entries:,} known bases

Times are medians (range) of {repeat} runs, in milliseconds, on one core. Target: well under
{TARGET_MS} ms; the whole search takes {whole:.0f} ms.

{table(["", "milliseconds", "MB read", "GB/s"], rows)}

{lines}
- The file has {size / 1e6:.0f} MB; making it took {made:.1f} s, opening it (digest checked)
  {opened:.2f} s.

{conditions(command_line())}
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    text = report(options.entries, options.repeat)
    print(text)
    if not options.dry_run:
        write_section("lineage_search.py", text)


if __name__ == "__main__":
    main()
