from __future__ import annotations

import contextlib
import io

from steelyard.errors import SteelyardError
from steelyard.lineage.known import archive
from steelyard.lineage.known.archive import Archive
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import Registry, search
from steelyard.lineage.relating.relatedness import relate
from steelyard.lineage.relating.sketches import Sketch, sketch_of
from tests.fuzz.counts import fuzz_count
from tests.fuzz.mutations import mutations
from tests.lineage.memory import MemoryWeights, random_arrays

COUNT = fuzz_count(300)
SKETCH = sketch_of(
    MemoryWeights(
        random_arrays(0, layers=2, width=16, feed_forward=32, vocabulary=80),
        vocabulary=tuple(f"token{row}" for row in range(80)),
    )
)


def registry() -> bytes:
    made = Registry()
    for name in ("org/a", "org/b"):
        made = made.add(Entry(name, license="MIT"), SKETCH)
    stream = io.BytesIO()
    archive.write(made.shelf, stream)
    return stream.getvalue()


def test_damaged_sketches() -> None:
    for data in mutations(SKETCH.to_bytes(), 11, COUNT):
        with contextlib.suppress(SteelyardError):
            found = Sketch.from_bytes(data)
            assert found.to_bytes() == data
            for first, second in ((found, SKETCH), (SKETCH, found), (found, found)):
                assert relate(first, second).log10_p <= 0


def test_damaged_registries() -> None:
    for data in mutations(registry(), 12, COUNT):
        with contextlib.suppress(SteelyardError):
            kept = Registry(Archive(io.BytesIO(data)))
            list(kept)
            search(SKETCH, [kept])
