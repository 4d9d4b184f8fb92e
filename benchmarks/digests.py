"""How fast is the identity of a 4 GB model, beside plain BLAKE3 of the same bytes?

    python benchmarks/digests.py [--workdir FOLDER] [--repeat 5] [--dry-run]

Makes, once, a model of four safetensors shards with random BF16 tensors. Then every program
hashes (or only reads) all of it, each time in a process of its own, taking turns. The clock runs
around the work alone, not around the start of Python; `sha256sum` is timed as a whole. Files were
read once before, so they come from the page cache: this measures processors, not disks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from record import command_line, conditions, default_workdir, spread, table, write_section

LAYERS, HIDDEN, INNER, VOCABULARY, SHARDS = 38, 2048, 5632, 32_000, 4
BLOCK = 1 << 24
TARGET = 0.9
PROGRAMS: Mapping[str, str] = {
    "blake3": "plain BLAKE3 (`update_mmap`, all threads)",
    "identity": "**identity**",
    "both": "**identity and SHA-256, one pass**",
    "hashlib": "SHA-256 (`hashlib.file_digest`)",
    "sha256sum": "SHA-256 (`sha256sum`)",
    "read": "plain reading (16 MiB at a time)",
}


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a model built like Llama."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
        for part in ("q", "k", "v", "o"):
            yield f"{prefix}.self_attn.{part}_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def write_shard(path: Path, tensors: Sequence[tuple[str, tuple[int, ...]]], seed: int) -> None:
    """Write one safetensors file block by block."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in tensors:
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    source = random.Random(seed)  # noqa: S311  anything irregular will do
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, end, BLOCK):
            file.write(source.randbytes(min(BLOCK, end - start)))


def make_model(folder: Path) -> None:
    """Make the model, unless it is there."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = list(shapes())
    for i in range(SHARDS):
        part = tensors[i * len(tensors) // SHARDS : (i + 1) * len(tensors) // SHARDS]
        write_shard(folder / f"model-{i + 1:05}-of-{SHARDS:05}.safetensors", part, i)
    (folder / "done").touch()


def read(paths: Sequence[Path]) -> None:
    """Read every byte and do nothing with it."""
    buffer = bytearray(BLOCK)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def plain_sha256(paths: Sequence[Path]) -> None:
    """Hash as the standard library does."""
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()


def plain_blake3(paths: Sequence[Path]) -> None:
    """Hash as the library of BLAKE3 does at its fastest."""
    from blake3 import blake3

    for path in paths:
        hasher = blake3(max_threads=blake3.AUTO)
        hasher.update_mmap(path)
        hasher.hexdigest()


def ours(paths: Sequence[Path], *, sha256: bool) -> Callable[[], None]:
    """Read the headers, and return what computes the digests."""
    from steelyard.checkpoints.digests import digest
    from steelyard.checkpoints.opening import read_model
    from steelyard.sources.local import open_local

    model = read_model(open_local(str(paths[0].parent)))

    def work() -> None:
        if model.main is None or digest(model.source, model.main, sha256=sha256).root is None:
            raise SystemExit("the identity was not computed")

    return work


def measure(program: str, paths: Sequence[Path]) -> None:
    """Run one program in this process; print seconds and peak memory in MiB."""
    works: dict[str, Callable[[], Callable[[], None]]] = {
        "read": lambda: lambda: read(paths),
        "hashlib": lambda: lambda: plain_sha256(paths),
        "blake3": lambda: lambda: plain_blake3(paths),
        "identity": lambda: ours(paths, sha256=False),
        "both": lambda: ours(paths, sha256=True),
    }
    work = works[program]()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps([seconds, peak]))


def run(program: str, paths: Sequence[Path]) -> tuple[float, float]:
    """Run one program in a process of its own; return seconds and peak memory in MiB."""
    if program == "sha256sum":
        start = time.perf_counter()
        child = subprocess.Popen(["sha256sum", *paths], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return time.perf_counter() - start, usage.ru_maxrss / 1024
    command = [sys.executable, __file__, "--measure", program, "--workdir", str(paths[0].parent)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, peak = json.loads(output)
    return seconds, peak


def report(results: Mapping[str, Sequence[tuple[float, float]]], size: int) -> str:
    """Write the section of the page."""
    median = {p: statistics.median(s for s, _ in runs) for p, runs in results.items()}
    rows = [
        [
            PROGRAMS[program],
            spread([seconds for seconds, _ in runs]),
            f"{size / median[program] / 1e9:.2f}",
            f"{_ratio(results['blake3'], runs):.2f}",
            f"{_ratio(results['read'], runs):.2f}",
            f"{max(peak for _, peak in runs):.0f}",
        ]
        for program, runs in results.items()
    ]
    head = ["", "seconds", "GB/s", "x plain BLAKE3", "x plain reading", "peak MiB"]
    repeat = len(results["blake3"])
    count = sum(1 for _ in shapes())
    return f"""
## Digests

The identity of a model of {size / 1e9:.2f} GB ({count} BF16 tensors in {SHARDS} safetensors
shards) beside plain hashing of the same files; median (and range) of {repeat}, page cache warm.
The ratios are medians over the rounds: within one round, what else the machine does befalls all
programs alike. Peak memory counts mapped pages. Target: identity at {TARGET} or more of plain
BLAKE3 in under 300 MiB.

{table(head, rows)}

{conditions(command_line())}
"""


def _ratio(of: Sequence[tuple[float, float]], to: Sequence[tuple[float, float]]) -> float:
    """Return the median, over the rounds, of how many times as fast the second program was."""
    return statistics.median(a / b for (a, _), (b, _) in zip(of, to, strict=True))


def main() -> None:
    """Make the model, let all programs take turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "digests")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    parser.add_argument("--measure", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.measure:
        make_model(options.workdir)
    paths = sorted(options.workdir.glob("*.safetensors"))
    if options.measure:
        measure(options.measure, paths)
        return
    read(paths)
    programs = [p for p in PROGRAMS if p != "sha256sum" or shutil.which("sha256sum")]
    results: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
    for _ in range(options.repeat):
        for program in programs:
            results[program].append(run(program, paths))
    text = report(results, sum(path.stat().st_size for path in paths))
    print(text)
    if not options.dry_run:
        write_section("digests.py", text)


if __name__ == "__main__":
    main()
