"""How close are our estimates of training compute to those that Epoch AI publishes?

    python benchmarks/compute.py [--data ../shared/data/epoch_ai] [--misses 20] [--dry-run]

Takes every model of Epoch's tables (CC BY 4.0, epoch.ai/data) with parameters, the size of its
training data and compute, and apart from these every one with hardware. The error is a factor:
the larger of ours/theirs and theirs/ours, where ours is the middle of our range. A row whose
figure Epoch itself computed as six times parameters and tokens says nothing about us: such rows
are told apart and not counted. Nothing is tuned on the names of models.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from record import ROOT, command_line, conditions, table, write_section
from steelyard.compute import Estimate, by_architecture, by_hardware
from steelyard.facts import Basis, Fact, FactBook, Value

DATA = ROOT.parent / "shared" / "data" / "epoch_ai"
FILES = ("large_scale_ai_models_2025-12.csv", "all_ai_models_2025-04.csv")
TARGET_MEDIAN, TARGET_SHARE = 1.1, 0.9
_SIX = re.compile(r"\b6\s*(?:\*|x|\u00d7|N\b|ND|DN|FLOPs?\b|\()|6ND|6DN|\b6\s*FLOP", re.IGNORECASE)
_HARDWARE = re.compile(r"GPU|TPU|chip|hour|utili[sz]ation|MFU|petaflop|pf-day", re.IGNORECASE)
_STATED = re.compile(
    r"reported|according to|the (?:paper|authors|model card|report|blog)|table|states?d?\b"
    r"|developers?",
    re.IGNORECASE,
)
_ACTIVE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|billion)\b[^.]{0,25}?\bactiv", re.IGNORECASE)
_ACTIVE_AFTER = re.compile(r"activ[a-z]*[^.\d]{0,25}(\d+(?:\.\d+)?)\s*(B|billion)\b", re.IGNORECASE)
_EXPERTS = re.compile(
    r"\bexperts?\b|\bsparse\b|\bMoE\b|\bA\d+(\.\d+)?B\b|activat|active param", re.I
)
_TOKENS = re.compile(r"\btokens?\b", re.IGNORECASE)
_EPOCHS = re.compile(r"\bepochs?\b|\bpasses\b", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One model of Epoch's tables."""

    name: str
    compute: float
    how: str
    """How Epoch obtained its figure: `6ND`, `hardware`, `stated` or `other`."""
    experts: bool
    finetune: bool
    facts: Mapping[str, Value]


@dataclass(frozen=True)
class Result:
    """Our estimate of one model beside Epoch's."""

    row: Row
    estimate: Estimate

    @property
    def factor(self) -> float:
        """How many times too much or too little."""
        ratio = self.estimate.flop.middle / self.row.compute
        return max(ratio, 1 / ratio)

    @property
    def inside(self) -> bool:
        """Whether Epoch's figure lies in our range."""
        return self.estimate.flop.low <= self.row.compute <= self.estimate.flop.high


def rows(folder: Path) -> Iterator[Row]:
    """Yield each model once, from the newer table where both have it."""
    seen: set[str] = set()
    for file in FILES:
        with (folder / file).open(encoding="utf-8", newline="") as stream:
            for entry in csv.DictReader(stream):
                name = " ".join(entry["Model"].split())
                compute = _number(entry["Training compute (FLOP)"])
                if compute and name.lower() not in seen:
                    seen.add(name.lower())
                    yield _row(name, compute, entry)


def _row(name: str, compute: float, entry: Mapping[str, str]) -> Row:
    notes = entry["Training compute notes"]
    about = f"{name} {entry['Parameters notes']} {notes}"
    how = "6ND" if _SIX.search(notes) else "hardware" if _HARDWARE.search(notes) else (
        "stated" if _STATED.search(notes) else "other"
    )  # fmt: skip
    return Row(
        name,
        compute,
        how,
        bool(_EXPERTS.search(about)),
        bool(entry["Base model"].strip() or entry["Finetune compute (FLOP)"].strip()),
        dict(_facts(entry, about)),
    )


def _facts(entry: Mapping[str, str], about: str) -> Iterator[tuple[str, Value]]:
    parameters = _number(entry["Parameters"])
    if parameters:
        yield "model.parameters.total", round(parameters)
        active = _ACTIVE.search(about) or _ACTIVE_AFTER.search(about)
        if active and _EXPERTS.search(about):
            count = round(float(active[1]) * 1e9)
            if 0 < count < parameters:
                yield "model.parameters.active", count
    size = _number(
        entry.get("(DEPRECATED) Training dataset size (datapoints)", "")
        or entry.get("Training dataset size (datapoints)", "")
    )
    notes = entry["Dataset size notes"]
    epochs = _number(entry.get("Epochs", ""))
    # How often the data was passed over is told, or the notes speak of tokens seen.
    passes = epochs is not None or not _EPOCHS.search(notes + entry["Training compute notes"])
    if size and passes and "Language" in entry["Domain"] and _TOKENS.search(notes):
        yield "training.dataset_tokens", size
        yield "training.epochs", epochs or 1.0
    units, hours = _number(entry["Hardware quantity"]), _number(entry["Training time (hours)"])
    if units and hours and entry["Training hardware"]:
        yield "training.hardware.units", round(units)
        yield "training.hardware.hours", hours
        yield "training.hardware.type", entry["Training hardware"].split(",")[0].strip()
        used = _number(
            entry.get("Hardware utilization (MFU)", "") or entry.get("Hardware utilization", "")
        )
        if used and used < 1:
            yield "training.hardware.utilization", used


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 else None


def estimated(found: Iterable[Row]) -> tuple[list[Result], list[Result]]:
    """Return our estimates by architecture, and by hardware."""
    architecture, hardware = [], []
    for row in found:
        book = FactBook(Fact(name, value, Basis.DECLARED) for name, value in row.facts.items())
        first, second = by_architecture(book), by_hardware(book)
        if first is not None:
            architecture.append(Result(row, first))
        if second is not None:
            hardware.append(Result(row, second))
    return architecture, hardware


def line(label: str, results: Sequence[Result]) -> tuple[str, ...]:
    """Lay out the figures of one group."""
    if len(results) < 2:
        return (label, str(len(results)), "", "", "")
    factors = sorted(result.factor for result in results)
    ninth = factors[min(len(factors) - 1, round(0.9 * (len(factors) - 1)))]
    share = sum(result.inside for result in results) / len(results)
    median = statistics.median(factors)
    return label, str(len(results)), f"{median:.2f}", f"{ninth:.2f}", f"{share:.0%}"


def groups(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield the line of each group: what counts first, then what stands apart."""
    plain = [r for r in results if not r.row.finetune]
    dense = [r for r in plain if not r.row.experts]
    counted = [r for r in dense if r.row.how != "6ND"]
    yield line("**counted: dense, not computed by Epoch as 6ND**", counted)
    for how, words in (("stated", "stated by the developers"), ("hardware", "from hardware"),
                       ("other", "otherwise, or not told how")):  # fmt: skip
        yield line(f"of these: {words}", [r for r in counted if r.row.how == how])
    yield line(
        "apart: computed by Epoch as 6ND (circular)", [r for r in dense if r.row.how == "6ND"]
    )
    yield line("apart: mixtures of experts", [r for r in plain if r.row.experts])
    yield line("apart: fine-tunes", [r for r in results if r.row.finetune])


def report(architecture: Sequence[Result], hardware: Sequence[Result], misses: int) -> str:
    """Write the section of docs/benchmarks.md."""
    head = ["models", "n", "median factor", "90th percentile", "inside our range"]
    counted = [r for r in architecture
               if not (r.row.finetune or r.row.experts or r.row.how == "6ND")]  # fmt: skip
    worst = sorted((r for r in counted if not r.inside), key=lambda r: -r.factor)
    listed = [
        [r.row.name, r.row.how, f"{r.row.compute:.2g}", f"{r.estimate.flop.middle:.2g}",
         f"{r.factor:.1f}"]
        for r in worst[:misses]
    ]  # fmt: skip
    return f"""
## Training compute against Epoch AI's figures

Estimates by `steelyard.compute` from the parameters, data and hardware in Epoch AI's own tables
(CC BY 4.0; all models of 2025-04, large-scale models of 2025-12), against the compute that Epoch
publishes. Target: median factor at most {TARGET_MEDIAN}, {TARGET_SHARE:.0%} inside our range.

By architecture (parameters and tokens):

{table(head, list(groups(architecture)))}

By hardware (units, hours, accelerator, utilization where stated):

{
        table(
            head,
            [
                line("all but fine-tunes", [r for r in hardware if not r.row.finetune]),
                line(
                    "of these: utilization stated",
                    [
                        r
                        for r in hardware
                        if not r.row.finetune and "training.hardware.utilization" in r.row.facts
                    ],
                ),
            ],
        )
    }

The {len(listed)} largest misses of the {len(worst)} counted models outside our range. Most are rows
whose table gives the data in another unit than tokens, without the passes over it, or for another
stage of training than the compute:

{table(["model", "Epoch's figure", "Epoch", "ours", "factor"], listed)}

{conditions(command_line())}
"""


def main() -> None:
    """Estimate every model of the tables and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with Epoch's CSV files")
    parser.add_argument("--misses", type=int, default=15)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    missing = [file for file in FILES if not (options.data / file).is_file()]
    if missing:
        parser.exit(2, f"{options.data} lacks {', '.join(missing)}: download them from Epoch AI\n")
    architecture, hardware = estimated(rows(options.data))
    text = report(architecture, hardware, options.misses)
    print(text)
    if not options.dry_run:
        write_section("compute.py", text)


if __name__ == "__main__":
    main()
