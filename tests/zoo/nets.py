"""Networks as functions of named weights, so that any edited set of weights runs and trains.

Weights bear the names that Transformers gives them and lie as outputs x inputs, GPT-2's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from steelyard.lineage.matrix import Floats

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a network; `family` tells the rest."""

    family: str
    """`llama`, `qwen` (biases), `gemma` (norms before and after, of queries and keys), `mixtral`,
    `sinusoidal` (a llama with fixed positions), `gpt2`, `bert`."""
    vocabulary: int
    width: int
    layers: int
    feed_forward: int
    heads: int = 4
    kv_heads: int = 2
    tied: bool = False
    experts: int = 0
    positions: int = 128

    @property
    def head_size(self) -> int:
        """Return the width of one head."""
        return self.width // self.heads


def initial(arch: Architecture, seed: int) -> dict[str, Floats]:
    """Draw the weights of a network that was not trained."""
    chance = np.random.default_rng((seed, 20))
    made: dict[str, Floats] = {}
    for name, shape in shapes(arch).items():
        if name.endswith("bias") or len(shape) == 1:
            is_gain = name.endswith("weight") and arch.family != "gemma"
            made[name] = np.full(shape, float(is_gain), np.float32)
        else:
            drawn = chance.standard_normal(shape) * (0.4 / arch.width**0.5)
            made[name] = drawn.astype(np.float32)
    return made


def shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {"gpt2": _gpt2_shapes, "bert": _bert_shapes}.get(arch.family, _llama_shapes)(arch)


def _llama_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    d, h, narrow = arch.width, arch.feed_forward, arch.kv_heads * arch.head_size
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (arch.vocabulary, d)}
    for layer in range(arch.layers):
        block = f"model.layers.{layer}"
        norms = ["input_layernorm", "post_attention_layernorm"]
        if arch.family == "gemma":
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
            for name in ("q_norm", "k_norm"):
                found[f"{block}.self_attn.{name}.weight"] = (arch.head_size,)
        found |= {f"{block}.{name}.weight": (d,) for name in norms}
        for name, rows in (("q", d), ("k", narrow), ("v", narrow)):
            found[f"{block}.self_attn.{name}_proj.weight"] = (rows, d)
            if arch.family == "qwen":
                found[f"{block}.self_attn.{name}_proj.bias"] = (rows,)
        found[f"{block}.self_attn.o_proj.weight"] = (d, d)
        if arch.experts:
            found[f"{block}.block_sparse_moe.gate.weight"] = (arch.experts, d)
            for expert in range(arch.experts):
                start = f"{block}.block_sparse_moe.experts.{expert}"
                found |= {f"{start}.w1.weight": (h, d), f"{start}.w2.weight": (d, h)}
                found[f"{start}.w3.weight"] = (h, d)
        else:
            found |= {f"{block}.mlp.{name}_proj.weight": (h, d) for name in ("gate", "up")}
            found[f"{block}.mlp.down_proj.weight"] = (d, h)
    found["model.norm.weight"] = (d,)
    if not arch.tied:
        found["lm_head.weight"] = (arch.vocabulary, d)
    return found


def _biased(names: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Give each module its weight and its bias."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in names.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def _gpt2_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    d, h = arch.width, arch.feed_forward
    found: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (arch.vocabulary, d),
        "transformer.wpe.weight": (arch.positions, d),
    }
    for layer in range(arch.layers):
        block = f"transformer.h.{layer}"
        modules = {
            "ln_1": (d,), "attn.c_attn": (3 * d, d), "attn.c_proj": (d, d),
            "ln_2": (d,), "mlp.c_fc": (h, d), "mlp.c_proj": (d, h),
        }  # fmt: skip
        found |= _biased({f"{block}.{name}": shape for name, shape in modules.items()})
    return found | _biased({"transformer.ln_f": (d,)})


def _bert_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    d, h = arch.width, arch.feed_forward
    tables = {"word": arch.vocabulary, "position": arch.positions, "token_type": 2}
    found: dict[str, tuple[int, ...]] = {
        f"bert.embeddings.{name}_embeddings.weight": (rows, d) for name, rows in tables.items()
    }
    found |= _biased({"bert.embeddings.LayerNorm": (d,)})
    for layer in range(arch.layers):
        block = f"bert.encoder.layer.{layer}"
        modules: dict[str, tuple[int, ...]] = {
            f"attention.self.{name}": (d, d) for name in ("query", "key", "value")
        }
        modules |= {
            "attention.output.dense": (d, d), "attention.output.LayerNorm": (d,),
            "intermediate.dense": (h, d), "output.dense": (d, h), "output.LayerNorm": (d,),
        }  # fmt: skip
        found |= _biased({f"{block}.{name}": shape for name, shape in modules.items()})
    head = {"cls.predictions.transform.dense": (d, d), "cls.predictions.transform.LayerNorm": (d,)}
    return found | _biased(head) | {"cls.predictions.bias": (arch.vocabulary,)}


@dataclass(slots=True)
class Run:
    """One pass through a network: its weights, and the residual stream where it is asked for."""

    arch: Architecture
    weights: Tensors
    prefix: float = 1.0
    """Share of the neurons that take part, the first ones: nested training."""
    narrow: float = 1.0
    """Share of the hidden dimensions that the head reads, the first ones: nested training."""
    stream: list[torch.Tensor] | None = None

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens x vocabulary for a batch of rows of tokens."""
        by_family = {"gpt2": self._gpt2, "bert": self._bert}
        return by_family.get(self.arch.family, self._llama)(tokens)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _layer_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        gain, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, gain.shape, gain, shift)

    def _rms_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        gain = self.weights[f"{name}.weight"]
        if self.arch.family == "gemma":
            gain = 1 + gain
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain

    def _head(self, x: torch.Tensor, table: str) -> torch.Tensor:
        matrix = self.weights[table]
        if self.narrow < 1:
            part = int(self.narrow * matrix.shape[1])
            x, matrix = x[..., :part], matrix[:, :part]
        return F.linear(x, matrix)

    def _seen(self, x: torch.Tensor) -> None:
        if self.stream is not None:
            self.stream.append(x.detach())

    def _split(self, x: torch.Tensor, size: int) -> torch.Tensor:
        batch, length, _ = x.shape
        return x.view(batch, length, -1, size).transpose(1, 2)

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool
    ) -> torch.Tensor:
        repeat = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return mixed.transpose(1, 2).flatten(2)

    def _llama(self, tokens: torch.Tensor) -> torch.Tensor:
        arch = self.arch
        x = F.embedding(tokens, self.weights["model.embed_tokens.weight"])
        if arch.family == "gemma":
            x = x * arch.width**0.5
        if arch.family == "sinusoidal":
            x = x + 0.2 * sinusoids(tokens.shape[1], arch.width)
        for layer in range(arch.layers):
            x = self._llama_block(x, f"model.layers.{layer}")
            self._seen(x)
        table = "model.embed_tokens.weight" if arch.tied else "lm_head.weight"
        if "lm_head.weight" in self.weights:
            table = "lm_head.weight"
        return self._head(self._rms_norm(x, "model.norm"), table)

    def _llama_block(self, x: torch.Tensor, block: str) -> torch.Tensor:
        gemma, size = self.arch.family == "gemma", self.arch.head_size
        y = self._rms_norm(x, f"{block}.input_layernorm")
        q, k, v = (
            self._split(self._linear(y, f"{block}.self_attn.{name}_proj"), size) for name in "qkv"
        )
        if gemma:
            q = self._rms_norm(q, f"{block}.self_attn.q_norm")
            k = self._rms_norm(k, f"{block}.self_attn.k_norm")
        if self.arch.family != "sinusoidal":
            q, k = _rotary(q), _rotary(k)
        y = self._linear(self._attend(q, k, v, causal=True), f"{block}.self_attn.o_proj")
        if gemma:
            x = x + self._rms_norm(y, f"{block}.post_attention_layernorm")
            y = self._gated(self._rms_norm(x, f"{block}.pre_feedforward_layernorm"), f"{block}.mlp")
            return x + self._rms_norm(y, f"{block}.post_feedforward_layernorm")
        x = x + y
        y = self._rms_norm(x, f"{block}.post_attention_layernorm")
        if self.arch.experts:
            return x + self._mixture(y, f"{block}.block_sparse_moe")
        return x + self._gated(y, f"{block}.mlp")

    def _gated(self, x: torch.Tensor, name: str) -> torch.Tensor:
        act = F.gelu if self.arch.family == "gemma" else F.silu
        up, gate, down = (self.weights[f"{name}.{m}_proj.weight"] for m in ("up", "gate", "down"))
        if self.prefix < 1:
            part = int(self.prefix * len(up))
            up, gate, down = up[:part], gate[:part], down[:, :part]
        return F.linear(act(F.linear(x, gate)) * F.linear(x, up), down)

    def _mixture(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Mix the two likeliest experts; all are computed, as the networks are tiny."""
        scores = self._linear(x, f"{name}.gate")
        best = scores.topk(2, -1)
        share = torch.zeros_like(scores).scatter(-1, best.indices, best.values.softmax(-1))
        outputs = []
        for expert in range(self.arch.experts):
            start = f"{name}.experts.{expert}"
            inner = F.silu(self._linear(x, f"{start}.w1")) * self._linear(x, f"{start}.w3")
            outputs.append(self._linear(inner, f"{start}.w2"))
        return (torch.stack(outputs, -1) * share[..., None, :]).sum(-1)

    def _gpt2(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1])
        x = F.embedding(tokens, self.weights["transformer.wte.weight"])
        x = x + self.weights["transformer.wpe.weight"][places]
        for layer in range(self.arch.layers):
            block = f"transformer.h.{layer}"
            y = self._linear(self._layer_norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
            q, k, v = (self._split(part, self.arch.head_size) for part in y.chunk(3, -1))
            x = x + self._linear(self._attend(q, k, v, causal=True), f"{block}.attn.c_proj")
            y = F.gelu(self._linear(self._layer_norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"))
            x = x + self._linear(y, f"{block}.mlp.c_proj")
            self._seen(x)
        return self._head(self._layer_norm(x, "transformer.ln_f"), "transformer.wte.weight")

    def _bert(self, tokens: torch.Tensor) -> torch.Tensor:
        table = "bert.embeddings.word_embeddings.weight"
        x = F.embedding(tokens, self.weights[table])
        places = self.weights["bert.embeddings.position_embeddings.weight"][: tokens.shape[1]]
        x = x + places + self.weights["bert.embeddings.token_type_embeddings.weight"][0]
        x = self._layer_norm(x, "bert.embeddings.LayerNorm")
        for layer in range(self.arch.layers):
            block = f"bert.encoder.layer.{layer}"
            q, k, v = (
                self._split(self._linear(x, f"{block}.attention.self.{name}"), self.arch.head_size)
                for name in ("query", "key", "value")
            )
            y = self._linear(self._attend(q, k, v, causal=False), f"{block}.attention.output.dense")
            x = self._layer_norm(x + y, f"{block}.attention.output.LayerNorm")
            y = self._linear(
                F.gelu(self._linear(x, f"{block}.intermediate.dense")), f"{block}.output.dense"
            )
            x = self._layer_norm(x + y, f"{block}.output.LayerNorm")
            self._seen(x)
        x = F.gelu(self._linear(x, "cls.predictions.transform.dense"))
        x = self._layer_norm(x, "cls.predictions.transform.LayerNorm")
        return self._head(x, table) + self.weights["cls.predictions.bias"]


def _rotary(x: torch.Tensor) -> torch.Tensor:
    """Turn each head's dimensions `j` and `j + size / 2` by the position (Su et al. 2021)."""
    length, size = x.shape[-2:]
    rates = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    angle = torch.arange(length)[:, None] * rates
    cosine, sine = angle.cos(), angle.sin()
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Return the fixed positions of Vaswani et al. 2017: length x width."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(length)[:, None] * rates
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)
