"""How long do 10,000 models take under all law, beside the same conditions in OPA's Rego?

    taskset -c 0 python benchmarks/rules.py [--models 10000] [--peer 100] [--repeat 3] [--dry-run]

Every condition of every law pack, bound to one day, is translated to Rego: for each node of its
tree one rule that holds when the answer is yes and one when it is no, so that neither means
unknown, as with us. Amounts are given as bounds. regopy (rego-cpp) compiles the policy once; then
each model is one input and one query. Both must give the same three-valued answer for every
condition and model, or nothing is reported. Our whole evaluation (standing in time, exemptions,
conclusions, duties, explanations), which Rego does not do here, is timed apart.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date

import regopy

from record import command_line, conditions, spread, table, write_section
from steelyard.assessing import law_packs
from steelyard.facts import Basis, Fact, FactBook, Interval, Kind, Value, vocabulary
from steelyard.rules import Rulebook, answer, conclude, load_packs, rules_on
from steelyard.rules.tree import (
    Certain,
    Comparison,
    Condition,
    Every,
    FactValue,
    Flag,
    Literal,
    Negation,
    Operand,
    Query,
    Some,
)

DAY = date(2026, 11, 24)
SEED = 20261124


class UntranslatedError(Exception):
    """A condition uses something that this small translation leaves out."""


class Translation:
    """Rego rules for conditions: `y<n>` holds when node n is true, `n<n>` when it is false."""

    def __init__(self) -> None:
        self.lines = ["package law", "import rego.v1"]
        self.count = 0

    def rule(self, body: str, name: str) -> None:
        """Add a rule."""
        self.lines.append(f"{name} if {{ {body} }}")

    def node(self, condition: Condition) -> int:
        """Translate a condition; return its number."""
        self.count += 1
        own = self.count
        yes, no = f"y{own}", f"n{own}"
        match condition:
            case Every(parts) | Some(parts):
                numbers = [self.node(part) for part in parts]
                every = isinstance(condition, Every)
                joined, single = ("y", "n") if every else ("n", "y")
                whole, part_name = (yes, no) if every else (no, yes)
                self.rule("; ".join(f"{joined}{n}" for n in numbers), whole)
                for number in numbers:
                    self.rule(f"{single}{number}", part_name)
            case Negation(question):
                inner = self.node(question)
                self.rule(f"n{inner}", yes)
                self.rule(f"y{inner}", no)
            case Certain(value):
                self.rule("true", yes if value else no)
            case Flag(name):
                self.rule(f'input.value["{name}"] == true', yes)
                self.rule(f'input.value["{name}"] == false', no)
            case Query("known", name):
                self.rule(f'input.known["{name}"]', yes)
                self.rule(f'not input.known["{name}"]', no)
            case Comparison(operator, left, right):
                self.comparison(operator, left, right, yes, no)
            case _:
                raise UntranslatedError
        return own

    def comparison(self, operator: str, left: Operand, right: Operand, yes: str, no: str) -> None:
        """Translate a comparison; amounts by their bounds."""
        if operator == "in":
            member, whole = self.text(left), self.text(right)
            self.rule(f"m := {member}; w := {whole}; m in w", yes)
            self.rule(f"m := {member}; w := {whole}; not m in w", no)
            return
        if _is_set(left) or _is_set(right):
            if operator != "<=" or not isinstance(right, Literal):
                raise UntranslatedError
            allowed = sorted(right.value) if isinstance(right.value, frozenset) else []
            given = self.text(left)
            listed = json.dumps(allowed)
            self.rule(f"{given}; every m in {given} {{ m in {listed} }}", yes)
            self.rule(f"some m in {given}; not m in {listed}", no)
            return
        if operator == "==" and not _is_amount(left):
            self.rule(f"{self.text(left)} == {self.text(right)}", yes)
            self.rule(f"{self.text(left)} != {self.text(right)}", no)
            return
        (low, high), (other_low, other_high) = self.bounds(left), self.bounds(right)
        for sign, opposite in ((">", "<="), (">=", "<"), ("<", ">="), ("<=", ">")):
            if operator == sign:
                near, far = (low, high) if sign[0] == ">" else (high, low)
                other_near, other_far = (
                    (other_high, other_low) if sign[0] == ">" else (other_low, other_high)
                )
                self.rule(f"{near} {sign} {other_near}", yes)
                self.rule(f"{far} {opposite} {other_far}", no)
                return
        raise UntranslatedError

    def bounds(self, operand: Operand) -> tuple[str, str]:
        """Write the bounds of an amount or a date."""
        match operand:
            case FactValue(name):
                return f'input.low["{name}"]', f'input.high["{name}"]'
            case Literal(Interval() as value):
                return repr(float(value.low)), repr(float(value.high))
            case Literal(date() as value):
                return str(value.toordinal()), str(value.toordinal())
        raise UntranslatedError

    def text(self, operand: Operand) -> str:
        """Write a text or a set."""
        match operand:
            case FactValue(name):
                return f'input.value["{name}"]'
            case Literal(str() as value):
                return json.dumps(value)
            case Literal(frozenset() as value):
                return json.dumps(sorted(value))
        raise UntranslatedError


def _is_set(operand: Operand) -> bool:
    if isinstance(operand, FactValue):
        return vocabulary()[operand.name].kind is Kind.SET
    return isinstance(operand, Literal) and isinstance(operand.value, frozenset)


def _is_amount(operand: Operand) -> bool:
    kinds = (Kind.COUNT, Kind.QUANTITY, Kind.DATE)
    return isinstance(operand, FactValue) and vocabulary()[operand.name].kind in kinds


def translate(rulebook: Rulebook) -> tuple[dict[str, int], str]:
    """Return the node of each condition that can be translated, and the policy."""
    made = Translation()
    numbers: dict[str, int] = {}
    for item in rulebook.rules:
        before = made.count, len(made.lines)
        try:
            numbers[item.rule.id] = made.node(item.when.condition)
        except UntranslatedError:
            made.count = before[0]
            del made.lines[before[1] :]
    for rule, number in numbers.items():
        made.lines.append(f'yes contains "{rule}" if {{ y{number} }}')
        made.lines.append(f'no contains "{rule}" if {{ n{number} }}')
    return numbers, "\n".join(made.lines) + "\n"


def books(count: int, rulebook: Rulebook) -> Iterator[FactBook]:
    """Yield made-up models: each fact that rules use is known, a range, or unknown."""
    chance = random.Random(SEED)  # noqa: S311  a repeatable benchmark, no secret
    names = sorted({name for item in rulebook.rules for name in item.rule.names})
    for _ in range(count):
        facts = {n: _value(n, chance) for n in names if chance.random() < 0.6}
        yield FactBook(Fact(n, v, Basis.DECLARED) for n, v in facts.items() if v is not None)


def _value(name: str, chance: random.Random) -> Value | None:
    term = vocabulary()[name]
    match term.kind:
        case Kind.BOOL:
            return chance.random() < 0.5
        case Kind.DATE:
            return date.fromordinal(chance.randint(date(2022, 1, 1).toordinal(),
                                                   date(2028, 1, 1).toordinal()))  # fmt: skip
        case Kind.COUNT:
            return chance.randint(1, 10**12)
        case Kind.QUANTITY:
            middle = 10 ** chance.uniform(20, 27)
            exact = chance.random() < 0.5
            return middle if exact else Interval(0.7 * middle, 1.3 * middle)
        case Kind.ENUM:
            return chance.choice(term.choices)
        case Kind.SET:
            return frozenset(choice for choice in term.choices if chance.random() < 0.3)
    return None


def as_input(book: FactBook) -> str:
    """Write a book as Rego sees it."""
    given: dict[str, dict[str, object]] = {"low": {}, "high": {}, "value": {}, "known": {}}
    for fact in book:
        given["known"][fact.name] = True
        value = fact.value
        if isinstance(value, bool | str):
            given["value"][fact.name] = value
        elif isinstance(value, frozenset):
            given["value"][fact.name] = sorted(value)
        elif isinstance(value, date):
            given["low"][fact.name] = given["high"][fact.name] = value.toordinal()
        else:
            known = Interval.of(value)
            given["low"][fact.name], given["high"][fact.name] = known.low, known.high
    return json.dumps(given)


def ours(book: FactBook, rulebook: Rulebook, rules: dict[str, int]) -> dict[str, bool | None]:
    """Answer the conditions alone."""
    return {
        item.rule.id: answer(item.when, book).truth
        for item in rulebook.rules
        if item.rule.id in rules
    }


def theirs(text: str, interpreter: regopy.Interpreter) -> dict[str, bool]:
    """Answer the conditions in Rego; what is missing is unknown."""
    interpreter.set_input(json.loads(text))
    found = json.loads(str(interpreter.query("x = [data.law.yes, data.law.no]")))
    yes, no = found["bindings"]["x"] if "bindings" in found else found["result"][0]["bindings"]["x"]
    return dict.fromkeys(yes, True) | dict.fromkeys(no, False)


def timed(repeat: int, work: Callable[[], object]) -> list[float]:
    """Time some work several times."""
    found = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    """Check that both agree, time both, write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--peer", type=int, default=100, help="models that Rego is asked about")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    rulebook = rules_on(law_packs(load_packs()), DAY)
    rules, policy = translate(rulebook)
    interpreter = regopy.Interpreter()
    interpreter.add_module("law", policy)
    sample = list(books(options.peer, rulebook))
    inputs = [as_input(book) for book in sample]
    for book, text in zip(sample, inputs, strict=True):
        own, other = ours(book, rulebook, rules), theirs(text, interpreter)
        differing = {rule for rule, truth in own.items() if other.get(rule) is not truth}
        if differing:
            raise SystemExit(f"the answers differ: {sorted(differing)[:5]}")
    everything = list(books(options.models, rulebook))
    peer = timed(options.repeat, lambda: [theirs(text, interpreter) for text in inputs])
    same = timed(options.repeat, lambda: [ours(book, rulebook, rules) for book in sample])
    alone = timed(options.repeat, lambda: [ours(book, rulebook, rules) for book in everything])
    whole = timed(options.repeat, lambda: [conclude(rulebook, book) for book in everything])
    text = report(len(rulebook.rules), len(rules), options, peer, same, alone, whole)
    print(text)
    if not options.dry_run:
        write_section("rules.py", text)


def report(
    rules: int,
    translated: int,
    options: argparse.Namespace,
    peer: list[float],
    same: list[float],
    alone: list[float],
    whole: list[float],
) -> str:
    """Write the section of docs/benchmarks.md."""

    def row(label: str, models: int, seconds: list[float]) -> list[str]:
        each = statistics.median(seconds) / models
        ratio = statistics.median(peer) / options.peer / each
        return [label, f"{models:,}", spread(seconds), f"{each * 1e3:.2f}", f"{ratio:.1f}"]

    head = ["", "models", "seconds", "ms a model", "x as fast as Rego"]
    body = [
        row(f"Rego (regopy), {translated} conditions", options.peer, peer),
        row("**the same conditions**, same models", options.peer, same),
        row("**the same conditions**, all models", options.models, alone),
        row(f"**whole evaluation** of {rules} rules, explained", options.models, whole),
    ]
    return f"""
## All law on one core

{options.models:,} made-up models under every law pack as of {DAY}, on one core, beside the same
conditions in OPA's Rego (regopy, compiled once, one query a model). {translated} of {rules}
conditions are translated; both give the same three-valued answer on each for {options.peer}
models. The whole evaluation does what Rego is not asked to do here: standing in time,
conclusions, exemptions, duties, and why.

{table(head, body)}

{conditions(command_line())}
"""


if __name__ == "__main__":
    main()
