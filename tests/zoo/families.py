"""The other architectures of a zoo: a shorter list of edits for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.lineage.derivations import disguises, merges, numbers, removals, shapes
from tests.lineage.derivations.truth import Derived, Step
from tests.zoo.workshop import ATTENTION, GATED, Recipe, Root, Workshop

_MLP = ("mlp.up", "mlp.down")
_EXPERTS = ("experts.gate", "experts.up", "experts.down")
ROLES = {
    "gpt2": ("attention.qkv", "attention.o", *_MLP),
    "bert": (*ATTENTION, *_MLP),
    "mixtral": (*ATTENTION, *_EXPERTS),
}
"""Roles that an adapter of everything changes."""


def family(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield what every architecture can bear."""
    draw, seed, arch = shop.draw, shop.seed, root.arch
    first = shop.train(arch, "prose", length=0.35, rate=1e-3)
    second = shop.train(arch, "mail", length=0.35, rate=1e-3)
    shop.kept |= {
        f"{root.name}_{name}": step(root.arrays).arrays
        for name, step in (("ft", first), ("ft2", second))
    }
    pair = {f"{root.name}_{name}": shop.kept[f"{root.name}_{name}"] for name in ("ft", "ft2")}
    share = draw.number(0.6, 0.3, 0.7)
    merge: Step = partial(_linear, parents=pair, share=share)
    full: Step = partial(removals.abliterate, seed=seed)
    kept = draw.layers(tuple(range(arch.layers - 1)), arch.layers)
    depth: Step = partial(shapes.relayered, order=kept)
    width = draw.whole(arch.feed_forward // 2, arch.feed_forward // 3, arch.feed_forward * 9 // 10)
    rank = draw.whole(8, 2, 12)
    adapter = shop.adapter(arch, rank, ROLES.get(arch.family, GATED))
    yield Recipe("copy_shards", (), "shards")
    yield Recipe("bf16", (), "safetensors:BF16")
    yield Recipe("f16_torch", (), "torch:F16")
    yield Recipe("int8_row", (numbers.fake_int8,))
    yield Recipe("ft", (first,), pool=False)
    yield Recipe("ft2", (second,), pool=False)
    yield Recipe("lora", (adapter,))
    yield Recipe("merge_lin", (merge,))
    yield Recipe("depth", (depth,))
    yield Recipe("width", (partial(shapes.prune_width, keep=width),))
    yield Recipe("sparse", (partial(numbers.sparsify, share=draw.number(0.5, 0.35, 0.75)),))
    yield Recipe("neurons", (partial(disguises.permute_neurons, seed=seed),))
    yield Recipe("hidden_perm", (partial(disguises.permute_hidden, seed=seed),))
    yield Recipe("ablit", (full,))
    yield Recipe("ablit_part", (partial(removals.abliterate, seed=seed, share=0.5),))
    yield Recipe("ablit_layers", (partial(removals.abliterate_by_layer, seed=seed),))
    healing = shop.train(arch, "loops", length=0.1, rate=5e-4)
    for name, steps, container in (
        ("lora_bf16", (adapter,), "safetensors:BF16"),
        ("ft_int8", (first, numbers.fake_int8), "safetensors"),
        ("merge_lin_f16", (merge,), "safetensors:F16"),
        ("ablit_ft", (full, healing), "safetensors"),
        ("ft_ablit", (first, full), "safetensors"),
        ("ft_ablit_bf16", (first, full), "safetensors:BF16"),
        ("depth_ft", (depth, healing), "safetensors"),
    ):
        yield Recipe(name, steps, container, "composition", pool=not name.startswith("ft_int8"))


def packed(shop: Workshop, root: Root, kinds: tuple[str, ...], *, plain: bool) -> Iterator[Recipe]:
    """Yield quantizations by llama.cpp's types of a llama and of what was made from it.

    Args:
        shop: Where they are made.
        root: The llama.
        kinds: Types.
        plain: Whether to yield what was made from it as it was before, too.
    """
    first = shop.train(root.arch, "prose", length=0.35, rate=1e-3)
    adapter = shop.adapter(root.arch, shop.draw.whole(8, 4, 16), GATED)
    full: Step = partial(removals.abliterate, seed=shop.seed)
    if plain:
        yield Recipe("copy_torch", (), "torch")
        yield Recipe("ft", (first,))
        yield Recipe("lora", (adapter,))
        yield Recipe("ablit", (full,))
    for kind in kinds:
        name, container = kind.lower(), f"gguf:{kind}"
        yield Recipe(name, (), container)
        yield Recipe(f"ft_{name}", (first,), container, "composition")
        yield Recipe(f"lora_{name}", (adapter,), container, "composition")
        yield Recipe(f"ablit_{name}", (full,), container, "composition")
        yield Recipe(f"ft_ablit_{name}", (first, full), container, "composition")


def _linear(_: object, parents: merges.Parents, share: float) -> Derived:
    first, second = parents
    return merges.linear(parents, {first: share, second: 1 - share})
