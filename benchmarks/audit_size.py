"""Does an audit without digests cost the same for 1 MB and for 40 GB of weights?

    python benchmarks/audit_size.py [--workdir FOLDER] [--repeat 5] [--dry-run]

Makes, once, two models that differ only in the size of their tensors: 1,011 BF16 tensors in ten
safetensors shards, with index, configuration and card. The tensors' bytes are holes in sparse
files, so 40 GB take a few megabytes of disk; an audit that read them would still take its time.
Each audit is the command line as a user runs it, start of Python included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from record import command_line, conditions, default_workdir, spread, table, write_section

LAYERS, SHARDS = 112, 10
SECONDS_TARGET, BYTES_TARGET = 1.5, 16_000_000
CARD = """---
license: apache-2.0
language: en
---
# A model of nothing

All of its weights are holes.
"""
COUNT_IN_PROCESS = """
import datetime, pathlib, sys
from steelyard.auditing import Options, audit
def rchar():
    return int(pathlib.Path("/proc/self/io").read_text().split()[1])
before = rchar()
audit(sys.argv[1], as_of=datetime.date(2026, 1, 1), options=Options(digest=False))
print(rchar() - before)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of one model."""

    label: str
    hidden: int
    inner: int
    small: int
    """Rows of keys and values."""
    vocabulary: int


SIZES = (Size("1 MB", 16, 32, 4, 8_000), Size("40 GB", 4096, 10_752, 1024, 32_000))


@dataclass(frozen=True, slots=True)
class Run:
    """One audit."""

    seconds: float
    bytes_read: int
    """As the report says."""


def shapes(size: Size) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a model built like Llama."""
    yield "model.embed_tokens.weight", (size.vocabulary, size.hidden)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (size.hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (size.hidden,)
        yield f"{prefix}.self_attn.q_proj.weight", (size.hidden, size.hidden)
        yield f"{prefix}.self_attn.k_proj.weight", (size.small, size.hidden)
        yield f"{prefix}.self_attn.v_proj.weight", (size.small, size.hidden)
        yield f"{prefix}.self_attn.o_proj.weight", (size.hidden, size.hidden)
        yield f"{prefix}.mlp.gate_proj.weight", (size.inner, size.hidden)
        yield f"{prefix}.mlp.up_proj.weight", (size.inner, size.hidden)
        yield f"{prefix}.mlp.down_proj.weight", (size.hidden, size.inner)
    yield "model.norm.weight", (size.hidden,)
    yield "lm_head.weight", (size.vocabulary, size.hidden)


def write_shard(path: Path, tensors: Sequence[tuple[str, tuple[int, ...]]]) -> int:
    """Write a header and leave a hole for the data; return the bytes of the data."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in tensors:
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return end


def make_model(folder: Path, size: Size) -> None:
    """Make one model, unless it is there."""
    if (folder / "README.md").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = list(shapes(size))
    where: dict[str, str] = {}
    total = 0
    for i in range(SHARDS):
        part = tensors[i * len(tensors) // SHARDS : (i + 1) * len(tensors) // SHARDS]
        name = f"model-{i + 1:05}-of-{SHARDS:05}.safetensors"
        total += write_shard(folder / name, part)
        where.update((tensor, name) for tensor, _ in part)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4 if size.hidden < 128 else size.hidden // 128,
        "num_key_value_heads": 1 if size.hidden < 128 else size.small // 128,
        "vocab_size": size.vocabulary,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "README.md").write_text(CARD, encoding="utf-8")


def audit(folder: Path) -> Run:
    """Run the command once."""
    command = [f"{sysconfig.get_path('scripts')}/steelyard", "audit", str(folder)]
    start = time.perf_counter()
    child = subprocess.run(
        [*command, "--no-digest", "--format", "json"], stdout=subprocess.PIPE, check=False
    )
    seconds = time.perf_counter() - start
    if child.returncode not in (0, 1):
        raise SystemExit(f"the audit of {folder} failed with exit code {child.returncode}")
    return Run(seconds, json.loads(child.stdout)["source"]["bytes_read"])


def bytes_in_process(folder: Path) -> int:
    """Count what the kernel handed over during an audit, Python's own modules included."""
    command = [sys.executable, "-c", COUNT_IN_PROCESS, str(folder)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def report(runs: Mapping[str, Sequence[Run]], read: Mapping[str, int]) -> str:
    """Write the section of the page."""
    rows = [
        [
            label,
            spread([run.seconds for run in each]),
            f"{each[0].bytes_read:,}",
            f"{read[label]:,}",
        ]
        for label, each in runs.items()
    ]
    medians = [statistics.median(run.seconds for run in each) for each in runs.values()]
    repeat = len(next(iter(runs.values())))
    count = sum(1 for _ in shapes(SIZES[0]))
    head = ["weights", "seconds", "bytes read (report)", "bytes read (kernel)"]
    return f"""
## Audit without digests

`steelyard audit --no-digest` of two models that differ only in size ({count:,} tensors in {SHARDS}
shards); median (and range) of {repeat}. The kernel's count is of an audit within Python and
includes Steelyard's own data, loaded on first use. Target: under {SECONDS_TARGET} s and
{BYTES_TARGET:,} bytes, whatever the size. Ratio of the medians: {medians[-1] / medians[0]:.2f}.

{table(head, rows)}

{conditions(command_line())}
"""


def main() -> None:
    """Make the models, audit them in turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "audit_size")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    folders = {size.label: options.workdir / size.label.replace(" ", "-") for size in SIZES}
    for size in SIZES:
        make_model(folders[size.label], size)
    runs: dict[str, list[Run]] = {label: [] for label in folders}
    for _ in range(options.repeat):
        for label, folder in folders.items():
            runs[label].append(audit(folder))
    text = report(runs, {label: bytes_in_process(folder) for label, folder in folders.items()})
    print(text)
    if not options.dry_run:
        write_section("audit_size.py", text)


if __name__ == "__main__":
    main()
