"""Estimates of training compute, one function for each method.

Every operation counts as one, whatever its precision, and activation recomputation does not count
(guidelines C(2025) 7719, annex A).
"""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.compute.hardware import accelerator, assumptions
from steelyard.facts import FactBook, Interval, Value

PER_PARAMETER = 6
"""FLOP for one parameter and one token: two forward, four backward (Kaplan et al., section 2.1)."""
FORWARD = 2
"""FLOP for one parameter and one token of a forward pass alone."""
_ATTENTION = 12
"""FLOP of attention over scores and values for one token, layer, width and position of the
sequence, forward and backward, where each token attends to all others (Kaplan et al.)."""
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one method gives."""

    method: str
    """`declared`, `architecture` or `hardware`."""
    flop: Interval
    parents: tuple[str, ...]
    """The facts that it is computed from."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed, in words."""


def estimates(book: FactBook) -> tuple[Estimate, ...]:
    """Return an estimate of the maker's own training for each method whose inputs are known."""
    found = (by_architecture(book), by_hardware(book))
    return tuple(estimate for estimate in found if estimate is not None)


def by_architecture(book: FactBook) -> Estimate | None:
    """Estimate from parameters and tokens: six times one times the other, and attention.

    Of a mixture of experts only the active parameters count. The term for attention is added
    where layers, width and the length of sequences are known: half of it for a decoder, whose
    tokens attend to those before them only. None where parameters or tokens are unknown.
    """
    parameters, name = _parameters(book)
    tokens, token_names = _tokens(book)
    if parameters is None or tokens is None:
        return None
    band = assumptions()["architecture"]
    flop = PER_PARAMETER * parameters * tokens
    parents = [name, *token_names]
    said = [f"{band['reason']} ({band['low']:g} to {band['high']:g} of the product)"]
    attention = _attention(book)
    if attention is not None:
        per_token, names = attention
        flop = flop + per_token * tokens
        parents += names
        said.append("attention counted over the length of the training sequences")
    return Estimate("architecture", flop * _interval(band), tuple(parents), tuple(said))


def _parameters(book: FactBook) -> tuple[Interval | None, str]:
    for name in ("model.parameters.active", "model.parameters.total"):
        amount = _amount(book.value(name))
        if amount is not None:
            return amount, name
    return None, ""


def _tokens(book: FactBook) -> tuple[Interval | None, tuple[str, ...]]:
    """Return tokens seen: as stated, or the size of the data times the passes over it."""
    tokens = _amount(book.value("training.tokens"))
    if tokens is not None:
        return tokens, ("training.tokens",)
    data = _amount(book.value("training.dataset_tokens"))
    epochs = _amount(book.value("training.epochs"))
    if data is None or epochs is None:
        return None, ()
    return data * epochs, ("training.dataset_tokens", "training.epochs")


def _attention(book: FactBook) -> tuple[Interval, tuple[str, ...]] | None:
    """Return the FLOP of attention for one token, and the facts they are computed from."""
    names = ("model.layers", "model.hidden_size", "training.sequence_length")
    amounts = [_amount(book.value(name)) for name in names]
    if any(amount is None for amount in amounts):
        return None
    product = Interval.of(_ATTENTION)
    for amount in amounts:
        product = product * (amount or 0)
    causal = book.value("model.design") in (None, "decoder")
    return (product / 2 if causal else product), names


def by_hardware(book: FactBook) -> Estimate | None:
    """Estimate from accelerator hours, peak and utilization: N · L · H · U.

    The peak is that of dense arithmetic at the number format used. An unknown utilization is
    assumed within a range that `knowledge/hardware.yaml` gives. None where hours or the
    accelerator are unknown.
    """
    hours, parents = _hours(book)
    peak, said, peak_parents = _peak(book)
    if hours is None or peak is None:
        return None
    used = _amount(book.value("training.hardware.utilization"))
    parents += peak_parents
    if used is None:
        band = assumptions()["utilization"]
        used = _interval(band)
        said.append(f"utilization {used.low:g} to {used.high:g}: {band['reason']}")
    else:
        parents.append("training.hardware.utilization")
        if used.exact:
            band = assumptions()["stated_utilization"]
            used = used * _interval(band)
            said.append(band["reason"])
    return Estimate("hardware", hours * _HOUR * peak * used, tuple(parents), tuple(said))


def _hours(book: FactBook) -> tuple[Interval | None, list[str]]:
    total = _amount(book.value("training.hardware.total_hours"))
    if total is not None:
        return total, ["training.hardware.total_hours"]
    names = ["training.hardware.units", "training.hardware.hours"]
    units, hours = (_amount(book.value(name)) for name in names)
    if units is None or hours is None:
        return None, []
    return units * hours, names


def _peak(book: FactBook) -> tuple[Interval | None, list[str], list[str]]:
    stated = _amount(book.value("training.hardware.peak"))
    if stated is not None:
        return stated, [], ["training.hardware.peak"]
    kind = book.value("training.hardware.type")
    known = accelerator(kind) if isinstance(kind, str) else None
    if known is None:
        return None, [], []
    form = book.value("training.hardware.format")
    parents = ["training.hardware.type"]
    if isinstance(form, str) and form.upper() in known.peaks:
        return Interval.of(known.peaks[form.upper()]), [], [*parents, "training.hardware.format"]
    name, peak = known.usual
    return Interval.of(peak), [f"{known.name} used at {name}, {peak:.3g} FLOP/s"], parents


def break_even(threshold: float, parameters: float) -> float:
    """Return the tokens at which training a model of so many active parameters crosses a threshold.

    Args:
        threshold: In FLOP.
        parameters: Active parameters, more than zero.
    """
    return threshold / (PER_PARAMETER * parameters)


def _interval(band: dict[str, float]) -> Interval:
    return Interval(band["low"], band["high"])


def _amount(value: Value | None) -> Interval | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Interval):
        return None
    amount = Interval.of(value)
    return amount if amount.low >= 0 and amount.high < 1e40 else None
