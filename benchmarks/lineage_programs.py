"""The programs that `lineage_peers.py` compares: how each is had, asked, and understood.

Each is asked by its documented command line, and judged by what it claims to answer. Two things
are judged apart: whether the child comes from the base, and what was done to it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Pair = Mapping[str, Any]
"""One entry of `pairs.json`."""
NEAR, STRENGTH_NEAR, ZEROS_NEAR = 0.02, 0.03, 0.02
"""How near coefficients of a merge, strengths of a removal and shares of zeros have to be."""
WEAK_MATCH = 0.65
"""Above this the provenance kit speaks of a match (its `interpret_score`)."""
_INSTALL_S = 1800


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said of a pair, and whether it is true."""

    words: str
    related: bool | None
    """None: it abstained, or failed."""
    done: bool | None = None
    """Whether what it said was done is true; None where it claims nothing about that."""
    score: float | None = None
    """The provenance kit's score of the weights alone."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program."""

    key: str
    title: str
    commands: Callable[[Path, Pair], list[list[str]]]
    """The commands that answer for a pair, given the folder of its executables."""
    read: Callable[[Pair, Sequence[str]], Answer]
    """Understand what the commands wrote.

    Raises:
        ValueError: If it is not what the program documents.
        LookupError: The same.
    """
    requirement: str = ""
    """What is installed into an environment of its own; empty for the program at hand."""
    python: tuple[int, int] = (3, 11)
    """The oldest Python that it runs on."""


def _ours(scripts: Path, pair: Pair) -> list[list[str]]:
    command = [str(scripts / "steelyard"), "compare", pair["base"], pair["child"]]
    for folder in pair["candidates"].values():
        command += ["--candidate", folder]
    return [[*command, "--format", "json", "--offline"]]


def _read_ours(pair: Pair, outputs: Sequence[str]) -> Answer:
    said = json.loads(outputs[0])
    verdict = said["related"]["verdict"]
    related = {"related": True, "shares_component": True, "no_weight_lineage_found": False}
    kinds = [edit["kind"] for edit in said["edits"]]
    encoding = said["encoding"]["kind"]
    told = kinds if related.get(verdict) else []
    words = ", ".join(
        [*told, *([] if encoding == "same" or not related.get(verdict) else [encoding])]
    )
    return Answer(
        f"{verdict}{': ' if words else ''}{words}".replace("_", " "),
        related.get(verdict),
        _is_true(said, pair["truth"], pair["candidates"]) if pair["related"] else None,
    )


def _is_true(said: Mapping[str, Any], truth: Mapping[str, Any], named: Mapping[str, str]) -> bool:
    """Tell whether both axes are right, nothing is missing or added, and the numbers are near."""
    edits = {edit["kind"]: edit for edit in said["edits"]}
    wanted = set(truth.get("edits", ()))
    # Whether a copy that was only re-encoded is called identical is a matter of taste.
    loose = set() if "identical" in wanted else {"identical"}
    if set(edits) - loose != wanted or said["encoding"]["kind"] != truth.get("encoding", "same"):
        return False
    return all(_numbers_fit(edit, truth, named) for edit in edits.values())


def _numbers_fit(
    edit: Mapping[str, Any], truth: Mapping[str, Any], named: Mapping[str, str]
) -> bool:
    match edit["kind"]:
        case "lora":
            fits = edit.get("rank") == truth["rank"]
        case "merge":
            told = dict(zip(edit["parents"], edit["coefficients"], strict=True))
            wanted = {named[parent]: share for parent, share in truth["coefficients"].items()}
            fits = _near(told, wanted, NEAR)
        case "abliterated":
            # Told is what was read: a strength for each of some matrices.
            told = edit["strength"]
            wanted = {name: truth["strength"].get(name, 0.0) for name in told}
            fits = bool(told) and _near(told, wanted, STRENGTH_NEAR)
        case "depth_pruned" | "layers_repeated":
            fits = list(edit["layer_map"]) == list(truth["layer_map"])
        case "sparsified":
            fits = abs(edit.get("zeros", 0.0) - truth["zeros"]) <= ZEROS_NEAR
        case "vocab_extended":
            fits = edit.get("rows") == truth["rows"]
        case "disguised":
            fits = set(edit.get("means", ())) == set(truth["means"])
        case _:
            fits = True
    return bool(fits)


def _near(told: Mapping[str, float], wanted: Mapping[str, float], most: float) -> bool:
    names = set(told) | set(wanted)
    return all(abs(told.get(name, 0.0) - wanted.get(name, 0.0)) <= most for name in names)


_ONE_PARENT = ("FINE_TUNE", "SAME_LINEAGE")
_SAME_NUMBERS = ("EXACT_COPY", "QUANTIZED_COPY")
_FITTING: Mapping[str, Sequence[str]] = {
    "copy": ("EXACT_COPY",),
    "minilm": ("EXACT_COPY",),
    "fp16": _SAME_NUMBERS,
    "gguf": _SAME_NUMBERS,
    "noise-2": ("FINE_TUNE",),
    "lora": ("FINE_TUNE",),
    "abliterated": ("FINE_TUNE",),
    "noise-50": ("SAME_LINEAGE",),
    "noise-150": ("SAME_LINEAGE",),
    "vocabulary": (*_SAME_NUMBERS, *_ONE_PARENT),
}
"""Verdicts of modelDNA whose own description is true of a pair; `_ONE_PARENT` for all others."""


def _dna(scripts: Path, pair: Pair) -> list[list[str]]:
    program = str(scripts / "modeldna")
    commands = [[program, "compare", pair["child"], pair["base"], "--json"]]
    if pair["candidates"]:
        parents = list(pair["candidates"].values())
        commands.append([program, "decompose", pair["child"], *parents, "--json"])
    return commands


def _read_dna(pair: Pair, outputs: Sequence[str]) -> Answer:
    said = json.loads(outputs[0])["verdict"]
    verdict, chance = said["verdict"], said["probability"]
    if verdict in {"SAME_FAMILY_UNRESOLVED", "INSUFFICIENT"}:
        related = None
    else:
        related = verdict != "NO_MATCH"
    words = verdict if chance is None else f"{verdict} {chance:.3f}"
    if len(outputs) > 1:
        shares = json.loads(outputs[1])["alphas"]
        wanted = {
            pair["candidates"][name]: share for name, share in pair["truth"]["coefficients"].items()
        }
        done = _near(shares, wanted, NEAR)
        words += "; " + " + ".join(f"{share:.2f}" for share in shares.values())
    else:
        done = verdict in _FITTING.get(pair["name"], _ONE_PARENT)
    return Answer(words, related, done if pair["related"] else None)


def _kit(scripts: Path, pair: Pair) -> list[list[str]]:
    program = str(scripts / "provenancekit")
    return [[program, "compare", pair["base"], pair["child"], "--json", "--no-cache"]]


def _read_kit(pair: Pair, outputs: Sequence[str]) -> Answer:
    said = json.loads(outputs[0])
    del pair  # It answers one question only, the same for every pair.
    label = said["interpretation"]["label"]
    related = {"High-Confidence Match": True, "Weak Match": True, "Not Matched": False}
    scores = said["scores"]
    words = f"{label} {scores['pipeline_score']:.2f} (weights {scores['identity_score']:.2f})"
    return Answer(words, related.get(label), None, scores["identity_score"])


PROGRAMS: tuple[Program, ...] = (
    Program("steelyard", "Steelyard", _ours, _read_ours),
    Program("modeldna", "modelDNA 0.1.0", _dna, _read_dna, "modeldna==0.1.0"),
    Program(
        "cisco", "Cisco provenance kit 1.0.0", _kit, _read_kit,
        "cisco-ai-provenance-kit==1.0.0", (3, 12),
    ),
)  # fmt: skip


def scripts_of(program: Program, workdir: Path, *, install: bool) -> Path | str:
    """Return the folder of a program's executables, or why it cannot be had.

    Args:
        program: The program.
        workdir: Where environments are kept.
        install: Whether to make one that is not there.
    """
    if not program.requirement:
        return Path(sys.executable).parent
    folder = workdir / "programs" / program.key
    if (folder / "complete").exists():
        return folder / "bin"
    if not install:
        return "not installed; --peers installs it"
    python = _python(program.python)
    if python is None:
        return f"needs Python {'.'.join(map(str, program.python))} or later, which is not here"
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {program.requirement} ...", file=sys.stderr)
    steps = (
        [python, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "--quiet", program.requirement],
    )
    for step in steps:
        try:
            subprocess.run(step, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
        except (OSError, subprocess.SubprocessError) as error:
            told = str(getattr(error, "stderr", None) or error).strip().splitlines()
            return f"could not be installed: {told[-1] if told else error}"
    (folder / "complete").touch()
    return folder / "bin"


def _python(oldest: tuple[int, int]) -> str | None:
    """Find a Python that is recent enough."""
    named = [found for minor in (12, 13, 11) if (found := shutil.which(f"python3.{minor}"))]
    managed = sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python"))
    ask = f"import sys; sys.exit(sys.version_info < {oldest})"
    for python in (sys.executable, *named, *map(str, managed)):
        if not subprocess.run([python, "-c", ask], check=False, capture_output=True).returncode:
            return python
    return None


def surroundings(workdir: Path) -> dict[str, str]:
    """Return an environment without a network, in which what programs keep stays in `workdir`."""
    home = workdir / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
