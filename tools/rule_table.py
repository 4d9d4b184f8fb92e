"""Write the tables of rules and facts in the guide from the packs and the vocabulary.

python -m tools.rule_table            rewrite them
python -m tools.rule_table --check    exit with 1 if they are out of date
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from steelyard.facts import vocabulary
from steelyard.rules import load_packs

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "facts-and-rules.md"
SECTIONS = ("model.", "adapter.", "lineage.")
"""How the names begin that say what the model is, and where it is from."""


def rules() -> Iterable[str]:
    """Yield one table for each pack of good practice; law has its own pages."""
    for pack in load_packs():
        if any(rule.is_law for rule in pack.rules):
            continue
        yield f"### {pack.title}\n"
        yield "| rule | severity | what it wants | reviewed |"
        yield "|---|---|---|---|"
        for rule in pack.rules:
            source = f"[{rule.title}]({rule.citation.link})"
            yield f"| {rule.id} | {rule.severity} | {source} | {rule.reviewed} |"
        yield ""


def facts() -> Iterable[str]:
    """Yield the table of the facts that say what the model is, and where it is from."""
    yield "| fact | value | meaning |"
    yield "|---|---|---|"
    for term in vocabulary().values():
        if term.name.startswith(SECTIONS):
            value = f"{term.kind} ({term.unit})" if term.unit else str(term.kind)
            value = ", ".join(term.choices) or value
            yield f"| `{term.name}` | {value} | {term.meaning} |"


def filled(text: str) -> str:
    """Return the page with both tables up to date."""
    for name, table in (("rules", rules), ("facts", facts)):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{PAGE.name} needs {begin} and {end} once each")
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        body = "\n".join(table()).strip()
        text = f"{head}{begin}\n\n{body}\n\n{end}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Rewrite or check the page; return the exit code."""
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before)
    if "--check" in arguments:
        if after != before:
            print(f"{PAGE.name} is out of date: python -m tools.rule_table", file=sys.stderr)
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
