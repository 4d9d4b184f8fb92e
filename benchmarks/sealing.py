"""How fast are digests, signing and verifying of a 3 GB model, beside hashlib and model_signing?

    python benchmarks/sealing.py [--workdir FOLDER] [--repeat 5] [--dry-run]

Makes, once, one safetensors file with random BF16 tensors, and a key. Then every program works on
all of it, each time in a process of its own, taking turns. For digests the clock runs around the
work alone; signing and verifying are timed as whole processes, start and imports included, as a
user waits for them. Files were read once before, so they come from the page cache: this measures
processors, not disks. `sign` and `verify` of Steelyard run without its cache of digests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from record import command_line, conditions, default_workdir, spread, table, write_section

LAYERS: Final = 48
HIDDEN: Final = 2048
INNER: Final = 5632
BLOCK: Final = 1 << 24
PROGRAMS: Final[Mapping[str, str]] = {
    "read": "plain reading (1 MiB at a time)",
    "hashlib": "SHA-256 (`hashlib.file_digest`)",
    "sha256": "**SHA-256**",
    "identity": "**identity**",
    "both": "**identity and SHA-256, one pass**",
    "sign_theirs": "`model_signing sign key`",
    "sign": "**`steelyard sign`** (identity, too)",
    "verify_theirs": "`model_signing verify key`",
    "verify": "**`steelyard verify`**",
}
LIMITS: Final = (
    ("sha256", "hashlib", 1.05),
    ("both", "hashlib", 1.15),
    ("sign", "sign_theirs", 1.0),
    ("verify", "verify_theirs", 1.0),
)
"""What is claimed: a program takes at most so many times as long as another in the same round."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float
    processor: float
    """Seconds of all processors together."""
    peak: float
    """MiB."""


def make_model(folder: Path) -> None:
    """Make the model and the keys, unless they are there."""
    done = folder.parent / "done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {}
    end = 0
    shapes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "mlp.up_proj": (INNER, HIDDEN)}
    shapes |= {"mlp.gate_proj": (INNER, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN)}
    for layer in range(LAYERS):
        for name, (rows, columns) in shapes.items():
            start, end = end, end + 2 * rows * columns
            header[f"model.layers.{layer}.{name}.weight"] = {
                "dtype": "BF16", "shape": [rows, columns], "data_offsets": [start, end],
            }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    source = random.Random(0)  # noqa: S311  anything irregular will do
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, end, BLOCK):
            file.write(source.randbytes(min(BLOCK, end - start)))
    (folder / "config.json").write_text('{"model_type": "llama"}\n', encoding="utf-8")
    _make_keys(folder.parent)
    done.touch()


def _make_keys(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key.pub").write_bytes(public)


def read(path: Path) -> None:
    """Read every byte and do nothing with it."""
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def plain_sha256(path: Path) -> None:
    """Hash as the standard library does."""
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256").hexdigest()


def ours(path: Path, *, weights: bool, sha256: bool) -> Callable[[], None]:
    """Read the headers, and return what computes the digests."""
    from steelyard.checkpoints.digests import digest
    from steelyard.checkpoints.opening import read_model
    from steelyard.sources.local import open_local

    model = read_model(open_local(str(path.parent)))

    def work() -> None:
        also = {path.name: path} if sha256 else None
        found = digest(model.source, model.main if weights else None, also=also, sha256=sha256)
        if (found.root is None) == weights or (path.name in found.files) != sha256:
            raise SystemExit("not everything was computed")

    return work


def measure(program: str, path: Path) -> None:
    """Run one program in this process; print what it took."""
    works: dict[str, Callable[[], Callable[[], None]]] = {
        "read": lambda: lambda: read(path),
        "hashlib": lambda: lambda: plain_sha256(path),
        "sha256": lambda: ours(path, weights=False, sha256=True),
        "identity": lambda: ours(path, weights=True, sha256=False),
        "both": lambda: ours(path, weights=True, sha256=True),
    }
    work = works[program]()
    start, before = time.perf_counter(), time.process_time()
    work()
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps([seconds, processor, peak]))


def command_of(program: str, model: Path) -> list[str]:
    """Return the command line of a program that is timed as a whole."""
    signature, keys = model.parent / f"{program.split('_')[0]}.sig", model.parent
    theirs = [sys.executable, "-m", "model_signing"]
    steelyard = [str(Path(sys.executable).with_name("steelyard"))]
    given = ["--signature", str(signature)]
    return {
        "sign_theirs": [*theirs, "sign", "key", str(model), *given,
                        "--private_key", str(keys / "key.pem")],
        "sign": [*steelyard, "sign", str(model), *given, "--key", str(keys / "key.pem"),
                 "--force", "--no-cache"],
        "verify_theirs": [*theirs, "verify", "key", str(model),
                          "--signature", str(keys / "sign.sig"),
                          "--public_key", str(keys / "key.pub")],
        "verify": [*steelyard, "verify", str(model), "--signature", str(keys / "sign.sig"),
                   "--key", str(keys / "key.pub")],
    }[program]  # fmt: skip


def run(program: str, path: Path) -> Cost:
    """Run one program in a process of its own."""
    if program.startswith(("sign", "verify")):
        start = time.perf_counter()
        child = subprocess.Popen(command_of(program, path.parent), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{program} ended with {child.returncode}")
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    command = [sys.executable, __file__, "--measure", program]
    command += ["--workdir", str(path.parent.parent)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(*json.loads(output))


def ratio(of: Sequence[Cost], to: Sequence[Cost]) -> float:
    """Return the median, over the rounds, of how many times as long the first program took."""
    return statistics.median(a.seconds / b.seconds for a, b in zip(of, to, strict=True))


def report(results: Mapping[str, Sequence[Cost]], size: int) -> str:
    """Write the section of the page."""
    rows = []
    for program, runs in results.items():
        rows.append(
            [
                PROGRAMS[program],
                spread([cost.seconds for cost in runs]),
                f"{statistics.median(cost.processor for cost in runs):.2f}",
                f"{ratio(runs, results['read']):.2f}",
                f"{max(cost.peak for cost in runs):.0f}",
            ]
        )
    head = ["", "seconds", "processor seconds", "x plain reading", "peak MiB"]
    claims = [
        [
            PROGRAMS[ours],
            PROGRAMS[theirs],
            f"{ratio(results[ours], results[theirs]):.2f}",
            f"{limit:.2f}",
        ]
        for ours, theirs, limit in LIMITS
    ]
    repeat = len(results["read"])
    return f"""
## Digests for sealing, signing and verifying

One safetensors file of {size / 1e9:.2f} GB; median (and range) of {repeat}, page cache warm.
Digests are timed around the work alone, commands as whole processes. `steelyard sign` computes
the identity in the same pass, which `model_signing` does not know.

{table(head, rows)}

What is claimed, as medians over the rounds, so that what else the machine does befalls both alike:

{table(["", "beside", "takes times as long", "at most"], claims)}

Of a single file SHA-256 is the longer of the two digests and runs beside the other on a second
core. Of a model in many files both cores compute SHA-256 already, and the identity adds its own
time: see the section on digests.

{conditions(command_line())}
"""


def main() -> None:
    """Make the model, let all programs take turns, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "sealing")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    parser.add_argument("--measure", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.workdir / "model" / "model.safetensors"
    if options.measure:
        measure(options.measure, path)
        return
    make_model(path.parent)
    read(path)
    results: dict[str, list[Cost]] = {program: [] for program in PROGRAMS}
    for _ in range(options.repeat):
        for program in PROGRAMS:
            results[program].append(run(program, path))
    text = report(results, path.stat().st_size)
    print(text)
    if not options.dry_run:
        write_section("sealing.py", text)


if __name__ == "__main__":
    main()
