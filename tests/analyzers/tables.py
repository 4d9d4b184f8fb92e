"""Checkpoints without bytes: tables of tensors as published models have them.

Each table is made from the fields of a `config.json`, as the modeling code of Transformers would
lay the model out. `as_gguf` gives the same tensors the names and shapes that llama.cpp's converter
gives them. The names are spelled out here and not taken from the product's own table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from steelyard.checkpoints.documents import JsonValue
from steelyard.checkpoints.model import Model
from steelyard.checkpoints.tensors import DTYPE_BITS, PLAIN, Checkpoint, MetadataValue, Tensor
from steelyard.sources.base import ByteReader, SkippedFile, SourceFile
from tests.analyzers.published import Config

Shape = tuple[int, ...]
Table = dict[str, Shape]


def table_of(config: Config) -> Table:
    """Lay out the tensors of a model as its `config.json` describes it."""
    match config["model_type"]:
        case "gpt2":
            return _gpt2(config)
        case "bert" | "roberta":
            return _bert(config)
        case "t5":
            return _t5(config)
        case _:
            return _decoder(config)


def _decoder(config: Config) -> Table:
    """Llama and its kin: separate or latent attention, dense or routed feed-forward."""
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    table: Table = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    if not config["tie_word_embeddings"]:
        table["lm_head.weight"] = (vocabulary, width)
    blocks = config["num_hidden_layers"]
    for layer in range(blocks + config.get("num_nextn_predict_layers", 0)):
        block = f"model.layers.{layer}"
        table[f"{block}.input_layernorm.weight"] = (width,)
        table[f"{block}.post_attention_layernorm.weight"] = (width,)
        latent = "kv_lora_rank" in config
        table |= _latent(config, block) if latent else _attention(config, block)
        routed = _experts(config) and layer >= config.get("first_k_dense_replace", 0)
        table |= _routed(config, block) if routed else _mlp(f"{block}.mlp", config)
        if layer >= blocks:
            table[f"{block}.embed_tokens.weight"] = (vocabulary, width)
            table[f"{block}.shared_head.head.weight"] = (vocabulary, width)
            table[f"{block}.shared_head.norm.weight"] = (width,)
            table[f"{block}.enorm.weight"] = table[f"{block}.hnorm.weight"] = (width,)
            table[f"{block}.eh_proj.weight"] = (width, 2 * width)
    return table


def _experts(config: Config) -> int:
    keys = ("num_local_experts", "num_experts", "n_routed_experts")
    return next((config[key] for key in keys if key in config), 0)


def _attention(config: Config, block: str) -> Table:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim", width // heads)
    queries, keys = heads * head, config["num_key_value_heads"] * head
    table: Table = {
        f"{block}.self_attn.q_proj.weight": (queries, width),
        f"{block}.self_attn.k_proj.weight": (keys, width),
        f"{block}.self_attn.v_proj.weight": (keys, width),
        f"{block}.self_attn.o_proj.weight": (width, queries),
    }
    if config["model_type"] in ("qwen2", "qwen2_moe"):
        table[f"{block}.self_attn.q_proj.bias"] = (queries,)
        table[f"{block}.self_attn.k_proj.bias"] = table[f"{block}.self_attn.v_proj.bias"] = (keys,)
    if config["model_type"] in ("qwen3", "olmoe"):
        whole = config["model_type"] == "olmoe"
        table[f"{block}.self_attn.q_norm.weight"] = (queries if whole else head,)
        table[f"{block}.self_attn.k_norm.weight"] = (keys if whole else head,)
    return table


def _latent(config: Config, block: str) -> Table:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    turned, plain, value = (
        config[key] for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    )
    rank, queries = config["kv_lora_rank"], heads * (turned + plain)
    table: Table = {
        f"{block}.self_attn.kv_a_proj_with_mqa.weight": (rank + turned, width),
        f"{block}.self_attn.kv_a_layernorm.weight": (rank,),
        f"{block}.self_attn.kv_b_proj.weight": (heads * (plain + value), rank),
        f"{block}.self_attn.o_proj.weight": (width, heads * value),
    }
    if config["q_lora_rank"] is None:
        table[f"{block}.self_attn.q_proj.weight"] = (queries, width)
    else:
        table[f"{block}.self_attn.q_a_proj.weight"] = (config["q_lora_rank"], width)
        table[f"{block}.self_attn.q_a_layernorm.weight"] = (config["q_lora_rank"],)
        table[f"{block}.self_attn.q_b_proj.weight"] = (queries, config["q_lora_rank"])
    return table


def _mlp(prefix: str, config: Config, size: int | None = None) -> Table:
    width, inner = config["hidden_size"], size or config["intermediate_size"]
    return {
        f"{prefix}.gate_proj.weight": (inner, width),
        f"{prefix}.up_proj.weight": (inner, width),
        f"{prefix}.down_proj.weight": (width, inner),
    }


def _routed(config: Config, block: str) -> Table:
    width, count = config["hidden_size"], _experts(config)
    inner = config.get("moe_intermediate_size", config["intermediate_size"])
    if config["model_type"] == "mixtral":
        table: Table = {f"{block}.block_sparse_moe.gate.weight": (count, width)}
        for expert in range(count):
            prefix = f"{block}.block_sparse_moe.experts.{expert}"
            table[f"{prefix}.w1.weight"] = table[f"{prefix}.w3.weight"] = (inner, width)
            table[f"{prefix}.w2.weight"] = (width, inner)
        return table
    table = {f"{block}.mlp.gate.weight": (count, width)}
    for expert in range(count):
        table |= _mlp(f"{block}.mlp.experts.{expert}", config, inner)
    if config["model_type"] == "qwen2_moe":
        size = config["shared_expert_intermediate_size"]
        table |= _mlp(f"{block}.mlp.shared_expert", config, size)
        table[f"{block}.mlp.shared_expert_gate.weight"] = (1, width)
    if "n_shared_experts" in config:
        size = config["n_shared_experts"] * inner
        table |= _mlp(f"{block}.mlp.shared_experts", config, size)
    if config["model_type"] == "deepseek_v3":
        table[f"{block}.mlp.gate.e_score_correction_bias"] = (count,)
    return table


def _gpt2(config: Config) -> Table:
    width = config["n_embd"]
    table: Table = {
        "wte.weight": (config["vocab_size"], width),
        "wpe.weight": (config["n_positions"], width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
    }
    inner = {"attn.c_attn": 3, "attn.c_proj": 1, "mlp.c_fc": 4}
    for layer in range(config["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            table[f"h.{layer}.{norm}.weight"] = table[f"h.{layer}.{norm}.bias"] = (width,)
        for name, times in inner.items():
            table[f"h.{layer}.{name}.weight"] = (width, times * width)
            table[f"h.{layer}.{name}.bias"] = (times * width,)
        table[f"h.{layer}.mlp.c_proj.weight"] = (4 * width, width)
        table[f"h.{layer}.mlp.c_proj.bias"] = (width,)
    return table


def _bert(config: Config) -> Table:
    width, inner = config["hidden_size"], config["intermediate_size"]
    table: Table = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    dense = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    for layer in range(config["num_hidden_layers"]):
        block = f"encoder.layer.{layer}"
        for name, shape in dense.items():
            table[f"{block}.{name}.weight"] = shape
            table[f"{block}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            table[f"{block}.{name}.weight"] = table[f"{block}.{name}.bias"] = (width,)
    return table


def _t5(config: Config) -> Table:
    width, inner = config["d_model"], config["d_ff"]
    heads, all_heads = config["num_heads"], config["num_heads"] * config["d_kv"]
    table: Table = {"shared.weight": (config["vocab_size"], width)}
    for stack, kinds in (("encoder", ("Self",)), ("decoder", ("Self", "EncDec"))):
        table[f"{stack}.final_layer_norm.weight"] = (width,)
        buckets = (config["relative_attention_num_buckets"], heads)
        table[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = buckets
        for layer in range(config["num_layers"]):
            block = f"{stack}.block.{layer}.layer"
            for number, kind in enumerate(kinds):
                for letter in "qkv":
                    table[f"{block}.{number}.{kind}Attention.{letter}.weight"] = (all_heads, width)
                table[f"{block}.{number}.{kind}Attention.o.weight"] = (width, all_heads)
                table[f"{block}.{number}.layer_norm.weight"] = (width,)
            last = len(kinds)
            table[f"{block}.{last}.DenseReluDense.wi.weight"] = (inner, width)
            table[f"{block}.{last}.DenseReluDense.wo.weight"] = (width, inner)
            table[f"{block}.{last}.layer_norm.weight"] = (width,)
    return table


_GGUF_TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_GGUF_BLOCK = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_GGUF_EXPERT = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
_GGUF_EXPERT |= {"w1": "gate", "w3": "up", "w2": "down"}


def as_gguf(table: Table) -> Table:
    """Rename a table as llama.cpp's converter does, the experts of a block joined in one."""
    result: Table = {}
    for name, shape in table.items():
        stem, _, part = name.rpartition(".")
        if stem in _GGUF_TOP:
            result[f"{_GGUF_TOP[stem]}.{part}"] = shape
            continue
        words = stem.split(".")
        at = next((i for i, word in enumerate(words) if word.isdigit()), None)
        if at is None:
            continue  # BERT's pooler is not converted
        block, rest = f"blk.{words[at]}", ".".join(words[at + 1 :])
        if part == "e_score_correction_bias":
            result[f"{block}.exp_probs_b.bias"] = shape
        elif ".experts." in name:
            joined = f"{block}.ffn_{_GGUF_EXPERT[words[-1]]}_exps.{part}"
            count = result.get(joined, (0,))[0]
            result[joined] = (count + 1, *shape)
        elif ".shared_expert" in name and not rest.endswith("_gate"):
            result[f"{block}.ffn_{_GGUF_EXPERT[words[-1]]}_shexp.{part}"] = shape
        else:
            flipped = rest.startswith(("attn.c_", "mlp.c_")) and len(shape) == 2
            result[f"{block}.{_GGUF_BLOCK[rest]}.{part}"] = shape[::-1] if flipped else shape
    return result


def gguf_metadata(config: Config, architecture: str) -> dict[str, MetadataValue]:
    """State a configuration of a decoder as llama.cpp's converter does."""
    stated: dict[str, MetadataValue] = {
        "block_count": config["num_hidden_layers"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "context_length": config["max_position_embeddings"],
        "vocab_size": config["vocab_size"],
    }
    if "head_dim" in config:
        stated["attention.key_length"] = config["head_dim"]
    if _experts(config):
        stated["expert_count"] = _experts(config)
        stated["expert_used_count"] = config["num_experts_per_tok"]
    if "moe_intermediate_size" in config:
        stated["expert_feed_forward_length"] = config["moe_intermediate_size"]
    result = {f"{architecture}.{key}": value for key, value in stated.items()}
    return {"general.architecture": architecture, **result}


def tensors(
    table: Mapping[str, Shape],
    dtype: str = "BF16",
    *,
    dtypes: Mapping[str, str] | None = None,
    encodings: Mapping[str, str] | None = None,
    file: str = "model.safetensors",
) -> tuple[Tensor, ...]:
    """Lay tensors one after another in a file; `dtypes` and `encodings` by name."""
    made: list[Tensor] = []
    offset = 0
    for name in sorted(table):
        kind = (dtypes or {}).get(name, dtype)
        nbytes = prod(table[name]) * DTYPE_BITS[kind] // 8
        encoding = (encodings or {}).get(name, PLAIN)
        made.append(Tensor(name, kind, table[name], encoding, file, offset, nbytes))
        offset += nbytes
    return tuple(made)


def checkpoint(
    made: Iterable[Tensor],
    kind: str = "safetensors",
    metadata: Mapping[str, MetadataValue] | None = None,
) -> Checkpoint:
    """Make a weights set of tensors."""
    listed = tuple(made)
    files = tuple(sorted({tensor.file for tensor in listed}))
    return Checkpoint(kind, files, listed, metadata or {})


class NoSource:
    """A source that nothing may be read from: header-only models need none."""

    spec = "nowhere"
    kind = "folder"
    revision: str | None = None
    files: Sequence[SourceFile] = ()
    skipped: Sequence[SkippedFile] = ()
    bytes_read = 0

    def open(self, path: str) -> ByteReader:
        raise AssertionError(f"{path} must not be read")

    def local_path(self, path: str) -> None:
        return None

    def close(self) -> None:
        pass


def model(
    *weights: Checkpoint,
    config: Config | None = None,
    json: Mapping[str, JsonValue] | None = None,
) -> Model:
    """Make a model of weights sets and a `config.json`."""
    documents: dict[str, JsonValue] = dict(json or {})
    if config is not None:
        documents["config.json"] = dict(config)
    return Model(NoSource(), weights, documents)


def safetensors_model(config: Config, dtype: str = "BF16") -> Model:
    """Make a header-only model in safetensors, as `config` describes it."""
    return model(checkpoint(tensors(table_of(config), dtype)), config=config)


def gguf_model(config: Config, architecture: str, encoding: str = "Q4_K") -> Model:
    """Make the same model as llama.cpp would convert it, matrices quantized, without documents."""
    table = as_gguf(table_of(config))
    packed = {name: encoding for name, shape in table.items() if len(shape) > 1}
    made = tensors(table, "F32", encodings=packed, file="model.gguf")
    return model(checkpoint(made, "gguf", gguf_metadata(config, architecture)))
