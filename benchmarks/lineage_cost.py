"""How much does lineage read, and how long does it take, at the size of 70 billion parameters?

    python benchmarks/lineage_cost.py [--workdir FOLDER] [--repeat 5] [--dry-run]

Makes, once, a model of Llama-3-70B's shapes: BF16 in thirty safetensors shards, with a tokenizer
of its size. Only the first rows of each matrix hold numbers, which are the rows that a comparison
reads; the rest are holes in sparse files (141 GB that take about 1 GB of disk). A second one has
every number changed a little. Each way of asking is a process of its own, from disk, and through a
web server on this machine that answers ranged reads and counts what it sends. The clock starts
when modules and tables are loaded (a small model was compared before) and stops at the verdict.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from record import ROOT, command_line, conditions, default_workdir, spread, table, write_section

sys.path.insert(0, str(ROOT))

from tests.sources.hub_server import HubServer
from tests.sources.serving import Stored

if TYPE_CHECKING:
    # Imported by the processes that ask: whoever serves need not load them.
    from steelyard.sources import Network

LAYERS, HIDDEN, INNER, SMALL, VOCABULARY = 80, 8192, 28672, 1024, 128256
SHARDS = (30, 1)
"""Files of a model: as such models are published, and all in one."""
OF_LAYER: Mapping[str, tuple[int, ...]] = {
    "input_layernorm": (HIDDEN,),
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (SMALL, HIDDEN),
    "self_attn.v_proj": (SMALL, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "post_attention_layernorm": (HIDDEN,),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
MERGES = 280_147
FILLED_ROWS, FILLED_TOKENS = 64, 1024
NOISE = 0.1
VERDICT_BYTES, VERDICT_CPU, REPORT_BYTES = 1_500_000, 0.3, 64_000_000
WAYS: Mapping[str, str] = {
    "sketch": "verdict, one model against a sketch of the other",
    "verdict": "verdict, two models",
    "edits": "report of edits, two models",
}
Taken = Mapping[str, Any]
"""What one process measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One question asked once."""

    taken: Taken
    sent: int | None = None
    """Bytes that the server sent, headers and documents included."""


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of Llama-3-70B."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in OF_LAYER.items():
            yield f"model.layers.{layer}.{name}.weight", shape
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def make_model(folder: Path, noise: float, shards: int, *, is_small: bool = False) -> None:
    """Make one model, unless it is there; `noise` moves it away from the one without."""
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = list(shapes())
    if is_small:
        tensors = [(name, tuple(size // 128 for size in shape)) for name, shape in tensors[:20]]
    where: dict[str, str] = {}
    for i in range(shards):
        part = tensors[i * len(tensors) // shards : (i + 1) * len(tensors) // shards]
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_shard(folder / name, part, noise)
        where.update((tensor, name) for tensor, _ in part)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()), encoding="utf-8")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def tokenizer() -> dict[str, Any]:
    """Draw a byte-level BPE tokenizer of Llama-3's size: 128,000 tokens and 256 special ones."""
    chance = np.random.default_rng(3)
    plain = VOCABULARY - 256
    lengths = chance.integers(2, 12, plain)
    letters = "".join(map(chr, chance.integers(ord("a"), ord("z") + 1, int(lengths.sum()))))
    ends = np.cumsum(lengths)
    words = [f"{letters[end - size : end]}{place:x}" for place, (end, size) in
             enumerate(zip(ends, lengths, strict=True))]  # fmt: skip
    halves = chance.integers(0, plain, (MERGES, 2))
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": plain + i, "content": f"<|reserved_{i}|>", "special": True} for i in range(256)
        ],
        "model": {
            "type": "BPE",
            "vocab": {word: place for place, word in enumerate(words)},
            "merges": [f"{words[left][:6]} {words[right][:6]}" for left, right in halves],
        },
    }


def write_shard(path: Path, tensors: Sequence[tuple[str, tuple[int, ...]]], noise: float) -> None:
    """Write a header, the first rows of each tensor, and holes for all others."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors:
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    at = 8 + len(text)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            most = FILLED_TOKENS if shape[0] == VOCABULARY else FILLED_ROWS
            rows = min(most, shape[0]) if len(shape) > 1 else shape[0]
            width = int(np.prod(shape[1:]))
            file.seek(at)
            file.write(numbers(name, rows * width, len(shape) == 1, noise))
            at += 2 * int(np.prod(shape))
        file.truncate(at)


def numbers(name: str, count: int, is_norm: bool, noise: float) -> bytes:
    """Draw the numbers of a tensor, the same for the same name but for the noise."""
    chance = np.random.default_rng([ord(letter) for letter in name])
    drawn = chance.standard_normal(count, np.float32) * np.float32(0.02)
    drawn += np.float32(noise * 0.02) * chance.standard_normal(count, np.float32)
    drawn += np.float32(is_norm)
    return (drawn.view(np.uint32) >> 16).astype("<u2").tobytes()


def measure(way: str, base: str, child: str, small: str, endpoint: str | None) -> None:
    """Ask once in this process; print what it took as JSON.

    A small model is compared with itself before, so that modules and tables are loaded. Then a
    line is written, and a line awaited: who counts what the server sends starts to count.
    """
    from steelyard.sources import Network

    network = Network(endpoint=endpoint) if endpoint else Network(offline=True)
    ask_models(way, small, small, network)
    if way == "sketch":
        ask_sketch(way, base, small, network)
    print(flush=True)
    sys.stdin.readline()
    asked = ask_sketch if way == "sketch" else ask_models
    taken = asked(way, base, child, network)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    taken["peak"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps(taken))


def ask_models(way: str, base: str, child: str, network: Network) -> dict[str, Any]:
    """Compare two models."""
    from steelyard.checkpoints.opening import read_model
    from steelyard.lineage.comparing import compare
    from steelyard.sources import open_source

    wall, processor = time.perf_counter(), time.process_time()
    with ExitStack() as stack:
        sources = [open_source(spec, network=network) for spec in (base, child)]
        for source in sources:
            stack.callback(source.close)
        found = compare(*map(read_model, sources), edits=way == "edits")
        said = [found.related.verdict.value, *(edit.kind.value for edit in found.edits)]
        return {
            "wall": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "said": ", ".join(said).replace("_", " "),
            "log10_p": found.related.log10_p,
            "weights": found.bytes_read,
            "read": sum(source.bytes_read for source in sources),
            "requests": found.requests,
        }


def ask_sketch(way: str, base: str, child: str, network: Network) -> dict[str, Any]:
    """Compare a model with the sketch of another, as a registry keeps it: `base` is its file."""
    from steelyard.checkpoints.opening import read_model
    from steelyard.lineage.reading.weights import open_weights
    from steelyard.lineage.relating.relatedness import relate
    from steelyard.lineage.relating.sketches import Sketch, sketch_of
    from steelyard.sources import open_source

    del way
    wall, processor = time.perf_counter(), time.process_time()
    kept = Sketch.from_bytes(Path(base).read_bytes())
    with ExitStack() as stack:
        source = open_source(child, network=network)
        stack.callback(source.close)
        weights = stack.enter_context(open_weights(read_model(source)))
        found = relate(sketch_of(weights, layers=False, strings=False, like=kept), kept)
        return {
            "wall": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
            "said": found.verdict.value.replace("_", " "),
            "log10_p": found.log10_p,
            "weights": weights.bytes_read,
            "read": source.bytes_read,
            "requests": weights.requests,
        }


def make_sketch(folder: Path, path: Path) -> None:
    """Write the sketch of a model, anew in each run of this script."""
    from steelyard.checkpoints.opening import read_model
    from steelyard.lineage.reading.weights import open_weights
    from steelyard.lineage.relating.sketches import sketch_of
    from steelyard.sources import Network, open_source

    with ExitStack() as stack:
        source = open_source(str(folder), network=Network(offline=True))
        stack.callback(source.close)
        path.write_bytes(
            sketch_of(stack.enter_context(open_weights(read_model(source)))).to_bytes()
        )


def run(way: str, models: Sequence[str], hub: HubServer | None = None) -> Run:
    """Ask once in a process of its own, about base, child and the small model."""
    command = [sys.executable, __file__, "--measure", way, "--models", *models]
    if hub is not None:
        command += ["--endpoint", hub.endpoint]
    # One thread of OpenBLAS, as the command line sets it.
    surrounding = {"OPENBLAS_NUM_THREADS": "1", **os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=surrounding) as asked:
        if asked.stdin is None or asked.stdout is None:
            raise RuntimeError("the process has no pipes")
        asked.stdout.readline()
        before = sent_by(hub)
        asked.stdin.write("\n")
        asked.stdin.flush()
        taken: Taken = json.loads(asked.stdout.read())
    return Run(taken, None if hub is None else sent_by(hub) - before)


def sent_by(hub: HubServer | None) -> int:
    """Return the bytes that a server has sent so far."""
    return 0 if hub is None else sum(each.sent for each in hub.requests)


def hub_of(folders: Mapping[str, Path], small: Path) -> HubServer:
    """Make a hub that serves the models, without reading 141 GB of holes for their digests.

    Args:
        folders: Repository to folder.
        small: A folder in which to lay the small files out, which are digested as usual.
    """
    for repo, folder in folders.items():
        (small / repo).mkdir(parents=True)
        for path in folder.glob("*.json"):
            (small / repo / path.name).symlink_to(path)
    hub = HubServer({repo: small / repo for repo in folders})
    for repo, folder in folders.items():
        shards = {
            path.name: Stored(
                path, b"", path.stat().st_size, hashlib.sha256(str(path).encode()).hexdigest()
            )
            for path in sorted(folder.glob("*.safetensors"))
        }
        commit = hub.commits[repo]["main"]
        hub.commits[repo]["main"] = replace(commit, files={**commit.files, **shards})
        hub.files.files.update({f"/storage/{each.sha256}": each for each in shards.values()})
    return hub


def report(runs: Mapping[tuple[str, str], Sequence[Run]], size: int) -> str:
    """Write the section of the page."""
    rows = []
    for (way, where), each in runs.items():
        last = each[-1]
        rows.append(
            [
                f"{WAYS[way]}, {where}",
                spread([one.taken["wall"] for one in each]),
                f"{statistics.median(one.taken['processor'] for one in each):.3f}",
                f"{last.taken['weights'] / 1e6:.2f}",
                f"{(last.taken['read'] if last.sent is None else last.sent) / 1e6:.2f}",
                str(last.taken["requests"]),
                f"{max(one.taken['peak'] for one in each) / 1e6:.0f}",
                f"{last.taken['said']}; {last.taken['log10_p']:.0f}",
            ]
        )
    head = ["", "seconds", "CPU s", "MB of weights", "MB in all", "reads of weights", "peak MB",
            "said; log10 p"]  # fmt: skip
    return f"""
## Cost of lineage at 70 billion parameters

Two models of Llama-3-70B's shapes ({size / 1e9:.0f} GB each, sparse files; a
tokenizer of {VOCABULARY:,} tokens), one with a tenth of noise; each run a process of its own, timed
after modules and tables were loaded. "MB in all" counts everything: headers, configuration and
tokenizer included; over HTTP it is what the server sent. Targets: a verdict on relatedness within
{VERDICT_BYTES / 1e6} MB and {VERDICT_CPU} s of CPU after start-up; a report of edits within
{REPORT_BYTES / 1e6:.0f} MB.

{table(head, rows)}

{conditions(command_line())}
"""


def measure_all(
    workdir: Path, shards: int, repeat: int, runs: dict[tuple[str, str], list[Run]]
) -> None:
    """Compare models of so many files in every way, in turns."""
    folders = {f"org/{name}": workdir / name for name in ("base", "child", "small")}
    base, child, small = folders.values()
    make_model(base, 0.0, shards)
    make_model(child, NOISE, shards)
    make_model(small, 0.0, 2, is_small=True)
    sketch = workdir / "base.sketch"
    make_sketch(base, sketch)
    files = "1 file" if shards == 1 else f"{shards} files"
    with tempfile.TemporaryDirectory() as laid_out, hub_of(folders, Path(laid_out)) as hub:
        for _ in range(repeat):
            for way in WAYS:
                local = [str(base), str(child), str(small)]
                remote = [f"hf://{name}" for name in folders]
                if way == "sketch":
                    local[0] = remote[0] = str(sketch)
                disk, http = f"{files} on disk", f"{files} over ranged HTTP"
                runs.setdefault((way, disk), []).append(run(way, local))
                runs.setdefault((way, http), []).append(run(way, remote, hub))


def main() -> None:
    """Make the models, compare them in turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=default_workdir() / "lineage_cost")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        first, second, small = options.models
        measure(options.measure, first, second, small, options.endpoint)
        return
    runs: dict[tuple[str, str], list[Run]] = {}
    for shards in SHARDS:
        measure_all(options.workdir / f"in-{shards}", shards, options.repeat, runs)
    base = options.workdir / f"in-{SHARDS[0]}" / "base"
    text = report(runs, sum(file.stat().st_size for file in base.iterdir()))
    print(text)
    if not options.dry_run:
        write_section("lineage_cost.py", text)


if __name__ == "__main__":
    main()
