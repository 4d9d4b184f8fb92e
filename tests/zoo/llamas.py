"""What is done to the main model of a zoo: every kind of edit, and compositions of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from steelyard.lineage.relation import EditKind
from tests.lineage.derivations import disguises, merges, numbers, removals, shapes
from tests.lineage.derivations.truth import Arrays, Derived, Step, Truth
from tests.zoo.workshop import ATTENTION, GATED, PRETRAINING, Recipe, Root, Workshop

QV = ("attention.q", "attention.v")
PLAIN_TYPES = ("Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
MAIN = "llama"
"""Name of the main model, whose fine-tunes go into merges."""


def encodings() -> Iterator[Recipe]:
    """Yield copies, casts and quantizations."""
    yield Recipe("copy", ())
    yield Recipe("copy_shards", (), "shards")
    yield Recipe("copy_torch", (), "torch")
    yield Recipe("gguf_f32", (), "gguf:F32")
    for container in ("safetensors", "torch", "gguf"):
        for dtype in ("BF16", "F16"):
            yield Recipe(f"{container}_{dtype.lower()}", (), f"{container}:{dtype}")
    yield Recipe("bf16_in_f32", (partial(numbers.cast, dtype="BF16"),))
    yield Recipe("int8_row", (numbers.fake_int8,))
    yield Recipe("int4_g32", (numbers.fake_int4,))
    for kind in PLAIN_TYPES:
        yield Recipe(kind.lower(), (), f"gguf:{kind}")


def finetunes(shop: Workshop, root: Root) -> dict[str, Step]:
    """Return the fine-tunes by name."""
    train = partial(shop.train, root.arch)
    return {
        "ft_light": train("prose", length=0.1, rate=2e-4),
        "ft_med": train("prose", length=0.35, rate=1e-3),
        "ft_med2": train("mail", length=0.35, rate=1e-3),
        "ft_med3": train("loops", length=0.35, rate=1e-3),
        "ft_heavy": train("prose", length=1.0, rate=2e-3),
        "ft_extreme": train("prose", length=2.0, rate=6e-3),
        "ft_cpt": train(PRETRAINING, length=1.0, rate=3e-3, order=31),
        "ft_frozen": train("prose", length=0.35, rate=1e-3, frozen=("embedding", "output_head")),
    }


def trainings(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield fine-tunes and adapters."""
    for name, step in finetunes(shop, root).items():
        shop.kept[f"{root.name}_{name}"] = step(root.arrays).arrays
        yield Recipe(name, (step,), pool=False)
    yield Recipe("ft_med_bf16", (fixed(shop, "ft_med"),), "safetensors:BF16", pool=False)
    low, high = shop.draw.whole(4, 1, 6), _of_all(shop, root)
    yield Recipe(f"lora_r{low}_qv", (shop.adapter(root.arch, low, QV),))
    yield Recipe(f"lora_r{high}_all", (shop.adapter(root.arch, high, GATED),))
    yield Recipe(f"lora_r{high}_bf16", (shop.adapter(root.arch, high, GATED),), "safetensors:BF16")


def _of_all(shop: Workshop, root: Root) -> int:
    """Draw the rank of an adapter of all matrices: low beside the narrowest of them."""
    narrowest = root.arch.kv_heads * root.arch.head_size
    return min(shop.draw.whole(16, 7, 24), narrowest * 7 // 16)


def fixed(shop: Workshop, name: str) -> Step:
    """Return a step that gives a fine-tune that was made before, whatever it is given."""
    change = Truth((EditKind.FINETUNE,))
    return lambda arrays: Derived(dict(shop.kept[f"{MAIN}_{name}"]), change)


def merging(shop: Workshop, root: Root, other: Root) -> dict[str, Step]:
    """Return merges by name; `other` is unrelated."""
    draw, kept = shop.draw, shop.kept
    three = {name: kept[name] for name in (f"{MAIN}_ft_med{number}" for number in ("", 2, 3))}
    two = dict(list(three.items())[:2])
    half, uneven = draw.number(0.5, 0.3, 0.7), draw.number(0.73, 0.2, 0.8)
    first, second = draw.number(0.5, 0.3, 0.5), draw.number(0.3, 0.15, 0.35)
    tasks = draw.number(0.6, 0.3, 0.9), draw.number(0.5, 0.3, 0.9)
    drop = draw.number(0.5, 0.3, 0.8)
    density, scale = draw.number(0.5, 0.3, 0.8), draw.number(1.0, 0.7, 1.3)
    base = root.arrays

    def weights(*values: float) -> dict[str, float]:
        return dict(zip(three, values, strict=False))

    pair = {root.name: root.arrays, other.name: other.arrays}
    return {
        "lin": lambda _: merges.linear(two, weights(half, 1 - half)),
        "lin_uneven": lambda _: merges.linear(two, weights(uneven, 1 - uneven)),
        "lin3": lambda _: merges.linear(three, weights(first, second, 1 - first - second)),
        "task": lambda _: merges.task_arithmetic(base, two, weights(*tasks)),
        "slerp": partial(_slerp, parents=two, t=draw.number(0.4, 0.2, 0.8)),
        "ties": lambda _: merges.ties(base, two, density=density, scale=scale),
        "dare": lambda _: merges.dare(base, two, weights(0.5, 0.5), drop=drop, seed=shop.seed),
        "passthrough": lambda _: merges.passthrough(two, _picks(root.arch.layers)),
        "unrelated": lambda _: merges.linear(pair, {root.name: half, other.name: 1 - half}),
    }


def _slerp(_: Arrays, parents: merges.Parents, t: float) -> Derived:
    return merges.slerp(parents, t)


def _picks(layers: int) -> list[tuple[str, int]]:
    """Stack two thirds of one model and two thirds of another."""
    part = max(1, 2 * layers // 3)
    first = [(f"{MAIN}_ft_med", layer) for layer in range(part)]
    return first + [(f"{MAIN}_ft_med2", layer) for layer in range(layers - part, layers)]


def merged(shop: Workshop, root: Root, other: Root) -> Iterator[Recipe]:
    """Yield merges."""
    for name, step in merging(shop, root, other).items():
        lines = (other.name,) if name == "unrelated" else ()
        yield Recipe(f"merge_{name}", (step,), lines=lines)
    lin = merging(shop, root, other)["lin_uneven"]
    yield Recipe("merge_lin_bf16", (lin,), "safetensors:BF16")
    yield Recipe("merge_lin_q8_0", (lin,), "gguf:Q8_0", "composition")
    yield Recipe("merge_lin_q4_0", (lin,), "gguf:Q4_0", "composition")
    task = merging(shop, root, other)["task"]
    yield Recipe("merge_task_q8_0", (task,), "gguf:Q8_0", "composition")
    ablit = partial(removals.abliterate, seed=shop.seed)
    yield Recipe("merge_lin_ablit", (lin, ablit), group="composition")
    yield Recipe("merge_lin_ablit_q8_0", (lin, ablit), "gguf:Q8_0", "composition")
    yield Recipe("merge_lin_ft", (lin, shop.train(root.arch, "markup", length=0.1, rate=2e-4)),
                 group="composition")  # fmt: skip


def structures(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield models with fewer or more layers, neurons, tokens, numbers."""
    draw, arch = shop.draw, root.arch
    train = partial(shop.train, arch, "prose", length=0.35, rate=1e-3)
    keep = draw.layers(tuple(range(arch.layers - 1)), arch.layers)
    width = draw.whole(arch.feed_forward // 2, arch.feed_forward // 3, arch.feed_forward * 9 // 10)
    pruned: Step = partial(shapes.relayered, order=keep)
    narrow: Step = partial(shapes.prune_width, keep=width)
    yield Recipe("depth", (pruned,))
    yield Recipe("depth_ft", (pruned, train()), group="composition")
    yield Recipe("second_ft", (shapes.every_second, train()), group="composition")
    repeated = (*range(arch.layers - 1), *range(1, arch.layers))
    yield Recipe("upscaled", (partial(shapes.relayered, order=repeated),))
    yield Recipe("width", (narrow,))
    yield Recipe("width_random", (partial(shapes.prune_width, keep=width, seed=shop.seed),))
    yield Recipe("width_ft", (narrow, train()), group="composition")
    yield Recipe("depth_width_ft", (pruned, narrow, train()), group="composition")
    share = draw.number(0.5, 0.35, 0.75)
    yield Recipe("sparse", (partial(numbers.sparsify, share=share),))
    yield Recipe("sparse_2_4", (partial(numbers.sparsify, of_four=True),))
    yield Recipe("sparse_bf16", (partial(numbers.sparsify, share=share),), "safetensors:BF16")
    for kind in ("Q8_0", "Q4_0"):
        yield Recipe(f"depth_{kind.lower()}", (pruned,), f"gguf:{kind}", "composition")
    whole = 32 * draw.whole(
        arch.feed_forward // 64, arch.feed_forward // 96 + 1, arch.feed_forward // 32 - 1
    )
    in_blocks: Step = partial(shapes.prune_width, keep=whole)
    yield Recipe("width_q8_0", (in_blocks,), "gguf:Q8_0", "composition")
    yield from _vocabularies(shop, root)


def _vocabularies(shop: Workshop, root: Root) -> Iterator[Recipe]:
    rows, drop = shop.draw.whole(32, 8, 96), shop.draw.whole(100, 40, 200)
    size = shapes.vocabulary_size(root.arrays)
    extended: Step = partial(shapes.extend_vocabulary, rows=rows, seed=shop.seed)
    train = shop.train(root.arch, "prose", length=0.35, rate=1e-3)
    yield Recipe("vocab_ext", (extended,), added=rows)
    yield Recipe("vocab_ext_ft", (extended, train), group="composition", added=rows)
    trimmed: Step = partial(shapes.trim_vocabulary, keep=size - drop)
    yield Recipe("vocab_trim", (trimmed,), added=-drop)
    order = np.random.default_rng((shop.seed, 7)).permutation(size).tolist()
    permuted: Step = partial(shapes.permute_vocabulary, seed=shop.seed)
    yield Recipe("vocab_perm", (permuted,), order=tuple(order))
    yield Recipe("vocab_perm_blind", (permuted,), tokenizer=False)


def disguised(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield models that compute the same with other numbers."""
    seed, heads = shop.seed, root.heads
    neurons: Step = partial(disguises.permute_neurons, seed=seed)
    scaled: Step = partial(disguises.rescale_neurons, seed=seed)
    everything: Step = partial(disguises.disguise_all, heads=heads, seed=seed)
    med = fixed(shop, "ft_med")
    yield Recipe("neurons", (neurons,))
    yield Recipe("scaled", (scaled,))
    yield Recipe("heads", (partial(disguises.turn_heads, heads=heads, seed=seed),))
    yield Recipe("folded", (disguises.fold_norms,))
    yield Recipe("hidden_perm", (partial(disguises.permute_hidden, seed=seed),))
    yield Recipe("hidden_rot", (partial(disguises.rotate_hidden, seed=seed),))
    yield Recipe("neurons_scaled", (neurons, scaled), group="composition")
    yield Recipe("neurons_q8_0", (neurons,), "gguf:Q8_0", "composition")
    yield Recipe("ft_neurons", (med, neurons), group="composition")
    yield Recipe("ft_hidden_perm", (med, partial(disguises.permute_hidden, seed=seed)),
                 group="composition")  # fmt: skip
    yield Recipe("disguise_all", (everything,), group="scrambled")
    yield Recipe("ft_disguise_all", (med, everything), group="scrambled")
    light = shop.train(root.arch, "prose", length=0.1, rate=2e-4)
    yield Recipe("disguise_all_ft", (everything, light), group="scrambled")


def abliterated(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield models that lost directions."""
    draw, seed = shop.draw, shop.seed
    layers = root.arch.layers
    full: Step = partial(removals.abliterate, seed=seed)
    measured = shop.trainer.directions(root.arch, root.arrays, ("prose", PRETRAINING))
    middle = measured[layers // 2]
    peaks = [draw.number(0.6, 0.2, 0.9) * (layers - 1) for _ in range(2)]
    kernels = [
        removals.kernel(layers, peak=peak, reach=0.7 * layers, most=draw.number(0.98, 0.6, 1.4))
        for peak in peaks
    ]
    kernel: Step = partial(
        removals.abliterate_kernel, attention=kernels[0], feed_forward=kernels[1], seed=seed
    )
    three = removals.directions(root.arrays, seed=seed, count=3)
    part = draw.number(0.5, 0.3, 0.8)
    healing = shop.train(root.arch, "mail", length=0.1, rate=5e-4)
    singles: dict[str, tuple[Step, ...]] = {
        "embed": (partial(removals.abliterate, seed=seed, embedding=True),),
        "full": (full,),
        "part": (partial(removals.abliterate, seed=seed, share=part),),
        "strong": (partial(removals.abliterate, seed=seed, share=draw.number(2.0, 1.2, 2.0)),),
        "kernel": (kernel,),
        "layers": (partial(removals.abliterate_by_layer, seed=seed),),
        "norms": (partial(removals.abliterate, seed=seed, keep_norms=True),),
        "three": (partial(removals.abliterate, taken=three),),
        "measured": (partial(removals.abliterate, taken=middle),),
        "measured_layers": (partial(removals.abliterate_by_layer, taken=measured),),
        "measured_kernel": (
            partial(
                removals.abliterate_kernel, attention=kernels[0], feed_forward=kernels[1],
                taken=middle,
            ),
        ),
    }  # fmt: skip
    for name, steps in singles.items():
        yield Recipe(f"ablit_{name}", steps)
    yield Recipe("ablit_bf16", (full,), "safetensors:BF16")
    compositions: dict[str, tuple[tuple[Step, ...], str]] = {
        "ablit_q8_0": ((full,), "gguf:Q8_0"),
        "ablit_q4_0": ((full,), "gguf:Q4_0"),
        "ablit_kernel_q8_0": ((kernel,), "gguf:Q8_0"),
        "ablit_kernel_q4_0": ((kernel,), "gguf:Q4_0"),
        "ablit_ft": ((full, healing), "safetensors"),
        "ablit_ft_q8_0": ((full, healing), "gguf:Q8_0"),
        "ablit_ft_q4_0": ((full, healing), "gguf:Q4_0"),
        "ft_ablit": ((fixed(shop, "ft_med"), full), "safetensors"),
        "ft_ablit_q8_0": ((fixed(shop, "ft_med"), full), "gguf:Q8_0"),
        "ft_ablit_q4_0": ((fixed(shop, "ft_med"), full), "gguf:Q4_0"),
        "ft_ablit_kernel": ((fixed(shop, "ft_med2"), kernel), "safetensors"),
        "lora_ablit": ((shop.adapter(root.arch, 8, ATTENTION), full), "safetensors"),
    }
    for name, (steps, container) in compositions.items():
        yield Recipe(name, steps, container, "composition")


def requantized(shop: Workshop, root: Root) -> Iterator[Recipe]:
    """Yield fine-tunes and adapters that were quantized."""
    low, high = shop.draw.whole(4, 2, 6), _of_all(shop, root)
    few, many = shop.adapter(root.arch, low, QV), shop.adapter(root.arch, high, GATED)
    for kind in ("Q8_0", "Q4_0"):
        name, container = kind.lower(), f"gguf:{kind}"
        yield Recipe(f"ft_{name}", (fixed(shop, "ft_med"),), container, "composition", pool=False)
        yield Recipe(f"ft_heavy_{name}", (fixed(shop, "ft_heavy"),), container, "composition",
                     pool=False)  # fmt: skip
        yield Recipe(f"lora_qv_{name}", (few,), container, "composition")
        yield Recipe(f"lora_all_{name}", (many,), container, "composition")
    yield Recipe("ft_int4", (fixed(shop, "ft_med2"), numbers.fake_int4), group="composition")
    yield Recipe("lora_int8", (many, numbers.fake_int8), group="composition")
    yield Recipe("ft_nearest_q8_0", (fixed(shop, "ft_med2"),), "gguf:Q8_0", "composition")
