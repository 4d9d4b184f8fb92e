"""Facts about training compute from facts: own, direct, cumulative, and what is plausible.

What counts (guidelines C(2025) 7719, annex A): training, fine-tuning and reinforcement learning of
the model and of its base, and the generation of synthetic data that is not public, discarded
samples included. What does not: the training of a teacher, diagnostics, public synthetic data,
activation recomputation.
"""

from __future__ import annotations

from collections.abc import Iterable

from steelyard.compute.hardware import assumptions
from steelyard.compute.methods import FORWARD, PER_PARAMETER, Estimate, estimates
from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval, Value

OWN = "training.compute.own"
BASE = "training.compute.base"
DIRECT = "training.compute.direct"
SYNTHETIC = "training.compute.synthetic"
TOTAL = "training.compute"
HIGHEST = "training.compute.highest"
_FROM_BASE = ("lineage.declared_base", "lineage.base", BASE)


def derive(book: FactBook) -> Iterable[Fact]:
    """Yield what follows about training compute.

    - `training.compute.highest`: the highest figure, where methods contradict each other.
    - `training.compute.own`: the hull of the estimates and of what is declared.
    - `training.compute.synthetic`: forward passes for synthetic data that is not public.
    - `training.compute.direct`: own and base, or the cumulative figure where only that is known.
    - `training.compute`: direct and synthetic. Where no figure exists, a range from nothing to
      what is plausible for the model's size, as an assumption: large enough to decide nothing
      close to a threshold, small enough to keep small models out of every question.
    """
    known = book.copy()
    for step in (_highest, _own, _synthetic, _direct, _total, _plausible):
        fact = step(known)
        if fact is not None:
            known.add(fact)
            yield fact


def _methods(book: FactBook) -> tuple[Estimate, ...]:
    """Return what each method gives, the declared figure first; nothing for a derivative."""
    if OWN in book or _is_derivative(book):
        return ()
    found = estimates(book)
    declared = _amount(book.value(TOTAL))
    if declared is None or not found:
        return found
    return (Estimate("declared", declared, (TOTAL,)), *found)


def _highest(book: FactBook) -> Fact | None:
    """Name the highest figure where methods contradict each other: they share no value."""
    found = _methods(book)
    if len(found) < 2 or HIGHEST in book:
        return None
    highest = max(found, key=lambda one: one.flop.low)
    if all(one.flop.overlaps(highest.flop) for one in found):
        return None
    evidence = (Evidence(parents=highest.parents),)
    note = "; ".join(_told(one) for one in found)
    return Fact(HIGHEST, _value(highest.flop), Basis.DERIVED, evidence, note)


def _own(book: FactBook) -> Fact | None:
    """Estimate the maker's own training, where the inputs describe that and nothing else."""
    found = _methods(book)
    if not any(one.method != "declared" for one in found):
        return None
    return _fact(OWN, Interval.hull(*(one.flop for one in found)), found)


def _is_derivative(book: FactBook) -> bool:
    """Tell whether tokens and parameters may belong to a base rather than to this model."""
    return any(name in book and book.value(name) != frozenset() for name in _FROM_BASE)


def _fact(name: str, flop: Interval, found: tuple[Estimate, ...]) -> Fact:
    told = "; ".join(_told(one) for one in found)
    parents = tuple(dict.fromkeys(parent for one in found for parent in one.parents))
    methods = {one.method for one in found} - {"declared"}
    basis = Basis.DERIVED if methods else Basis.DECLARED
    return Fact(name, _value(flop), basis, (Evidence(parents=parents),), told)


def _told(one: Estimate) -> str:
    said = f" ({'; '.join(one.assumptions)})" if one.assumptions else ""
    if one.flop.exact:
        return f"{one.method}: {one.flop.low:.3g} FLOP{said}"
    return f"{one.method}: {one.flop.low:.3g} to {one.flop.high:.3g} FLOP{said}"


def _synthetic(book: FactBook) -> Fact | None:
    """Count forward passes for every sample that was generated, those discarded included."""
    names = ("training.synthetic.generated_tokens", "training.synthetic.generator_parameters")
    tokens, parameters = (_amount(book.value(name)) for name in names)
    if SYNTHETIC in book or tokens is None or parameters is None:
        return None
    public = book.value("training.synthetic.public")
    parents = (*names, "training.synthetic.public")
    passes = FORWARD * tokens * parameters
    if public is True:
        note = "the data is public, so its generation need not be counted"
        return Fact(SYNTHETIC, 0, Basis.DERIVED, (Evidence(parents=parents),), note)
    # Whether it counts is open while nobody says that it is public.
    flop = passes if public is False else Interval(0, passes.high)
    note = "forward passes of the generator for every sample, discarded ones included"
    return Fact(SYNTHETIC, _value(flop), Basis.DERIVED, (Evidence(parents=parents),), note)


def _direct(book: FactBook) -> Fact | None:
    if DIRECT in book:
        return None
    own, base = _amount(book.value(OWN)), _amount(book.value(BASE))
    if own is not None and (base is not None or not _is_derivative(book)):
        parents = (OWN, BASE) if base is not None else (OWN,)
        flop = own if base is None else own + base
        return Fact(DIRECT, _value(flop), Basis.DERIVED, (Evidence(parents=parents),))
    total = book.value(TOTAL)
    if _amount(total) is None or total is None:
        return None
    note = "taken as equal to the cumulative figure: nothing is known of compute for synthetic data"
    return Fact(DIRECT, total, Basis.ASSUMED, (Evidence(parents=(TOTAL,)),), note)


def _total(book: FactBook) -> Fact | None:
    direct = _amount(book.value(DIRECT))
    if direct is None or (TOTAL in book and not _estimated(book)):
        return None
    synthetic = _amount(book.value(SYNTHETIC))
    flop = direct if synthetic is None else direct + synthetic
    stated = _amount(book.value(TOTAL))
    if stated is not None:
        flop = Interval.hull(flop, stated)
    parents = (DIRECT,) if synthetic is None else (DIRECT, SYNTHETIC)
    own = book.resolve(OWN)
    note = own.note if own is not None else ""
    return Fact(TOTAL, _value(flop), Basis.DERIVED, (Evidence(parents=parents),), note)


def _estimated(book: FactBook) -> bool:
    """Tell whether something was estimated beside the figure that is declared."""
    own = book.resolve(OWN)
    return own is not None and own.basis is Basis.DERIVED


def _plausible(book: FactBook) -> Fact | None:
    """Assume that no model of this size was trained on more than the largest plausible corpus."""
    if TOTAL in book or _is_derivative(book):
        return None
    for name in ("model.parameters.active", "model.parameters.total"):
        parameters = _amount(book.value(name))
        if parameters is not None and parameters.high > 0:
            break
    else:
        return None
    most = assumptions()["most_tokens"]
    ceiling = PER_PARAMETER * parameters.high * float(most["value"])
    note = f"no figure is known; {most['reason']}"
    evidence = (Evidence(parents=(name,)),)
    return Fact(TOTAL, Interval(0, ceiling), Basis.ASSUMED, evidence, note)


def _value(flop: Interval) -> float | Interval:
    return float(flop.low) if flop.exact else flop


def _amount(value: Value | None) -> Interval | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Interval):
        return None
    return Interval.of(value)
