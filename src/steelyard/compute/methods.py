"""Estimates of training compute, one function for each method.

Every operation counts as one, whatever its precision, and activation recomputation does not count
(guidelines C(2025) 7719, annex A).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from steelyard.compute.hardware import assumptions, peak_of
from steelyard.facts import FactBook, Interval, Value

PER_PARAMETER: Final = 6
"""FLOP for one parameter and one token: two forward, four backward (Kaplan et al., section 2.1)."""
FORWARD: Final = 2
"""FLOP for one parameter and one token of a forward pass alone."""
_FROZEN: Final = 4
"""FLOP for one token and one parameter that training runs through but does not change: two
forward, and two backward to reach the parameters behind it."""
_PASS: Final = 3
"""What a pass forward and backward costs, in passes forward: the way back takes twice as much."""
_ATTENTION: Final = 12
"""FLOP of attention over scores and values for one token, layer, width and position of the
sequence, forward and backward, where each token attends to all others (Chowdhery et al.,
arXiv 2204.02311, appendix B)."""
_NARROW: Final = frozenset({"FP8", "FP4", "INT8"})
_HOUR: Final = 3600
_MOST: Final = 1e40
"""Above this an amount is no amount: products of three such numbers stay finite."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one method gives."""

    method: str
    """`declared`, `architecture`, `passes` or `hardware`."""
    flop: Interval
    parents: tuple[str, ...]
    """The facts that it is computed from."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed, in words."""


@dataclass(frozen=True, slots=True)
class _Part:
    """An amount on the way to an estimate, where it is from, and what was assumed for it."""

    amount: Interval
    parents: tuple[str, ...]
    said: tuple[str, ...] = ()


def estimates(book: FactBook) -> tuple[Estimate, ...]:
    """Return an estimate of the maker's own training for each method whose inputs are known."""
    return _all(book, by_architecture, by_passes, by_hardware)


def own_estimates(book: FactBook) -> tuple[Estimate, ...]:
    """Return estimates of what was done to a base, from facts about that alone.

    Tokens, samples and hours that are not said to be the maker's own may be those of the base, so
    only `training.own_tokens` and `training.own_hours` count.
    """
    return _all(book, by_own_tokens, by_own_hours)


def _all(book: FactBook, *methods: Callable[[FactBook], Estimate | None]) -> tuple[Estimate, ...]:
    found = (method(book) for method in methods)
    return tuple(estimate for estimate in found if estimate is not None)


def by_architecture(book: FactBook) -> Estimate | None:
    """Estimate from parameters and tokens: six times one times the other, and attention.

    - Of a mixture of experts only the active parameters count; where these are unknown, between
      the share of the experts that are chosen and all of them.
    - In an encoder-decoder a token passes through one of the two, so the product lies between a
      half of six times and all of it, by how the parameters and tokens are shared out.
    - The term for attention is added where layers, width and the length of sequences are known:
      half of it for a decoder, whose tokens attend to those before them only.

    None where parameters or tokens are unknown.
    """
    return _of_tokens(book, _parameters(book), _tokens(book))


def by_own_tokens(book: FactBook) -> Estimate | None:
    """Estimate what the maker added to a base, from `training.own_tokens`.

    An adapter changes few parameters but is trained through all others: four operations for each
    parameter of the base and token, six for each of its own. With an unknown base there is no
    estimate: its own parameters alone would understate it many times over.
    """
    tokens = _known(book, "training.own_tokens")
    if _is_adapter(book):
        return _of_adapter(book, tokens)
    return _of_tokens(book, _parameters(book), tokens)


def _of_tokens(book: FactBook, parameters: _Part | None, tokens: _Part | None) -> Estimate | None:
    if parameters is None or tokens is None:
        return None
    flop = PER_PARAMETER * parameters.amount * tokens.amount
    said: tuple[str, ...] = ()
    if book.value("model.design") == "encoder-decoder":
        flop = flop * Interval(0.5, 1)
        said = ("a token passes through the encoder or the decoder: half of the model or more",)
    attention = _attention(book)
    if attention is not None:
        flop = flop + attention.amount * tokens.amount
    parts = [parameters, tokens, *([attention] if attention is not None else [])]
    return _banded(flop, parts, said)


def _of_adapter(book: FactBook, tokens: _Part | None) -> Estimate | None:
    own = _known(book, "model.parameters.adapter")
    frozen = _known(book, "training.frozen_parameters") or _known(book, "model.parameters.total")
    if own is None or frozen is None or tokens is None:
        return None
    flop = (_FROZEN * frozen.amount + PER_PARAMETER * own.amount) * tokens.amount
    said = "the base is passed through forward and backward, and only the adapter changed"
    return _banded(flop, [frozen, own, tokens], (said,))


def _banded(
    flop: Interval, parts: Sequence[_Part], said: tuple[str, ...], method: str = "architecture"
) -> Estimate:
    """Widen a product by what such products leave out, and gather where it is from."""
    band = assumptions()["architecture"]
    width = f"{band['reason']} ({band['low']:g} to {band['high']:g} of the product)"
    parents = tuple(dict.fromkeys(name for part in parts for name in part.parents))
    words = (width, *said, *(text for part in parts for text in part.said))
    return Estimate(method, flop * _interval(band), parents, words)


def _parameters(book: FactBook) -> _Part | None:
    active, total = (_known(book, f"model.parameters.{kind}") for kind in ("active", "total"))
    if active is not None or total is None:
        return active
    experts, chosen = (amount_of(book.value(f"model.experts{kind}")) for kind in ("", ".active"))
    if experts is None or experts.low <= 1:
        return total
    share = chosen.low / experts.high if chosen is not None else 1 / experts.high
    said = "active parameters unknown: from the share of the experts that are chosen to all"
    return _Part(total.amount * Interval(min(share, 1), 1), (*total.parents, "model.experts"),
                 (said,))  # fmt: skip


def _tokens(book: FactBook) -> _Part | None:
    """Return tokens seen: as stated, or the size of the data times the passes over it."""
    tokens = _known(book, "training.tokens")
    return tokens or _product(book, "training.dataset_tokens", "training.epochs")


def _attention(book: FactBook) -> _Part | None:
    """Return the FLOP of attention for one token."""
    found = _product(book, "model.layers", "model.hidden_size", "training.sequence_length")
    if found is None:
        return None
    causal = book.value("model.design") in (None, "decoder")
    said = "attention counted over the length of the training sequences"
    return _Part(found.amount * (_ATTENTION / 2 if causal else _ATTENTION), found.parents, (said,))


def by_passes(book: FactBook) -> Estimate | None:
    """Estimate from samples and what one costs: for diffusion, and wherever tokens do not count.

    A sample that is noised once and passed through once is one pass, whatever the number of steps
    at inference. Samples are as stated, or steps times batch. One pass costs three times the
    stated `training.forward_flop`; else six times the parameters for each position of the sample
    (patch, latent), which holds for transformers and not for convolutions. None where either is
    unknown.
    """
    samples = _known(book, "training.samples") or _product(
        book, "training.steps", "training.batch_samples"
    )
    if samples is None:
        return None
    forward = _known(book, "training.forward_flop")
    if forward is not None:
        flop, parts = _PASS * forward.amount * samples.amount, [forward, samples]
    else:
        parameters, positions = _parameters(book), _known(book, "training.sample_positions")
        if parameters is None or positions is None:
            return None
        flop = PER_PARAMETER * parameters.amount * positions.amount * samples.amount
        parts = [parameters, positions, samples]
    said = "one pass for each sample; frozen encoders of text and images are left out"
    return _banded(flop, parts, (said,), "passes")


def by_hardware(book: FactBook) -> Estimate | None:
    """Estimate from accelerator hours, peak and utilization: N · L · H · U.

    The peak is that of dense arithmetic at the number format used; of several kinds of accelerator
    it lies between the lowest and the highest. An unknown utilization is assumed within a range
    that `knowledge/hardware.yaml` gives. None where hours or the accelerator are unknown.
    """
    hours = _known(book, "training.hardware.total_hours") or _product(
        book, "training.hardware.units", "training.hardware.hours"
    )
    return _of_hours(book, hours)


def by_own_hours(book: FactBook) -> Estimate | None:
    """Estimate what the maker added to a base, from `training.own_hours`."""
    return _of_hours(book, _known(book, "training.own_hours"))


def _of_hours(book: FactBook, hours: _Part | None) -> Estimate | None:
    peak = _peak(book)
    if hours is None or peak is None:
        return None
    used = _utilization(book)
    parents = (*hours.parents, *peak.parents, *used.parents)
    flop = hours.amount * _HOUR * peak.amount * used.amount
    return Estimate("hardware", flop, parents, (*peak.said, *used.said))


def _utilization(book: FactBook) -> _Part:
    stated = _known(book, "training.hardware.utilization")
    if stated is None or stated.amount.low > 1:
        form = book.value("training.hardware.format")
        narrow = isinstance(form, str) and form.strip().upper() in _NARROW
        band = assumptions()["utilization_8bit" if narrow else "utilization"]
        used = _interval(band)
        return _Part(used, (), (f"utilization {used.low:g} to {used.high:g}: {band['reason']}",))
    if not stated.amount.exact:
        return stated
    band = assumptions()["stated_utilization"]
    return _Part(stated.amount * _interval(band), stated.parents, (band["reason"],))


def _peak(book: FactBook) -> _Part | None:
    stated = _known(book, "training.hardware.peak")
    if stated is not None:
        return stated
    kind, form = book.value("training.hardware.type"), book.value("training.hardware.format")
    if not isinstance(kind, str):
        return None
    found = peak_of(kind, form if isinstance(form, str) else None)
    if found is None:
        return None
    names = ["training.hardware.type", *(["training.hardware.format"] if found.by_format else [])]
    return _Part(found.flop_per_second, tuple(names), found.said)


def break_even(threshold: float, parameters: float) -> float:
    """Return the tokens at which training a model of so many active parameters crosses a threshold.

    Args:
        threshold: In FLOP.
        parameters: Active parameters, more than zero.

    Raises:
        ValueError: If there are no parameters.
    """
    if not parameters > 0:
        raise ValueError(f"a model has more than {parameters} parameters")
    return threshold / (PER_PARAMETER * parameters)


def _known(book: FactBook, name: str) -> _Part | None:
    amount = amount_of(book.value(name))
    return None if amount is None else _Part(amount, (name,))


def _product(book: FactBook, *names: str) -> _Part | None:
    """Multiply what is known of all names; None where one is unknown."""
    product = Interval.of(1)
    for name in names:
        amount = amount_of(book.value(name))
        if amount is None:
            return None
        product = product * amount
    return _Part(product, names)


def _is_adapter(book: FactBook) -> bool:
    declared = book.value("lineage.declared_relation") == "adapter"
    return declared or book.value("adapter.present") is True


def _interval(band: dict[str, Any]) -> Interval:
    return Interval(band["low"], band["high"])


def amount_of(value: Value | None) -> Interval | None:
    """Return a fact's value as a range; None if it is no amount, or no plausible one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Interval):
        return None
    amount = Interval.of(value)
    return amount if amount.low >= 0 and amount.high < _MOST else None
