"""Invented comparisons: one for each thing that a report has to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from steelyard.lineage.relation import (
    Change,
    Comparison,
    Component,
    Edit,
    EditKind,
    Encoding,
    EncodingKind,
    Related,
    Relatedness,
)
from steelyard.reports.pairs.words import PairReport

BASE = "hf://acme/harbor-7b"
ASSUMPTIONS = (
    "Independent models start from random numbers of their own, and training favors no neuron.",
)
MATRICES = ("attention.q", "attention.k", "attention.v", "attention.o", "mlp.gate", "mlp.up",
            "mlp.down")  # fmt: skip
NORMS = ("norm.attention", "norm.mlp")
BF16 = Encoding(EncodingKind.SAME, "BF16", "BF16", ("safetensors", "safetensors"))


def embedding(
    *,
    agreeing: int = 512,
    items: int = 512,
    log10_p: float = -826.4,
    base: str | None = "embedding",
    change: float | None = 0.004,
) -> Component:
    return Component("embedding", base, log10_p, agreeing, items, change=change)


def layers(
    bases: Iterable[int | None],
    *,
    stack: str = "",
    agreeing: Callable[[int], int] = lambda _: 64,
    change: float | None = 0.012,
) -> tuple[Component, ...]:
    """Make a component for each layer; `bases` gives the base's number of each."""
    prefix = f"{stack}." if stack else ""
    return tuple(
        Component(
            f"{prefix}layers.{n}",
            None if base is None else f"{prefix}layers.{base}",
            -0.2 if base is None else -71.3 - (n * 7) % 18,
            3 if base is None else agreeing(n),
            64,
            change=None if base is None else change,
        )
        for n, base in enumerate(bases)
    )


def changes(
    count: int,
    size: Callable[[str, int], float],
    *,
    stack: str = "",
    roles: Iterable[str] = (*MATRICES, *NORMS),
    single: float | None = 0.004,
) -> tuple[Change, ...]:
    """Make the changes of every role in every layer."""
    prefix = f"{stack}." if stack else ""
    roles = tuple(roles)
    made = [] if single is None else [Change("embedding", "embedding", single)]
    made += [
        Change(f"{prefix}layers.{n}", role, size(role, n)) for n in range(count) for role in roles
    ]
    return tuple(made)


def related(*components: Component, log10_p: float = -826.4, **given: object) -> Relatedness:
    verdict = Relatedness(Related.RELATED, log10_p, True, components, ASSUMPTIONS)
    return replace(verdict, **given)  # type: ignore[arg-type]


def bump(role: str, layer: int) -> float:
    """Change most in the middle layers, as fine-tunes do; norms stay."""
    if role.startswith("norm"):
        return 0.0
    return 0.0004 + 0.035 * math.exp(-(((layer - 14) / 6) ** 2)) * (1.5 if "mlp" in role else 0.6)


def identical() -> Comparison:
    return Comparison(
        BASE,
        "models/internal-assistant",
        related(embedding(change=0.0), *layers(range(32), change=0.0)),
        BF16,
        (Edit(EditKind.IDENTICAL, "all sampled weights are equal"),),
        changes(32, lambda role, n: 0.0, single=0.0),
        True, 2_310_144, 35,
    )  # fmt: skip


def finetuned_q4() -> Comparison:
    return Comparison(
        BASE,
        "models/harbor-7b-support.Q4_K_M.gguf",
        related(embedding(), *layers(range(32), agreeing=lambda n: 60 + n % 5)),
        Encoding(EncodingKind.QUANTIZED, "BF16", "Q4_K + Q6_K + F32", ("safetensors", "gguf"),
                 noise=0.0712),
        (Edit(EditKind.FINETUNE, "fine-tuned: 1.4 % relative change",
              {"change": 0.0141, "nearest": "acme/harbor-7b-instruct"}),),
        changes(32, lambda role, n: math.hypot(bump(role, n), 0.0712 * ("norm" not in role)),
                single=0.071),
        True, 61_203_456, 322,
    )  # fmt: skip


def abliterated_q8() -> Comparison:
    strength = {
        f"model.layers.{n}.{tensor}.weight": 0.31 + 0.69 * math.exp(-(((n - 15) / 8) ** 2))
        for n in range(32)
        for tensor in ("self_attn.o_proj", "mlp.down_proj")
    }

    def removed(role: str, n: int) -> float:
        if role not in ("attention.o", "mlp.down"):
            return 0.0
        return 0.02 * strength[f"model.layers.{n}.mlp.down_proj.weight"]

    return Comparison(
        BASE,
        "hf://someone/harbor-7b-uncensored-GGUF@main",
        related(embedding(change=0.0), *layers(range(32))),
        Encoding(EncodingKind.QUANTIZED, "BF16", "Q8_0 + F32", ("safetensors", "gguf"),
                 noise=0.0042),
        (Edit(EditKind.ABLITERATED, "a direction was removed from 64 matrices",
              {"strength": strength, "shared": True, "explained": 0.993, "with_base": True},
              "that these carried refusals is inferred from how such models are made"),),
        changes(32, removed, single=0.0),
        True, 48_811_008, 210,
    )  # fmt: skip


def lora() -> Comparison:
    roles = ("attention.q", "attention.v")
    return Comparison(
        BASE,
        "models/harbor-7b-legal-merged",
        related(embedding(change=0.0), *layers(range(32))),
        BF16,
        (Edit(EditKind.LORA, "an update of rank 16 or more",
              {"rank": 16, "roles": roles, "change": 0.0063}),),
        changes(32, lambda role, n: 0.0063 if role in roles else 0.0, single=0.0),
        True, 21_002_240, 180,
    )  # fmt: skip


def merged() -> Comparison:
    return Comparison(
        BASE,
        "models/frankenharbor",
        related(embedding(), *layers(range(32))),
        Encoding(EncodingKind.CAST, "F32", "BF16", ("safetensors", "safetensors"), noise=0.0017),
        (Edit(EditKind.MERGE, "a merge of three",
              {"parents": ("hf://acme/harbor-7b-instruct", "hf://other/harbor-code", "./medical"),
               "coefficients": (0.5, 0.3, 0.2), "method": "linear"}),),
        changes(32, lambda role, n: 0.0 if "norm" in role else 0.06 + n / 400, single=0.05),
        True, 60_511_232, 301,
        ("./poetry was tried and has no part in it",),
    )  # fmt: skip


def depth_pruned() -> Comparison:
    kept = (*range(10), *range(22, 32))
    return Comparison(
        BASE,
        "models/harbor-5b",
        related(embedding(change=0.0), *layers(kept, change=0.0), log10_p=-342.7),
        BF16,
        (Edit(EditKind.DEPTH_PRUNED, "12 of 32 layers were dropped (10, 11, 12, 13, 14, …)",
              {"layer_map": kept, "of": 32}),),
        changes(20, lambda role, n: 0.0, single=0.0),
        False, 5_121_024, 60,
    )  # fmt: skip


def shares_component() -> Comparison:
    return Comparison(
        "models/all-MiniLM-L6-v2",
        "models/paraphrase-MiniLM-L3-v2",
        Relatedness(
            Related.SHARES_COMPONENT,
            -826.4,
            True,
            (embedding(agreeing=384, items=384, change=0.0138), *layers((None,) * 3)),
            ASSUMPTIONS,
            ("norms of both are alike without being equal, which is no evidence",),
        ),
        Encoding(EncodingKind.CAST, "F32", "F16", ("safetensors", "onnx")),
        (),
        (Change("embedding", "embedding", 0.0138),),
        False, 1_312_768, 14,
    )  # fmt: skip


def unrelated() -> Comparison:
    return Comparison(
        "hf://meta/llama-7b",
        "hf://openlm/open_llama_7b",
        Relatedness(
            Related.NOT_FOUND,
            -0.31,
            True,
            (embedding(agreeing=1, log10_p=0.0, base=None, change=None), *layers((None,) * 32)),
            ASSUMPTIONS,
        ),
        Encoding(EncodingKind.CANNOT_TELL, "F16", "F16", ("pytorch", "safetensors"),
                 note="no weights are shared"),
        (), (), True, 1_204_224, 9,
    )  # fmt: skip


def cannot_tell() -> Comparison:
    return Comparison(
        BASE,
        "models/adapter-only",
        Relatedness(
            Related.CANNOT_TELL, 0.0, True, (), (),
            ("the child has no matrix of 8 rows or more",),
        ),
        Encoding(EncodingKind.CANNOT_TELL, "BF16", "F32", ("safetensors", "safetensors")),
        bytes_read=4_096, requests=2,
    )  # fmt: skip


def matrices(matched: int, count: int) -> tuple[Component, ...]:
    """Make components of matrices whose names say nothing, some of which match."""
    names = [f"tensor:conv2d_{n}.w_0" for n in range(count)]
    return tuple(
        Component(name, name, -12.5 - 4 * n, 16 + 8 * n, 16 + 8 * n, change=0.0)
        if n < matched
        else Component(name, None, 0.0, 2, 64)
        for n, name in enumerate(names)
    )


def re_export() -> Comparison:
    """A network without layers, exported anew: every matrix is found by what it holds."""
    return Comparison(
        "rapidocr/det.onnx",
        "ocr-models/det.onnx",
        related(*matrices(6, 6), log10_p=-86.2),
        Encoding(EncodingKind.SAME, "F32", "F32", ("onnx", "onnx")),
        (Edit(EditKind.IDENTICAL, "every number that was read is equal", {"equal": True}),),
        tuple(Change(part.name, part.name, 0.0) for part in matrices(6, 6)),
        None, 5_740_000, 116,
    )  # fmt: skip


def one_matrix() -> Comparison:
    """Two networks that share one fixed matrix and nothing that was trained."""
    return Comparison(
        "vad/full.onnx",
        "vad/half.onnx",
        Relatedness(Related.SHARES_COMPONENT, -12.1, True, matrices(1, 7), ASSUMPTIONS),
        Encoding(EncodingKind.SAME, "F32", "F32", ("onnx", "onnx")),
        (Edit(EditKind.IDENTICAL, "equal, up to rounding", {"equal": False}),),
        (Change("tensor:conv2d_0.w_0", "tensor:conv2d_0.w_0", 0.0003),),
        None, 1_120_000, 19,
    )  # fmt: skip


def large() -> Comparison:
    """Eighty layers, one of them replaced and two exchanged."""
    bases: list[int | None] = list(range(80))
    bases[41], bases[42], bases[60] = 42, 41, None
    return Comparison(
        "hf://acme/harbor-70b",
        "hf://acme/harbor-70b-math",
        related(embedding(), *layers(bases), log10_p=-6812.9),
        BF16,
        (Edit(EditKind.LAYERS_REPEATED, "layers were moved", {"layer_map": tuple(bases)}),
         Edit(EditKind.FINETUNE, "fine-tuned", {"change": 0.11}),),
        changes(80, lambda role, n: bump(role, n // 3) * (1 + n / 8), single=0.02),
        True, 63_900_000, 1_204,
    )  # fmt: skip


def vision() -> Comparison:
    """A vision tower taken over as it was, under a text model of another origin."""
    tower = layers(range(24), stack="vision", change=0.0)
    return Comparison(
        "hf://acme/eye-1b",
        "hf://other/see-3b",
        Relatedness(
            Related.SHARES_COMPONENT,
            -1702.2,
            True,
            (embedding(agreeing=2, log10_p=0.0, base=None, change=None), *layers((None,) * 28),
             *tower, Component("projector", "projector", -64.0, 512, 512, change=0.21)),
            ASSUMPTIONS,
        ),
        BF16,
        (Edit(EditKind.FINETUNE, "fine-tuned", {"change": 0.0021}),),
        (*changes(24, lambda role, n: 0.002 if n > 19 and "mlp" in role else 0.0, stack="vision",
                  single=None), Change("projector", "linear.1", 0.21)),
        False, 9_800_000, 120,
    )  # fmt: skip


MARKUP = "<script>alert(1)</script>\"'&[a](http://x)|`*_"
CONTROL = "\x1b[31m\x9b2J\r\n\t\x00\u202e\u200b\x07[bold red]{{ 7*7 }}\udce4"
HOSTILE = f"{MARKUP}{CONTROL}"


def hostile() -> Comparison:
    """Every text a trap, every number none."""
    name = f"models/{HOSTILE}"
    nothing = float("nan")
    part = Component(HOSTILE, HOSTILE, nothing, 3, 4, exact=False, change=float("inf"))
    layer = Component(f"{HOSTILE}.layers.999999999", f"{HOSTILE}.layers.0", -math.inf, 1, 1)
    far = Component("layers.99999999999999999999", "layers.x", -5.0, 1, 1)
    texts: Mapping[str, tuple[str, ...]] = {"assumptions": (HOSTILE,), "notes": (HOSTILE,)}
    return Comparison(
        f"base/{HOSTILE}",
        name,
        Relatedness(Related.RELATED, -math.inf, False, (part, layer, far), **texts),
        Encoding(EncodingKind.DEQUANTIZED, HOSTILE, HOSTILE, (HOSTILE, HOSTILE), nothing, HOSTILE),
        (
            Edit(EditKind.FINETUNE, HOSTILE, {"change": nothing, "nearest": HOSTILE}, HOSTILE),
            Edit(EditKind.LORA, HOSTILE, {"rank": nothing, "roles": (HOSTILE,), "change": None}),
            Edit(EditKind.MERGE, HOSTILE, {"parents": (HOSTILE, "b"), "coefficients": (nothing,),
                                           "method": HOSTILE}),
            Edit(EditKind.ABLITERATED, HOSTILE, {"strength": {HOSTILE: 1.0, "b": nothing}}),
            Edit(EditKind.SPARSIFIED, HOSTILE, {"zeros": math.inf, "pattern": HOSTILE}),
            Edit(EditKind.DISGUISED, HOSTILE, {"means": (HOSTILE,)}, HOSTILE),
        ),
        (
            Change(HOSTILE, HOSTILE, math.inf),
            Change(f"{HOSTILE}.layers.999999999", HOSTILE, nothing),
            Change(f"{HOSTILE}.layers.999999999", "mlp.up", math.inf),
            Change("layers.0", HOSTILE, 0.5),
        ),
        None, 10**30, 1, (HOSTILE,),
    )  # fmt: skip


SAMPLES: Mapping[str, Callable[[], Comparison]] = {
    "identical": identical,
    "finetuned-q4": finetuned_q4,
    "abliterated-q8": abliterated_q8,
    "lora": lora,
    "merged": merged,
    "depth-pruned": depth_pruned,
    "shares-component": shares_component,
    "unrelated": unrelated,
    "cannot-tell": cannot_tell,
    "re-export": re_export,
    "one-matrix": one_matrix,
    "large": large,
    "vision": vision,
    "hostile": hostile,
}


def report(name: str, *, only_ascii: bool = False) -> PairReport:
    """Return a sample as it is given to renderers."""
    return PairReport(SAMPLES[name](), "0.0.0", only_ascii=only_ascii)
