"""Facts about training compute from facts: own, direct, cumulative, and what is plausible.

What counts (guidelines C(2025) 7719, annex A): training, fine-tuning and reinforcement learning of
the model and of its base, and the generation of synthetic data that is not public, discarded
samples included. What does not, and so is read from no fact here: the training of a teacher or of
a reward model, diagnostics, public synthetic data, activation recomputation.
"""

from __future__ import annotations

from collections.abc import Iterable

from steelyard.compute.hardware import assumptions
from steelyard.compute.methods import (
    FORWARD,
    PER_PARAMETER,
    Estimate,
    amount_of,
    estimates,
    own_estimates,
)
from steelyard.facts import Basis, Evidence, Fact, FactBook, Interval

OWN = "training.compute.own"
BASE = "training.compute.base"
DIRECT = "training.compute.direct"
SYNTHETIC = "training.compute.synthetic"
TOTAL = "training.compute"
HIGHEST = "training.compute.highest"
RELATION = "lineage.declared_relation"
IDENTICAL = "lineage.identical"
_UNTRAINED = frozenset({"quantized", "merge"})
"""Ways to make a model from another that are no training."""
_FROM_BASE = ("lineage.declared_base", "lineage.base", BASE)


def derive(book: FactBook) -> Iterable[Fact]:
    """Yield what follows about training compute; `book` stays as it is.

    - `training.compute.highest`: the highest figure, where methods contradict each other.
    - `training.compute.own`: the hull of the estimates and of what is declared.
    - `training.compute.synthetic`: forward passes for synthetic data that is not public.
    - `training.compute.direct`: own and base. Where only the cumulative figure is known it is
      taken as equal to that, as an assumption: compute for synthetic data is seldom told, and
      leaving it out would call a small model large, never a large one small.
    - `training.compute`: direct and synthetic. Where no figure exists, a range from nothing to
      what is plausible for the model's size, as an assumption: large enough to decide nothing
      close to a threshold, small enough to keep small models out of every question.

    A declared cumulative figure of a model with a base is left alone: nothing tells whether it
    holds the base's.
    """
    known = book.copy()
    for step in (_highest, _own, _synthetic, _direct, _total, _plausible):
        fact = step(known)
        if fact is not None:
            known.add(fact)
            yield fact


def _methods(book: FactBook) -> tuple[Estimate, ...]:
    """Return what each method gives for the maker's own training, what is declared first."""
    own = book.resolve(OWN)
    if own is not None and own.basis is Basis.DERIVED:
        return ()
    based = _is_derivative(book)
    found = own_estimates(book) if based else estimates(book)
    # Without a base the cumulative figure is the maker's own, but for synthetic data.
    names = (OWN,) if based else (TOTAL, OWN)
    stated = ((name, amount_of(book.value(name))) for name in names)
    told = (Estimate("declared", amount, (name,)) for name, amount in stated if amount is not None)
    return (*told, *found)


def _is_estimate(one: Estimate) -> bool:
    return one.method != "declared"


def _highest(book: FactBook) -> Fact | None:
    """Name the highest figure where methods contradict each other: they share no value."""
    found = _methods(book)
    if len(found) < 2 or HIGHEST in book or _is_derivative(book):
        return None
    highest = max(found, key=lambda one: one.flop.low)
    if all(one.flop.overlaps(highest.flop) for one in found):
        return None
    evidence = (Evidence(parents=highest.parents),)
    note = "; ".join(_told(one) for one in found)
    return Fact(HIGHEST, _value(highest.flop), Basis.DERIVED, evidence, note)


def _own(book: FactBook) -> Fact | None:
    """Join the estimates of the maker's own training with what is declared of it."""
    found = _methods(book)
    if not any(_is_estimate(one) for one in found):
        return None
    flop = Interval.hull(*(one.flop for one in found))
    parents = tuple(dict.fromkeys(parent for one in found for parent in one.parents))
    told = "; ".join(_told(one) for one in found)
    return Fact(OWN, _value(flop), Basis.DERIVED, (Evidence(parents=parents),), told)


def _is_derivative(book: FactBook) -> bool:
    """Tell whether tokens and parameters may belong to a base rather than to this model."""
    return any(name in book and book.value(name) != frozenset() for name in _FROM_BASE)


def _told(one: Estimate) -> str:
    said = f" ({'; '.join(one.assumptions)})" if one.assumptions else ""
    if one.flop.exact:
        return f"{one.method}: {one.flop.low:.3g} FLOP{said}"
    return f"{one.method}: {one.flop.low:.3g} to {one.flop.high:.3g} FLOP{said}"


def _synthetic(book: FactBook) -> Fact | None:
    """Count forward passes for every sample that was generated, those discarded included.

    A generator of unknown size is taken as anything up to the largest plausible one, so that
    what is not told does not vanish from the sum.
    """
    tokens = amount_of(book.value("training.synthetic.generated_tokens"))
    if SYNTHETIC in book or tokens is None:
        return None
    parents = ["training.synthetic.generated_tokens"]
    public = book.value("training.synthetic.public")
    if public is not None:
        parents.append("training.synthetic.public")
    if public is True:
        note = "the data is public, so its generation need not be counted"
        return Fact(SYNTHETIC, 0, Basis.DERIVED, (Evidence(parents=tuple(parents)),), note)
    note = "forward passes of the generator for every sample, discarded ones included"
    basis = Basis.DERIVED
    parameters = amount_of(book.value("training.synthetic.generator_parameters"))
    if parameters is not None:
        parents.append("training.synthetic.generator_parameters")
    else:
        most = assumptions()["largest_generator"]
        parameters, basis = Interval(0, float(most["value"])), Basis.ASSUMED
        note += f"; the generator is unknown: {most['reason']}"
    flop = FORWARD * tokens * parameters
    if public is not False:
        # Whether it counts is open while nobody says that it is public.
        flop = Interval(0, flop.high)
        note += "; counted from nothing on, as nobody says whether the data is public"
    return Fact(SYNTHETIC, _value(flop), basis, (Evidence(parents=tuple(parents)),), note)


def _direct(book: FactBook) -> Fact | None:
    if DIRECT in book:
        return None
    own, base = amount_of(book.value(OWN)), amount_of(book.value(BASE))
    if own is not None and (base is not None or not _is_derivative(book)):
        parents = (OWN, BASE) if base is not None else (OWN,)
        flop = own if base is None else own + base
        return Fact(DIRECT, _value(flop), Basis.DERIVED, (Evidence(parents=parents),))
    if base is not None and (untrained := _untrained(book)) is not None:
        name, words = untrained
        note = f"that of the base: {words} weights are not trained further"
        parents = (BASE, name)
        return Fact(DIRECT, _value(base), Basis.DERIVED, (Evidence(parents=parents),), note)
    total = book.value(TOTAL)
    if amount_of(total) is None or total is None:
        return None
    note = "taken as equal to the cumulative figure: nothing is known of compute for synthetic data"
    return Fact(DIRECT, total, Basis.ASSUMED, (Evidence(parents=(TOTAL,)),), note)


def _untrained(book: FactBook) -> tuple[str, str] | None:
    """Return which fact tells, and in which word, that the base was not trained further."""
    if book.value(IDENTICAL) is True:
        return IDENTICAL, "identical"
    relation = book.value(RELATION)
    return (RELATION, str(relation)) if relation in _UNTRAINED else None


def _total(book: FactBook) -> Fact | None:
    direct = amount_of(book.value(DIRECT))
    if direct is None or (TOTAL in book and not _estimated(book)):
        return None
    synthetic = book.resolve(SYNTHETIC)
    more = None if synthetic is None else amount_of(synthetic.value)
    flop = direct if more is None else direct + more
    stated = amount_of(book.value(TOTAL))
    if stated is not None:
        flop = Interval.hull(flop, stated)
    parents = (DIRECT,) if more is None else (DIRECT, SYNTHETIC)
    own = book.resolve(OWN)
    notes = [own.note if own is not None else ""]
    if synthetic is not None and more is not None and more.high > 0:
        notes.append(f"synthetic data: {synthetic.note}")
    note = "; ".join(note for note in notes if note)
    return Fact(TOTAL, _value(flop), Basis.DERIVED, (Evidence(parents=parents),), note)


def _estimated(book: FactBook) -> bool:
    """Tell whether something was estimated beside the figure that is declared."""
    own = book.resolve(OWN)
    return own is not None and own.basis is Basis.DERIVED and not _is_derivative(book)


def _plausible(book: FactBook) -> Fact | None:
    """Assume that no model of this size was trained on more than the largest plausible corpus."""
    if TOTAL in book or _is_derivative(book):
        return None
    for name in ("model.parameters.active", "model.parameters.total"):
        parameters = amount_of(book.value(name))
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
