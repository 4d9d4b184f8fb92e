"""How close are our estimates of training compute to those that Epoch AI publishes?

    python benchmarks/compute.py [--data ../shared/data/epoch_ai] [--misses 40] [--dry-run]

Takes every model of Epoch's tables (CC BY 4.0, epoch.ai/data) with parameters, training data
counted in tokens and compute, and apart from these every one with hardware. The error is a factor:
the larger of ours/theirs and theirs/ours, where ours is the middle of our range. A row whose notes
multiply parameters, tokens and six says nothing about a method that does the same: such rows are
told apart and not counted, even where the notes name another source beside. The same holds for
figures from hardware against our estimate from hardware. Nothing is tuned on the names of models.
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
MARGIN = 1.3
"""The factor of a column that does not depend on how wide we make our own ranges."""
_TIMES = "*\u00d7\u2217\u00b7\u22c5\u2715x"
_SIX = re.compile(
    # A six beside a multiplication sign, before or after it; `6ND`, `6 FLOP / token`; a search
    # address in which plus signs stand for spaces; and six as twice three.
    rf"(?<![\w.^])6\s?[{_TIMES}]|[{_TIMES}]\s?6(?![\w.])|\b6\s?\(|\)\s?6\b|\b6\s?[NPDC]{{1,2}}\b"
    rf"|\b6[\s+]*FLOP|(?<![\w.^])2\s?[{_TIMES}][^=\n]{{1,60}}[{_TIMES}]?\s?3\s?[{_TIMES}]",
    re.IGNORECASE,
)
_HARDWARE = re.compile(
    r"GPU|TPU|chip|hour|utili[sz]ation|MFU|petaflop|pf-day|[AHVP]100|[AH]800|\* ?3600|util rate",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"\breported\b|according to|\b(?:the|their) (?:paper|authors?|model card|report|blog)\b"
    r"|\btable\b|\bfigure\b|\bstates?d?\b|\bdevelopers?\b",
    re.IGNORECASE,
)
_ACTIVE = re.compile(
    r"(\d+(?:\.\d+)?)\s*(B|billion)\b[^.\d]{0,25}?\bactiv(?:e|ated)\b"
    r"|\bactiv(?:e|ated)\b[^.\d]{0,25}(\d+(?:\.\d+)?)\s*(?:B|billion)\b",
    re.IGNORECASE,
)
_EXPERTS = re.compile(
    r"\bexperts?\b|\bMoE\b|\bA\d+(?:\.\d+)?B\b|\bactivated?\b[^.]{0,20}param|active param", re.I
)
_SPARSE = re.compile(r"mixture[- ]of[- ]experts?|\bMoEs?\b|sparsely", re.IGNORECASE)
_TOKENS = re.compile(r"\btokens?\b", re.IGNORECASE)
_EPOCHS = re.compile(r"\bepochs?\b|\bpasses\b", re.IGNORECASE)
HOW = {
    "stated": "stated by the developers",
    "hardware": "computed by Epoch from hardware",
    "other": "otherwise, or not told how",
}


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
    experts = bool(_EXPERTS.search(about) or _SPARSE.search(entry["Abstract"]))
    base = bool(entry["Base model"].strip() or entry["Finetune compute (FLOP)"].strip())
    return Row(name, compute, how(notes), experts, base, dict(_facts(entry, about, experts)))


def how(notes: str) -> str:
    """Tell from Epoch's notes how it obtained a figure."""
    if _SIX.search(notes):
        return "6ND"
    if _HARDWARE.search(notes):
        return "hardware"
    return "stated" if _STATED.search(notes) else "other"


def _facts(entry: Mapping[str, str], about: str, experts: bool) -> Iterator[tuple[str, Value]]:
    yield from _sizes(entry, about, experts)
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
        yield "training.hardware.type", entry["Training hardware"]
        used = _number(
            entry.get("Hardware utilization (MFU)", "") or entry.get("Hardware utilization", "")
        )
        if used and used < 1:
            yield "training.hardware.utilization", used


def _sizes(entry: Mapping[str, str], about: str, experts: bool) -> Iterator[tuple[str, Value]]:
    """Yield parameters; of a mixture of experts only where the active ones are told."""
    parameters = _number(entry["Parameters"])
    if not parameters:
        return
    if not experts:
        yield "model.parameters.total", round(parameters)
        return
    found = _ACTIVE.search(about)
    active = round(float(found[1] or found[3]) * 1e9) if found else 0
    if 0 < active < parameters:
        yield "model.parameters.total", round(parameters)
        yield "model.parameters.active", active


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


HEAD = ("models", "n", "median factor", "90th percentile", "within 30 %", "inside our range")


def line(label: str, results: Sequence[Result]) -> tuple[str, ...]:
    """Lay out the figures of one group."""
    if len(results) < 2:
        return (label, str(len(results)), "", "", "", "")
    factors = sorted(result.factor for result in results)
    ninth = statistics.quantiles(factors, n=10, method="inclusive")[-1]
    near = sum(factor <= MARGIN for factor in factors) / len(results)
    share = sum(result.inside for result in results) / len(results)
    median = statistics.median(factors)
    return (
        label, str(len(results)), f"{median:.2f}", f"{ninth:.2f}", f"{near:.0%}", f"{share:.0%}",
    )  # fmt: skip


def counted(results: Iterable[Result], circular: str) -> list[Result]:
    """Return the results that count: dense, no fine-tunes, not got by the method compared."""
    return [r for r in results if not (r.row.finetune or r.row.experts or r.row.how == circular)]


def groups(results: Sequence[Result], circular: str) -> Iterator[tuple[str, ...]]:
    """Yield the line of each group: what counts first, then what stands apart."""
    dense = [r for r in results if not (r.row.finetune or r.row.experts)]
    chosen = counted(results, circular)
    yield line("**counted: dense, not obtained in the same way**", chosen)
    for kind, words in (*HOW.items(), ("6ND", "computed by Epoch as 6ND")):
        if kind != circular:
            yield line(f"of these: {words}", [r for r in chosen if r.row.how == kind])
    words = {"6ND": "computed by Epoch as 6ND", "hardware": HOW["hardware"]}[circular]
    yield line(f"apart: {words} (circular)", [r for r in dense if r.row.how == circular])
    experts = [r for r in results if r.row.experts and not r.row.finetune]
    yield line("apart: mixtures of experts, not so computed",
               [r for r in experts if r.row.how != circular])  # fmt: skip
    yield line("apart: mixtures of experts, so computed (circular)",
               [r for r in experts if r.row.how == circular])  # fmt: skip
    yield line("apart: fine-tunes", [r for r in results if r.row.finetune])


def verdict(results: Sequence[Result]) -> str:
    """Say whether the target is met, from the figures."""
    median = statistics.median(r.factor for r in results)
    share = sum(r.inside for r in results) / len(results)
    met = median <= TARGET_MEDIAN and share >= TARGET_SHARE
    return (
        f"Target: median factor at most {TARGET_MEDIAN} and {TARGET_SHARE:.0%} inside our range. "
        f"**{'Met' if met else 'Missed'}**: {median:.2f} and {share:.0%}."
    )


def misses(results: Iterable[Result], most: int) -> str:
    """List the counted models outside our range, the farthest first."""
    worst = sorted((r for r in results if not r.inside), key=lambda r: -r.factor)
    listed = [
        [r.row.name, r.row.how, f"{r.row.compute:.2g}",
         f"{r.estimate.flop.low:.2g} to {r.estimate.flop.high:.2g}", f"{r.factor:.1f}"]
        for r in worst[:most]
    ]  # fmt: skip
    head = ("model", "how Epoch has it", "Epoch", "ours", "factor")
    return f"{len(listed)} of {len(worst)} outside, the farthest first:\n\n{table(head, listed)}"


def report(found: Sequence[Row], most: int) -> str:
    """Write the section of docs/benchmarks.md."""
    architecture, hardware = estimated(found)
    told = [r for r in hardware if "training.hardware.utilization" in r.row.facts]
    silent = [r for r in hardware if "training.hardware.utilization" not in r.row.facts]
    by_tokens = counted(architecture, "6ND")
    return f"""
## Training compute against Epoch AI's figures

Estimates by `steelyard.compute` from the parameters, data and hardware in Epoch AI's own tables
(CC BY 4.0; all models of 2025-04, large-scale models of 2025-12), against the compute that Epoch
publishes: {len(found)} models with a figure, of which {len(architecture)} have parameters and data
in tokens (of a mixture of experts: active parameters), and {len(hardware)} have hardware.

By architecture (parameters and tokens). {verdict(by_tokens)}

{table(HEAD, list(groups(architecture, "6ND")))}

Where Epoch multiplies parameters, tokens and six as we do, the median says only that both do; what
lies outside there, too, comes from the inputs. The size of a data set stands in the tables where
tokens seen are wanted, without the passes over it, or for another stage than the compute; where
Epoch computed from hardware it assumed a utilization that nobody published; and developers count
attention, embeddings and recomputation in their own ways. The last column depends on how wide our
ranges are, the one before it does not.
{misses(by_tokens, most)}

By hardware (units, hours, accelerator), for which no target is set:

{table(HEAD, list(groups(hardware, "hardware")))}

With the utilization stated, all but fine-tunes, and without:

{
        table(
            HEAD,
            [
                line("utilization stated", [r for r in told if not r.row.finetune]),
                line("utilization assumed", [r for r in silent if not r.row.finetune]),
            ],
        )
    }

{conditions(command_line())}
"""


def main() -> None:
    """Estimate every model of the tables and write the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with Epoch's CSV files")
    parser.add_argument("--misses", type=int, default=40, help="how many to list at most")
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    missing = [file for file in FILES if not (options.data / file).is_file()]
    if missing:
        parser.exit(2, f"{options.data} lacks {', '.join(missing)}: get them from epoch.ai/data\n")
    text = report(list(rows(options.data)), options.misses)
    print(text)
    if not options.dry_run:
        write_section("compute.py", text)


if __name__ == "__main__":
    main()
